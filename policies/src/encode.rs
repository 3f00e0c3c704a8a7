//! Encoding of an observation as the vector that a model reads: the layouts `libero-lowdim-v1` and `libero-proprio-v1`.
//! Both policies of a pair read the same layout, so neither has information that the other lacks.

use aegis_core::{Observation, PolicyError, Pose};

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
/// ends with the task (10, one-hot).
/// Rotations are the first two columns of the rotation matrix, after Zhou et al., *On the Continuity of Rotation
/// Representations in Neural Networks*, CVPR 2019.
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

    /// Encodes one observation, shape `[width]`.
    pub fn encode(self, observation: &Observation) -> Result<Vec<f32>, PolicyError> {
        let mut vector = Vec::with_capacity(self.width());
        self.encode_into(observation, &mut vector)?;
        Ok(vector)
    }

    /// Encodes one observation into `vector`, shape `[width]`, without allocating a new one. Previous contents of `vector` are
    /// lost, also after an error.
    pub fn encode_into(self, observation: &Observation, vector: &mut Vec<f32>) -> Result<(), PolicyError> {
        vector.clear();
        let robot = &observation.proprioception;
        check("gripper", FINGERS, robot.gripper.len())?;
        check("joint_positions", ARM_JOINTS, robot.joint_positions.len())?;
        if observation.task >= TASKS {
            let last = TASKS - 1;
            return Err(PolicyError::Observation(format!(
                "task: found {}; valid is 0 to {last}",
                observation.task
            )));
        }
        push(vector, &robot.end_effector.position);
        push(vector, &rotation_columns(&robot.end_effector));
        push(vector, &robot.gripper);
        push(vector, &robot.joint_positions);
        if self == Self::LowDim {
            push_objects(observation, vector)?;
        }
        vector.extend((0..TASKS).map(|task| f32::from(u8::from(task == observation.task))));
        Ok(())
    }
}

fn push_objects(observation: &Observation, vector: &mut Vec<f32>) -> Result<(), PolicyError> {
    let grip = observation.proprioception.end_effector.position;
    for name in OBJECTS {
        let object = observation
            .objects
            .iter()
            .find(|object| &*object.name == name)
            .ok_or_else(|| PolicyError::Observation(format!("object {name} is missing")))?;
        let position = object.pose.position;
        push(vector, &position);
        push(vector, &[position[0] - grip[0], position[1] - grip[1], position[2] - grip[2]]);
        push(vector, &rotation_columns(&object.pose));
    }
    Ok(())
}

fn check(field: &str, expected: usize, found: usize) -> Result<(), PolicyError> {
    if expected == found {
        return Ok(());
    }
    Err(PolicyError::Shape { what: field.into(), expected: expected.to_string(), found: found.to_string() })
}

fn push(vector: &mut Vec<f32>, values: &[f64]) {
    vector.extend(values.iter().map(|value| *value as f32));
}

/// Returns the first two columns of the rotation matrix of a pose's unit quaternion.
fn rotation_columns(pose: &Pose) -> [f64; 6] {
    let [w, x, y, z] = pose.orientation;
    let rotation = nalgebra::UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(w, x, y, z));
    let matrix = rotation.to_rotation_matrix();
    let matrix = matrix.matrix();
    [matrix[(0, 0)], matrix[(1, 0)], matrix[(2, 0)], matrix[(0, 1)], matrix[(1, 1)], matrix[(2, 1)]]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aegis_core::{ObjectPose, Proprioception};

    pub(crate) fn observation() -> Observation {
        Observation {
            step: 0,
            plant_time: 0.0,
            task: 3,
            instruction: "pick up the black bowl".into(),
            proprioception: Proprioception {
                joint_positions: vec![0.1; 7],
                end_effector: Pose { position: [-0.2, 0.0, 1.2], orientation: [0.0, 1.0, 0.0, 0.0] },
                gripper: vec![0.02, -0.02],
            },
            objects: OBJECTS
                .iter()
                .map(|name| ObjectPose { name: (*name).into(), pose: Pose::IDENTITY })
                .collect(),
            frames: [].into(),
        }
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
        let mut observation = observation();
        observation.objects.clear();
        assert!(Layout::LowDim.encode(&observation).is_err());
        assert!(Layout::Proprio.encode(&observation).is_ok());
    }

    #[test]
    fn does_not_depend_on_the_order_of_objects() {
        let mut shuffled = observation();
        shuffled.objects.reverse();
        let encode = |seen| Layout::LowDim.encode(seen).unwrap();
        assert_eq!(encode(&shuffled), encode(&observation()));
    }

    #[test]
    fn names_what_is_missing() {
        let mut observation = observation();
        observation.objects.pop();
        let error = Layout::LowDim.encode(&observation).unwrap_err().to_string();
        assert!(error.contains("plate_1"), "{error}");
    }
}
