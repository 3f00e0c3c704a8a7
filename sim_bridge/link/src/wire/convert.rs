//! Conversions between the types of the wire and those of the controller; floating-point values keep every bit.

use std::sync::Arc;

use aegis_core::feature::{
    END_EFFECTOR_POSITION, Feature, OBJECT_PREFIX, POSITION_SUFFIX, QUATERNION_SUFFIX, Schema, SchemaError,
};
use aegis_core::{Frame, Observation, Pose};

use super::{Object, Observed, Picture, Placement};

/// Names of the features that the fields of [`Observed`] are.
const JOINT_POSITIONS: &str = "joint_positions";
const END_EFFECTOR_QUATERNION: &str = "eef_site_quaternion";
const GRIPPER_POSITIONS: &str = "gripper_positions";

impl From<Pose> for Placement {
    fn from(Pose { position, orientation }: Pose) -> Self {
        Self { position, orientation }
    }
}

impl From<Placement> for Pose {
    fn from(Placement { position, orientation }: Placement) -> Self {
        Self { position, orientation }
    }
}

impl From<&Observation> for Observed {
    fn from(seen: &Observation) -> Self {
        let list = |name: &str| seen.feature(name).map_or_else(Vec::new, <[f64]>::to_vec);
        let end_effector = seen.pose(END_EFFECTOR_POSITION, END_EFFECTOR_QUATERNION);
        let objects = seen.object_positions().filter_map(|(name, _)| {
            let pose = seen.object(name)?.into();
            Some(Object { name: name.to_owned(), pose })
        });
        Self {
            plant_time: seen.plant_time,
            task: u32::try_from(seen.task).unwrap_or(u32::MAX),
            instruction: seen.instruction.to_string(),
            joint_positions: list(JOINT_POSITIONS),
            end_effector: end_effector.unwrap_or(Pose::IDENTITY).into(),
            gripper: list(GRIPPER_POSITIONS),
            objects: objects.collect(),
        }
    }
}

impl Observed {
    /// Converts to the observation after control step `step`. The schema of an earlier observation is taken where it fits.
    ///
    /// # Errors
    /// Names that no schema can have, for example of two objects with the same name.
    pub fn at(self, step: u32, known: Option<&Arc<Schema>>) -> Result<Observation, SchemaError> {
        let schema = match known.filter(|schema| self.fits(schema)) {
            Some(schema) => Arc::clone(schema),
            None => Arc::new(self.schema()?),
        };
        let mut values = Vec::with_capacity(schema.width());
        let pose = |values: &mut Vec<f64>, Placement { position, orientation: [w, x, y, z] }: Placement| {
            values.extend(position);
            values.extend([x, y, z, w]);
        };
        values.extend(&self.joint_positions);
        pose(&mut values, self.end_effector);
        values.extend(&self.gripper);
        self.objects.iter().for_each(|object| pose(&mut values, object.pose));
        Ok(Observation {
            step,
            plant_time: self.plant_time,
            task: self.task as usize,
            instruction: Arc::from(self.instruction),
            schema,
            values,
            frames: [].into(),
        })
    }

    /// Returns whether a schema that [`schema`](Self::schema) made has the features of this observation.
    fn fits(&self, schema: &Schema) -> bool {
        let size = |name: &str| schema.range(name).map_or(0, |range| range.len());
        let mut positions = schema
            .features()
            .iter()
            .filter_map(|feature| feature.name.strip_prefix(OBJECT_PREFIX)?.strip_suffix(POSITION_SUFFIX));
        size(JOINT_POSITIONS) == self.joint_positions.len()
            && size(GRIPPER_POSITIONS) == self.gripper.len()
            && self.objects.iter().all(|object| positions.next() == Some(&object.name))
            && positions.next().is_none()
    }

    fn schema(&self) -> Result<Schema, SchemaError> {
        let numbered = |name: &str, count: usize, semantics: &str| {
            let names: Vec<String> = (1..=count).map(|index| index.to_string()).collect();
            Feature::vector(name, &names.iter().map(String::as_str).collect::<Vec<_>>(), semantics)
        };
        let position = |name: String| Feature::vector(name, &["x", "y", "z"], "m, world frame");
        let quaternion = |name: String| Feature::vector(name, &["x", "y", "z", "w"], "world frame");
        let (joints, fingers) = (self.joint_positions.len(), self.gripper.len());
        let mut features = Vec::new();
        features.extend((joints > 0).then(|| numbered(JOINT_POSITIONS, joints, "rad")));
        features.push(position(END_EFFECTOR_POSITION.to_owned()));
        features.push(quaternion(END_EFFECTOR_QUATERNION.to_owned()));
        features.extend((fingers > 0).then(|| numbered(GRIPPER_POSITIONS, fingers, "m")));
        for Object { name, .. } in &self.objects {
            features.push(position(format!("{OBJECT_PREFIX}{name}{POSITION_SUFFIX}")));
            features.push(quaternion(format!("{OBJECT_PREFIX}{name}{QUATERNION_SUFFIX}")));
        }
        Schema::new(features, Vec::new())
    }
}

impl From<Frame> for Picture {
    fn from(Frame { camera, width, height, rgb }: Frame) -> Self {
        Self { camera: camera.to_string(), width, height, rgb }
    }
}

impl From<Picture> for Frame {
    fn from(Picture { camera, width, height, rgb }: Picture) -> Self {
        Self { camera: Arc::from(camera), width, height, rgb }
    }
}
