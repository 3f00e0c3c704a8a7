//! Observation: what a policy may read of a plant at one control step.
//! Units are SI, frames are named, and nothing here depends on a simulator.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::feature::{
    END_EFFECTOR_POSITION, END_EFFECTOR_QUATERNION, Feature, OBJECT_PREFIX, POSITION_SUFFIX,
    QUATERNION_SUFFIX, Schema, SchemaError,
};

/// A rigid pose in the plant's world frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Position in metres: x, y, z.
    pub position: [f64; 3],
    /// Unit quaternion in the order w, x, y, z.
    pub orientation: [f64; 4],
}

impl Pose {
    /// The world frame itself.
    pub const IDENTITY: Self = Self { position: [0.0; 3], orientation: [1.0, 0.0, 0.0, 0.0] };
}

/// Everything that a policy may read at one control step.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Control step within the episode, from zero.
    pub step: u32,
    /// Plant time since the start of the episode, in seconds.
    pub plant_time: f64,
    /// Index of the task within its suite.
    pub task: usize,
    /// The task in words.
    pub instruction: Arc<str>,
    /// What the plant announced: names, shapes, units and frames of the values.
    pub schema: Arc<Schema>,
    /// Values of every tensor feature, packed in the order of the schema, `[schema.width()]`.
    pub values: Vec<f64>,
    /// Camera pictures of this control step, in the plant's camera order; empty unless they were requested from the plant.
    pub frames: Arc<[Frame]>,
}

impl Observation {
    /// Returns an observation of these features, each with its values, at the first control step of task 0, for tests and
    /// small plants. Components are named by their numbers, from 1.
    ///
    /// # Errors
    /// [`SchemaError`] for features that no plant can announce.
    pub fn of(features: &[(&str, &[f64])]) -> Result<Self, SchemaError> {
        let named = features.iter().map(|(name, values)| {
            let numbers: Vec<String> = (1..=values.len()).map(|number| number.to_string()).collect();
            Feature::vector(*name, &numbers.iter().map(String::as_str).collect::<Vec<_>>(), "")
        });
        let schema = Arc::new(Schema::new(named.collect(), Vec::new())?);
        let values = features.iter().flat_map(|(_, values)| values.iter().copied()).collect();
        let (instruction, frames) = ("".into(), [].into());
        Ok(Self { step: 0, plant_time: 0.0, task: 0, instruction, schema, values, frames })
    }

    /// Returns the values of a tensor feature, row-major; `None` where the plant does not offer it.
    pub fn feature(&self, name: &str) -> Option<&[f64]> {
        self.values.get(self.schema.range(name)?)
    }

    /// Returns a pose from a position feature, `[3]`, and a quaternion feature, `[4]` in the order x, y, z, w; `None` where the
    /// plant does not offer both.
    pub fn pose(&self, position: &str, quaternion: &str) -> Option<Pose> {
        let (position, [x, y, z, w]) = (self.array(position)?, self.array(quaternion)?);
        Some(Pose { position, orientation: [w, x, y, z] })
    }

    /// Returns the pose of an object by its name in the task description; `None` where the plant does not offer it.
    pub fn object(&self, name: &str) -> Option<Pose> {
        let feature = |suffix: &str| format!("{OBJECT_PREFIX}{name}{suffix}");
        self.pose(&feature(POSITION_SUFFIX), &feature(QUATERNION_SUFFIX))
    }

    /// Returns the name and the position of each object that the plant offers, in the order of the schema.
    pub fn object_positions(&self) -> impl Iterator<Item = (&str, [f64; 3])> {
        self.schema.ranges().filter_map(|(feature, range)| {
            let name = feature.name.strip_prefix(OBJECT_PREFIX)?.strip_suffix(POSITION_SUFFIX)?;
            Some((name, self.values.get(range)?.try_into().ok()?))
        })
    }

    /// Returns the position of the end effector, metres, world frame; `None` where the plant does not offer it.
    pub fn end_effector(&self) -> Option<[f64; 3]> {
        self.array(END_EFFECTOR_POSITION)
    }

    /// Returns the pose of the end effector, world frame, without rotation where the plant offers no quaternion; `None` where
    /// it does not offer the position.
    pub fn end_effector_pose(&self) -> Option<Pose> {
        let position = self.end_effector()?;
        let pose = self.pose(END_EFFECTOR_POSITION, END_EFFECTOR_QUATERNION);
        Some(pose.unwrap_or(Pose { position, ..Pose::IDENTITY }))
    }

    /// Returns the values of a feature of `N` values; `None` where the plant does not offer it in this size.
    pub fn array<const N: usize>(&self, name: &str) -> Option<[f64; N]> {
        self.feature(name)?.try_into().ok()
    }
}

/// Picture of one camera, upright: row 0 is the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The camera's name in the plant, for example `agentview`.
    pub camera: Arc<str>,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue, 8 bits each, row-major `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {}×{}, {} bytes)", self.camera, self.width, self.height, self.rgb.len())
    }
}
