//! Named layouts of the vector that a model reads, `libero-lowdim-v1` and `libero-proprio-v1`: short names for lists of terms.
//! Both policies of a pair read the same layout, so neither has information that the other lacks.

use aegis_core::feature::{END_EFFECTOR_POSITION, OBJECT_PREFIX, POSITION_SUFFIX, QUATERNION_SUFFIX};
use aegis_core::{Observation, PolicyError};

use crate::inputs::{TASK, Term, Transform, VectorInput};
use crate::vector::BoundVector;

/// Objects that every scene of LIBERO-Spatial has, in their order in the vector.
pub const OBJECTS: [&str; 5] =
    ["akita_black_bowl_1", "akita_black_bowl_2", "cookies_1", "glazed_rim_porcelain_ramekin_1", "plate_1"];
/// Number of tasks of the suite, which are encoded one-hot at the end of the vector.
pub const TASKS: usize = 10;
const ARM_JOINTS: usize = 7;
const FINGERS: usize = 2;
const ROBOT: usize = 9 + FINGERS + ARM_JOINTS;
const PER_OBJECT: usize = 12;

/// Layout of the vector: the meaning of each number.
///
/// The vector begins with the robot: grip site position (3, m) and rotation (6), fingers (2, m), arm joints (7, rad). It
/// ends with the task (10, one-hot). Rotations are the first two columns of the rotation matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `libero-lowdim-v1`: between robot and task, for each of [`OBJECTS`], position (3, m, world frame), position relative
    /// to the grip site (3, m, axes of the world frame) and rotation (6).
    LowDim,
    /// `libero-proprio-v1`: only robot and task, for a policy that sees objects in pictures.
    Proprio,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 2] = [Self::LowDim, Self::Proprio];

    /// Returns the name of the layout, as model cards state it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LowDim => "libero-lowdim-v1",
            Self::Proprio => "libero-proprio-v1",
        }
    }

    /// Returns the layout of this name, or `None` for an unknown name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// Returns the length of the vector.
    pub const fn width(self) -> usize {
        match self {
            Self::LowDim => ROBOT + PER_OBJECT * OBJECTS.len() + TASKS,
            Self::Proprio => ROBOT + TASKS,
        }
    }

    /// Returns the terms that the layout stands for.
    pub fn terms(self) -> Vec<Term> {
        let rotation = |feature: String| Term { transform: Some(Transform::Rotation6d), ..Term::of(feature) };
        let sized = |feature: &str, end: usize| Term { slice: Some([0, end]), ..Term::of(feature) };
        let mut terms = vec![
            Term::of(END_EFFECTOR_POSITION),
            rotation("eef_site_quaternion".into()),
            sized("gripper_positions", FINGERS),
            sized("joint_positions", ARM_JOINTS),
        ];
        for name in OBJECTS.into_iter().filter(|_| self == Self::LowDim) {
            let position = || Term::of(format!("{OBJECT_PREFIX}{name}{POSITION_SUFFIX}"));
            terms.push(position());
            terms.push(Term { relative_to: Some(END_EFFECTOR_POSITION.into()), ..position() });
            terms.push(rotation(format!("{OBJECT_PREFIX}{name}{QUATERNION_SUFFIX}")));
        }
        terms.push(Term { one_hot: Some(TASKS), ..Term::of(TASK) });
        terms
    }

    /// Encodes one observation, shape `[width]`, for data sets. A policy binds its card's terms once instead.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] where the plant does not offer what the layout reads.
    pub fn encode(self, observation: &Observation) -> Result<Vec<f32>, PolicyError> {
        let input = VectorInput { tensor: String::new(), shape: Vec::new(), terms: self.terms(), history: 1 };
        let mut bound = BoundVector::bind(&input, &observation.schema).map_err(PolicyError::Observation)?;
        let mut values = Vec::with_capacity(bound.width());
        bound.encode(observation, &mut values)?;
        Ok(values)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use aegis_core::{Feature, Pose, Schema};

    use super::*;

    /// Returns an observation with the features of LIBERO-Spatial, whose objects stand in this order.
    pub(crate) fn observation_of(objects: &[&str]) -> Observation {
        let xyz = ["x", "y", "z"];
        let numbered = ["1", "2", "3", "4", "5", "6", "7"];
        let mut features = vec![
            Feature::vector("joint_positions", &numbered, "rad"),
            Feature::vector(END_EFFECTOR_POSITION, &xyz, "m"),
            Feature::vector("eef_site_quaternion", &["x", "y", "z", "w"], ""),
            Feature::vector("gripper_positions", &["1", "2"], "m"),
        ];
        let mut values =
            [[0.1; 7].as_slice(), &[-0.2, 0.0, 1.2], &[1.0, 0.0, 0.0, 0.0], &[0.02, -0.02]].concat();
        for name in objects {
            features.push(Feature::vector(format!("{OBJECT_PREFIX}{name}{POSITION_SUFFIX}"), &xyz, "m"));
            let quaternion = format!("{OBJECT_PREFIX}{name}{QUATERNION_SUFFIX}");
            features.push(Feature::vector(quaternion, &["x", "y", "z", "w"], ""));
            let [w, x, y, z] = Pose::IDENTITY.orientation;
            values.extend([0.0, 0.0, 0.0, x, y, z, w]);
        }
        Observation {
            step: 0,
            plant_time: 0.0,
            task: 3,
            instruction: "pick up the black bowl".into(),
            schema: Arc::new(Schema::new(features, Vec::new()).unwrap()),
            values,
            frames: [].into(),
        }
    }

    pub(crate) fn observation() -> Observation {
        observation_of(&OBJECTS)
    }

    #[test]
    fn fills_the_whole_layout() {
        let vector = Layout::LowDim.encode(&observation()).unwrap();
        assert_eq!(vector.len(), Layout::LowDim.width());
        assert_eq!(vector.len(), 88);
        assert_eq!(vector[..3], [-0.2, 0.0, 1.2]);
        // A half turn about x: the first axis stays, the second flips.
        assert_eq!(vector[3..9], [1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
        let task = &vector[vector.len() - TASKS..];
        assert_eq!(task.iter().sum::<f32>(), 1.0);
        assert_eq!(task[3], 1.0);
        let proprio = Layout::Proprio.encode(&observation()).unwrap();
        assert_eq!(proprio.len(), Layout::Proprio.width());
        assert_eq!(proprio, [&vector[..ROBOT], task].concat(), "the same numbers, the objects left out");
    }

    #[test]
    fn only_a_layout_with_objects_needs_them() {
        assert!(Layout::LowDim.encode(&observation_of(&[])).is_err());
        assert!(Layout::Proprio.encode(&observation_of(&[])).is_ok());
    }

    #[test]
    fn does_not_depend_on_the_order_of_objects() {
        let reversed: Vec<&str> = OBJECTS.into_iter().rev().collect();
        let encode = |seen: &Observation| Layout::LowDim.encode(seen).unwrap();
        assert_eq!(encode(&observation_of(&reversed)), encode(&observation()));
    }

    #[test]
    fn missing_features_are_named() {
        let error = Layout::LowDim.encode(&observation_of(&OBJECTS[..4])).unwrap_err().to_string();
        assert!(error.contains("plate_1"), "{error}");
    }
}
