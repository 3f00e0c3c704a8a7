//! One exported task, as `task.json` describes it.
//! Plain data; whoever uses a part checks that it fits the model.

pub mod placements;

use placements::PlacementsInfo;
use serde::Deserialize;

/// One exported task, as `task.json` describes it. Names are MuJoCo names unless said otherwise.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskInfo {
    pub(crate) schema: u32,
    /// Name within the suite.
    pub name: String,
    /// The instruction in words.
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
    /// What upstream's memory holds after a reset.
    pub after_reset: AfterReset,
    /// How a reset places things; missing in scenes exported before new starts could be drawn.
    pub placements: Option<PlacementsInfo>,
    /// Control steps per second.
    pub control_freq: f64,
    /// Physics steps per control step.
    pub substeps: u32,
    /// Seconds per physics step.
    pub timestep: f64,
    /// Generalised coordinates.
    pub nq: usize,
    /// Degrees of freedom.
    pub nv: usize,
    /// Actuators.
    pub nu: usize,
}

/// An object or a fixture.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectInfo {
    /// Name in the task description.
    pub name: String,
    /// Its body.
    pub root_body: String,
    /// Geoms that count as touching it.
    pub contact_geoms: Vec<String>,
    /// Its joints.
    pub joints: Vec<String>,
    /// When its joints count as open, closed, on or off.
    pub articulation: Articulation,
}

/// A box-shaped region that a site marks.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteInfo {
    /// Name of the site and in the task description.
    pub name: String,
    /// The object or fixture that it belongs to, by its name in the task description; the table's have none.
    pub parent: Option<String>,
    /// Metres, along the site's axes.
    pub half_size: [f64; 3],
    /// Joints that move it against its parent.
    pub joints: Vec<String>,
}

/// The limits of an object's joints; none where upstream has no answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Articulation {
    /// Open.
    pub is_open: Option<Limit>,
    /// Closed.
    pub is_close: Option<Limit>,
    /// On.
    pub turn_on: Option<Limit>,
    /// Off.
    pub turn_off: Option<Limit>,
}

/// A half-line of joint positions.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Limit {
    /// On which side of `value`.
    pub side: Side,
    /// Radians or metres.
    pub value: f64,
    /// Whether `value` itself counts.
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
    /// An object or fixture by its name in the task description.
    pub fn object(&self, name: &str) -> Option<&ObjectInfo> {
        self.objects.iter().chain(&self.fixtures).find(|item| item.name == name)
    }

    /// A region by its name.
    pub fn site(&self, name: &str) -> Option<&SiteInfo> {
        self.sites.iter().find(|site| site.name == name)
    }
}

/// The robot's joints, actuators and grip site.
#[derive(Clone, Debug, Deserialize)]
pub struct RobotInfo {
    /// Base to wrist.
    pub arm_joints: Vec<String>,
    /// One per arm joint.
    pub arm_actuators: Vec<String>,
    /// N·m, one per arm joint.
    pub torque_low: Vec<f64>,
    /// N·m, one per arm joint.
    pub torque_high: Vec<f64>,
    /// One per finger.
    pub gripper_joints: Vec<String>,
    /// One per finger.
    pub gripper_actuators: Vec<String>,
    /// Change of the normalised finger command per physics step.
    pub gripper_speed: f64,
    /// Sign of each finger's motion under a positive action.
    pub gripper_direction: Vec<f64>,
    /// The controlled frame.
    pub grip_site: String,
}

/// Constants of the operational-space controller; see [`crate::osc::Osc`].
#[derive(Clone, Debug, Deserialize)]
pub struct ControllerInfo {
    /// Stiffness, `[6]`.
    pub kp: Vec<f64>,
    /// Damping, `[6]`.
    pub kd: Vec<f64>,
    /// Command range, `[6]`.
    pub input_min: Vec<f64>,
    /// Command range, `[6]`.
    pub input_max: Vec<f64>,
    /// Motion range, `[6]`.
    pub output_min: Vec<f64>,
    /// Motion range, `[6]`.
    pub output_max: Vec<f64>,
    /// Null-space posture, `[7]`.
    pub initial_joint: Vec<f64>,
}

/// Memory that upstream's `set_init_state` does not touch.
#[derive(Clone, Debug, Deserialize)]
pub struct AfterReset {
    /// The controller's target, `[3]`.
    pub goal_position: Vec<f64>,
    /// The controller's target, row-major `[9]`.
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
