//! Observation: what a policy may read of a plant at one control step.
//! Units are SI, frames are named, and nothing here depends on a simulator.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// State of the robot itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Proprioception {
    /// Arm joint angles in radians, base to wrist.
    pub joint_positions: Vec<f64>,
    /// Pose of the grip site between the finger tips, in the world frame.
    pub end_effector: Pose,
    /// Finger joint positions in metres, one entry per finger.
    pub gripper: Vec<f64>,
}

/// Pose of one named object, in the world frame.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPose {
    /// The name that the task description uses, for example `plate_1`.
    pub name: Arc<str>,
    /// Pose of the object's root body.
    pub pose: Pose,
}

/// Everything a policy may read at one control step.
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
    /// Robot state.
    pub proprioception: Proprioception,
    /// Movable objects in the order of the plant's task description.
    pub objects: Vec<ObjectPose>,
    /// Camera pictures of this control step, in the plant's camera order; empty unless they were requested from the plant.
    pub frames: Arc<[Frame]>,
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
