//! Conversions between the types of the wire and those of the controller; floating-point values keep every bit.
//! No conversion can fail.

use std::sync::Arc;

use aegis_core::{Frame, ObjectPose, Observation, Pose, Proprioception};

use super::{Object, Observed, Picture, Placement};

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
        Self {
            plant_time: seen.plant_time,
            task: u32::try_from(seen.task).unwrap_or(u32::MAX),
            instruction: seen.instruction.to_string(),
            joint_positions: seen.proprioception.joint_positions.clone(),
            end_effector: seen.proprioception.end_effector.into(),
            gripper: seen.proprioception.gripper.clone(),
            objects: seen
                .objects
                .iter()
                .map(|object| Object { name: object.name.to_string(), pose: object.pose.into() })
                .collect(),
        }
    }
}

impl Observed {
    /// Converts to the observation after control step `step`.
    pub fn at(self, step: u32) -> Observation {
        Observation {
            step,
            plant_time: self.plant_time,
            task: self.task as usize,
            instruction: Arc::from(self.instruction),
            proprioception: Proprioception {
                joint_positions: self.joint_positions,
                end_effector: self.end_effector.into(),
                gripper: self.gripper,
            },
            objects: self
                .objects
                .into_iter()
                .map(|object| ObjectPose { name: Arc::from(object.name), pose: object.pose.into() })
                .collect(),
            frames: [].into(),
        }
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
