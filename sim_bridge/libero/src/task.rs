//! Description of one exported task, as in `task.json`.
//! Plain data; the code that uses a part checks that the part fits the model.

pub mod placements;

use placements::PlacementsInfo;
use serde::Deserialize;

/// Description of one exported task, as in `task.json`. Names are MuJoCo names unless stated otherwise.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskInfo {
    pub(crate) schema: u32,
    /// Name within the suite.
    pub name: String,
    /// The instruction.
    pub language: String,
    /// Conjunction of predicates: lower-case name, then arguments as the task description names them.
    pub goal: Vec<Vec<String>>,
    /// Movable objects in upstream's order.
    pub objects: Vec<ObjectInfo>,
    /// Fixtures in upstream's order.
    pub fixtures: Vec<ObjectInfo>,
    /// Regions that the task names.
    pub sites: Vec<SiteInfo>,
    /// The robot's parts.
    pub robot: RobotInfo,
    /// The arm controller's constants.
    pub controller: ControllerInfo,
    /// State that upstream keeps in memory after a reset.
    pub after_reset: AfterReset,
    /// Description of the placements at a reset; missing in scenes exported before new starts could be drawn.
    pub placements: Option<PlacementsInfo>,
    /// Control steps per second.
    pub control_freq: f64,
    /// Physics steps per control step.
    pub substeps: u32,
    /// Seconds per physics step.
    pub timestep: f64,
    /// Number of generalised coordinates.
    pub nq: usize,
    /// Number of degrees of freedom.
    pub nv: usize,
    /// Number of actuators.
    pub nu: usize,
}

/// An object or a fixture.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectInfo {
    /// Name in the task description.
    pub name: String,
    /// Root body of the object.
    pub root_body: String,
    /// Geoms whose contacts count as touching the object.
    pub contact_geoms: Vec<String>,
    /// Joints of the object.
    pub joints: Vec<String>,
    /// Limits by which the joints count as open, closed, on or off.
    pub articulation: Articulation,
}

/// A box-shaped region that a site marks.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteInfo {
    /// Name of the site, which is also the region's name in the task description.
    pub name: String,
    /// Name, in the task description, of the object or fixture that the region belongs to; `None` for regions of the table.
    pub parent: Option<String>,
    /// Half of the region's extent along the site's axes, metres.
    pub half_size: [f64; 3],
    /// Joints that move the region relative to its parent.
    pub joints: Vec<String>,
}

/// Limits of an object's joints; `None` where upstream defines no threshold.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Articulation {
    /// Limit past which the object is open.
    pub is_open: Option<Limit>,
    /// Limit past which the object is closed.
    pub is_close: Option<Limit>,
    /// Limit past which the object is on.
    pub turn_on: Option<Limit>,
    /// Limit past which the object is off.
    pub turn_off: Option<Limit>,
}

/// A threshold of a joint position: the positions on one side of a value.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Limit {
    /// Side of `value` on which positions pass.
    pub side: Side,
    /// Threshold, radians or metres.
    pub value: f64,
    /// Whether `value` itself passes.
    pub inclusive: bool,
}

/// A side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Smaller values.
    Below,
    /// Greater values.
    Above,
}

impl TaskInfo {
    /// Finds an object or fixture by its name in the task description.
    pub fn object(&self, name: &str) -> Option<&ObjectInfo> {
        self.objects.iter().chain(&self.fixtures).find(|item| item.name == name)
    }

    /// Returns the object that the task is about: the movable object that the goal's first predicate with one names first.
    /// `None` for a task whose goal names no movable object, for example that a drawer is open.
    pub fn target(&self) -> Option<&ObjectInfo> {
        let named = self.goal.iter().filter_map(|predicate| predicate.get(1));
        named.filter_map(|name| self.objects.iter().find(|object| object.name == *name)).next()
    }

    /// Finds a region by its name.
    pub fn site(&self, name: &str) -> Option<&SiteInfo> {
        self.sites.iter().find(|site| site.name == name)
    }
}

/// The robot's joints, actuators and grip site.
#[derive(Clone, Debug, Deserialize)]
pub struct RobotInfo {
    /// Arm joints, from base to wrist.
    pub arm_joints: Vec<String>,
    /// Arm actuators, one per arm joint.
    pub arm_actuators: Vec<String>,
    /// Lower torque limits, N·m, one per arm joint.
    pub torque_low: Vec<f64>,
    /// Upper torque limits, N·m, one per arm joint.
    pub torque_high: Vec<f64>,
    /// Finger joints, one per finger.
    pub gripper_joints: Vec<String>,
    /// Finger actuators, one per finger.
    pub gripper_actuators: Vec<String>,
    /// Change of the normalised finger command per physics step.
    pub gripper_speed: f64,
    /// Sign of each finger's motion under a positive action.
    pub gripper_direction: Vec<f64>,
    /// Site whose frame the arm's controller controls.
    pub grip_site: String,
}

/// Constants of the operational-space controller; see [`crate::osc::Osc`].
#[derive(Clone, Debug, Deserialize)]
pub struct ControllerInfo {
    /// Stiffness, `[6]`.
    pub kp: Vec<f64>,
    /// Damping, `[6]`.
    pub kd: Vec<f64>,
    /// Lower end of the command range, `[6]`.
    pub input_min: Vec<f64>,
    /// Upper end of the command range, `[6]`.
    pub input_max: Vec<f64>,
    /// Lower end of the displacement range, `[6]`.
    pub output_min: Vec<f64>,
    /// Upper end of the displacement range, `[6]`.
    pub output_max: Vec<f64>,
    /// Null-space posture, `[7]`.
    pub initial_joint: Vec<f64>,
}

/// State that upstream's `set_init_state` does not change.
#[derive(Clone, Debug, Deserialize)]
pub struct AfterReset {
    /// Position of the controller's target, `[3]`.
    pub goal_position: Vec<f64>,
    /// Orientation of the controller's target, row-major `[9]`.
    pub goal_orientation: Vec<f64>,
    /// Normalised finger commands, `[2]`.
    pub gripper_action: Vec<f64>,
    /// The solver's warm start, `[nv]`.
    pub qacc_warmstart: Vec<f64>,
    /// Actuator commands, `[nu]`.
    pub ctrl: Vec<f64>,
    /// The arm as the controller last read it.
    pub arm: ArmInfo,
}

/// An arm state without its bias torques; see [`crate::osc::ArmState`]. Matrices are row-major.
#[derive(Clone, Debug, Deserialize)]
pub struct ArmInfo {
    /// `[3]`
    pub position: Vec<f64>,
    /// `[3, 3]`
    pub orientation: Vec<f64>,
    /// `[7]`
    pub joint_positions: Vec<f64>,
    /// `[7]`
    pub joint_velocities: Vec<f64>,
    /// `[3, 7]`
    pub translational_jacobian: Vec<f64>,
    /// `[3, 7]`
    pub rotational_jacobian: Vec<f64>,
    /// `[7, 7]`
    pub mass_matrix: Vec<f64>,
}
