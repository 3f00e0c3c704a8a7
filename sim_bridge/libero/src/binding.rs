//! A task bound to its compiled model: every name of `task.json` is resolved to an index once.
//! After binding, no lookup by name is needed.

use std::path::Path;
use std::sync::Arc;

use mujoco_rs::prelude::{MjModel, MjtObjBase};

use crate::arm::ArmIndex;
use crate::displaceable::Displaceable;
use crate::error::{SuiteError, field};
use crate::goal::Goal;
use crate::gripper::{FINGERS, Gripper};
use crate::model_lookup::Names;
use crate::osc::{ArmState, JOINTS, JointVector, Osc, Target};
use crate::placement::Placements;
use crate::task::{ArmInfo, TaskInfo};

/// Body whose orientation robosuite uses for the end effector.
const HAND: &str = "robot0_right_hand";

/// A compiled model with the indices and constants that the plant needs.
#[derive(Debug)]
pub(crate) struct BoundTask {
    pub model: Arc<MjModel>,
    pub instruction: Arc<str>,
    pub goal: Goal,
    pub osc: Osc,
    pub gripper: Gripper,
    pub arm: ArmIndex,
    /// Addresses in `ctrl`.
    pub arm_actuators: [usize; JOINTS],
    /// Addresses in `qpos`.
    pub fingers: [usize; FINGERS],
    /// Addresses in `qvel`.
    pub finger_dofs: [usize; FINGERS],
    /// Addresses in `ctrl`.
    pub finger_actuators: [usize; FINGERS],
    /// Body of the hand, whose orientation robosuite uses for the end effector.
    pub hand: usize,
    /// Body of each movable object.
    pub objects: Vec<usize>,
    /// The task's target object, where it moves freely.
    pub displaceable: Option<Displaceable>,
    pub substeps: u32,
    pub memory: Memory,
    /// Description of how new starts are drawn, where the export has one.
    pub placements: Option<Placements>,
}

/// Controller state that is carried from one control step to the next, besides MuJoCo's own state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Memory {
    pub target: Target,
    /// Normalised finger commands.
    pub fingers: [f64; FINGERS],
    /// Arm state that the controller uses in the first physics step of an episode instead of the actual one, except for the
    /// bias torques: upstream restores an initial state without updating its controller.
    pub stale_arm: Option<ArmState>,
}

impl BoundTask {
    /// Compiles the scene in `folder` and finds the parts of `task` in it.
    pub fn compile(folder: &Path, task: &TaskInfo) -> Result<Self, SuiteError> {
        let scene = folder.join("physics.xml");
        let model = MjModel::from_xml(&scene)
            .map_err(|error| SuiteError::Model { path: scene.clone(), message: error.to_string() })?;
        let path = folder.join("task.json");
        let names = Names { path: &path, model: &model };
        names.size("nq", task.nq, model.nq() as usize)?;
        names.size("nv", task.nv, model.nv() as usize)?;
        names.size("nu", task.nu, model.nu() as usize)?;
        if model.opt().timestep != task.timestep {
            let valid = model.opt().timestep.to_string();
            return Err(field(&path, "timestep", &task.timestep.to_string(), &valid));
        }
        names.size("after_reset.qacc_warmstart", task.after_reset.qacc_warmstart.len(), task.nv)?;
        names.size("after_reset.ctrl", task.after_reset.ctrl.len(), task.nu)?;

        let robot = &task.robot;
        let joints: [usize; JOINTS] =
            names.all(MjtObjBase::mjOBJ_JOINT, "robot.arm_joints", &robot.arm_joints)?;
        let fingers: [usize; FINGERS] =
            names.all(MjtObjBase::mjOBJ_JOINT, "robot.gripper_joints", &robot.gripper_joints)?;
        let grip_site = names.one(MjtObjBase::mjOBJ_SITE, "robot.grip_site", &robot.grip_site)?;
        let arm = ArmIndex::bind(&model, grip_site, joints).ok_or_else(|| {
            field(&path, "robot.arm_joints", &robot.arm_joints.join(", "), "joints that move the grip site")
        })?;
        let finger_actuators: [usize; FINGERS] =
            names.all(MjtObjBase::mjOBJ_ACTUATOR, "robot.gripper_actuators", &robot.gripper_actuators)?;
        let gripper = Gripper {
            speed: robot.gripper_speed,
            direction: names.array("robot.gripper_direction", &robot.gripper_direction)?,
            control_range: finger_actuators.map(|actuator| model.actuator_ctrlrange()[actuator]),
        };
        let after = &task.after_reset;
        let memory = Memory {
            target: Target {
                position: names.vector("after_reset.goal_position", &after.goal_position)?,
                orientation: names.matrix("after_reset.goal_orientation", &after.goal_orientation)?,
            },
            fingers: names.array("after_reset.gripper_action", &after.gripper_action)?,
            stale_arm: Some(stale_arm(&names, &after.arm)?),
        };
        let objects = task
            .objects
            .iter()
            .map(|object| names.one(MjtObjBase::mjOBJ_BODY, "objects.root_body", &object.root_body))
            .collect::<Result<_, SuiteError>>()?;
        let finger_dofs = fingers.map(|joint| model.jnt_dofadr()[joint] as usize);
        let fingers = fingers.map(|joint| model.jnt_qposadr()[joint] as usize);
        let placements = match &task.placements {
            Some(info) => Some(Placements::bind(&names, info, &arm.positions, &fingers)?),
            None => None,
        };
        let displaceable = match task.target() {
            Some(target) => Displaceable::bind(&names, target)?,
            None => None,
        };
        Ok(Self {
            instruction: Arc::from(task.language.as_str()),
            goal: Goal::bind(task, &model)
                .map_err(|source| SuiteError::Goal { path: path.clone(), source })?,
            osc: controller(&names, task)?,
            gripper,
            arm,
            arm_actuators: names.all(
                MjtObjBase::mjOBJ_ACTUATOR,
                "robot.arm_actuators",
                &robot.arm_actuators,
            )?,
            fingers,
            finger_dofs,
            finger_actuators,
            hand: names.body("robot", HAND)?,
            objects,
            displaceable,
            substeps: task.substeps,
            memory,
            placements,
            model: Arc::new(model),
        })
    }
}

fn controller(names: &Names<'_>, task: &TaskInfo) -> Result<Osc, SuiteError> {
    let controller = &task.controller;
    Ok(Osc {
        stiffness: names.vector("controller.kp", &controller.kp)?,
        damping: names.vector("controller.kd", &controller.kd)?,
        input_min: names.vector("controller.input_min", &controller.input_min)?,
        input_max: names.vector("controller.input_max", &controller.input_max)?,
        output_min: names.vector("controller.output_min", &controller.output_min)?,
        output_max: names.vector("controller.output_max", &controller.output_max)?,
        rest_posture: names.vector("controller.initial_joint", &controller.initial_joint)?,
        torque_min: names.vector("robot.torque_low", &task.robot.torque_low)?,
        torque_max: names.vector("robot.torque_high", &task.robot.torque_high)?,
    })
}

fn stale_arm(names: &Names<'_>, arm: &ArmInfo) -> Result<ArmState, SuiteError> {
    Ok(ArmState {
        position: names.vector("after_reset.arm.position", &arm.position)?,
        orientation: names.matrix("after_reset.arm.orientation", &arm.orientation)?,
        joint_positions: names.vector("after_reset.arm.joint_positions", &arm.joint_positions)?,
        joint_velocities: names.vector("after_reset.arm.joint_velocities", &arm.joint_velocities)?,
        translational_jacobian: names
            .matrix("after_reset.arm.translational_jacobian", &arm.translational_jacobian)?,
        rotational_jacobian: names.matrix("after_reset.arm.rotational_jacobian", &arm.rotational_jacobian)?,
        mass_matrix: names.matrix("after_reset.arm.mass_matrix", &arm.mass_matrix)?,
        bias: JointVector::zeros(),
    })
}
