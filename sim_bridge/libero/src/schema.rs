//! Features and actions that a LIBERO task announces.
//!
//! | feature | shape | unit, frame |
//! |---|---|---|
//! | `joint_positions`, `joint_velocities` | 7 | rad, rad/s, base to wrist |
//! | `eef_position` | 3 | m, world: the grip site between the finger tips |
//! | `eef_quaternion` | 4: x, y, z, w | world: the hand body, as robosuite's `robot0_eef_quat` |
//! | `eef_site_quaternion` | 4: x, y, z, w | world: the grip site, which is turned by −90° about z against the hand |
//! | `gripper_positions` | 2 | m, one entry per finger |
//! | `object/NAME/position`, `object/NAME/quaternion` | 3, 4: x, y, z, w | m, world: each movable object |
//! | cameras | height, width, 3 | for a plant with cameras |

use aegis_core::feature::{
    ActionChannel, END_EFFECTOR_POSITION, Feature, OBJECT_PREFIX, POSITION_SUFFIX, QUATERNION_SUFFIX, Schema,
    SchemaError,
};

use crate::camera::Cameras;
use crate::osc::{COMMAND, JOINTS};
use crate::task::TaskInfo;

const XYZ: [&str; 3] = ["x", "y", "z"];
const XYZW: [&str; 4] = ["x", "y", "z", "w"];

/// The action with which the plant stands still: no motion, gripper open.
pub const NULL_ACTION: [f32; COMMAND + 1] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];

/// Returns the features and actions of a task.
pub(crate) fn schema(task: &TaskInfo, cameras: Option<&Cameras>) -> Result<Schema, SchemaError> {
    let joints: [String; JOINTS] = std::array::from_fn(|joint| format!("joint{}", joint + 1));
    let joints = joints.each_ref().map(String::as_str);
    let mut features = vec![
        Feature::vector("joint_positions", &joints, "rad"),
        Feature::vector("joint_velocities", &joints, "rad/s"),
        Feature::vector(END_EFFECTOR_POSITION, &XYZ, "m, world frame: grip site"),
        Feature::vector("eef_quaternion", &XYZW, "world frame: hand body"),
        Feature::vector("eef_site_quaternion", &XYZW, "world frame: grip site"),
        Feature::vector("gripper_positions", &["finger1", "finger2"], "m"),
    ];
    for object in &task.objects {
        let name = |suffix: &str| format!("{OBJECT_PREFIX}{}{suffix}", object.name);
        features.push(Feature::vector(name(POSITION_SUFFIX), &XYZ, "m, world frame: root body"));
        features.push(Feature::vector(name(QUATERNION_SUFFIX), &XYZW, "world frame: root body"));
    }
    features.extend(cameras.into_iter().flat_map(Cameras::features));
    let moves = |axis: &&str| (format!("delta_{axis}"), "1 is 0.05 m a control step, world frame");
    let turns = |axis: &&str| (format!("delta_rotation_{axis}"), "1 is 0.5 rad a control step, world frame");
    let arm = XYZ.iter().map(moves).chain(XYZ.iter().map(turns));
    let named = arm.chain([("gripper".to_owned(), "1 closes, -1 opens")]);
    let actions = named.zip(NULL_ACTION).map(|((name, semantics), still)| {
        let (name, semantics) = (name.into(), semantics.into());
        ActionChannel { name, semantics, bounds: [-1.0, 1.0], still: Some(still) }
    });
    Schema::new(features, actions.collect())
}
