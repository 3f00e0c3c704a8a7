//! The scripted expert: a memoryless controller that picks up a bowl and places it on a plate, from exact poses.
//! The expert is used only to make and correct demonstrations, never as a policy at run time.
//!
//! Its phase follows from the observation alone, so the expert can take over in any state: after a dropped bowl, with a
//! gripper that closed on nothing, or with an arm that was pushed away.

use aegis_core::feature::END_EFFECTOR_POSITION;
use aegis_core::{Observation, Pose};
use nalgebra::{Matrix3, Quaternion, Rotation3, UnitQuaternion, Vector3};

/// Position delta in metres of an OSC_POSE action of ±1.
const POSITION_SCALE: f64 = 0.05;
/// Rotation delta in radians of an OSC_POSE action of ±1.
const ROTATION_SCALE: f64 = 0.5;
/// Factor on the remaining distance that one action commands; above 1 because the arm lags.
const GAIN: f64 = 1.7;
/// Distance in metres from the bowl's axis to its rim, where the fingers grasp.
const RIM_RADIUS: f64 = 0.048;
/// Height in metres of the grasp above the bowl's origin.
const GRASP_HEIGHT: f64 = 0.035;
/// Height in metres above the grasp at which the gripper approaches.
const APPROACH_HEIGHT: f64 = 0.10;
/// Height in metres of a carried bowl above the plate's origin.
const CARRY_HEIGHT: f64 = 0.09;
/// Target rotation of the wrist in the world frame: fingers down, opening along the y axis.
const WRIST: [[f64; 3]; 3] = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]];

/// A controller that moves one object, a bowl, onto one support, a plate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expert {
    object: String,
    support: String,
}

/// Error of computing an action.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpertError {
    /// The observation lacks an object.
    #[error("object {0} is missing from the observation")]
    Missing(String),
    /// A pose holds a NaN or an infinity.
    #[error("the pose of {0} is not finite")]
    NotFinite(String),
    /// The gripper is not a pair of fingers.
    #[error("gripper: found {0} fingers; valid is 2")]
    Fingers(usize),
}

/// Inputs of the expert's rules, in metres and in the world frame.
struct Scene {
    grip: Vector3<f64>,
    wrist: Matrix3<f64>,
    bowl: Vector3<f64>,
    up: Vector3<f64>,
    plate: Vector3<f64>,
    /// Half the distance between the fingers, in metres.
    aperture: f64,
    held: bool,
}

/// An action before scaling and clipping: translation in metres, rotation vector in radians, and whether to close the
/// gripper.
struct RawAction {
    way: Vector3<f64>,
    turn: Vector3<f64>,
    close: bool,
}

impl Expert {
    /// Creates an expert that puts `object` on `support`.
    pub fn new(object: &str, support: &str) -> Self {
        Self { object: object.to_owned(), support: support.to_owned() }
    }

    /// Computes the action for one observation: position delta (3), rotation delta (3), gripper (1 closes), each in `[-1, 1]`.
    pub fn action(&self, observation: &Observation) -> Result<[f32; 7], ExpertError> {
        let scene = self.scene(observation)?;
        let wish = if scene.held { carry(&scene) } else { reach(&scene) };
        let unit = |value: f64, scale: f64| (value / scale).clamp(-1.0, 1.0) as f32;
        let way = wish.way.map(|value| unit(GAIN * value, POSITION_SCALE) as f64);
        let turn = wish.turn.map(|value| unit(value, ROTATION_SCALE) as f64);
        let grip = if wish.close { 1.0 } else { -1.0 };
        Ok([way.x as f32, way.y as f32, way.z as f32, turn.x as f32, turn.y as f32, turn.z as f32, grip])
    }

    fn scene(&self, observation: &Observation) -> Result<Scene, ExpertError> {
        let find = |name: &str| -> Result<Pose, ExpertError> {
            finite(name, observation.object(name).ok_or_else(|| ExpertError::Missing(name.to_owned()))?)
        };
        let fingers = observation.feature("gripper_positions").unwrap_or_default();
        let [left, right] = fingers[..] else { return Err(ExpertError::Fingers(fingers.len())) };
        let pose = observation.pose(END_EFFECTOR_POSITION, "eef_site_quaternion");
        let end_effector =
            finite("the end effector", pose.ok_or_else(|| ExpertError::Missing("eef_position".to_owned()))?)?;
        if !(left.is_finite() && right.is_finite()) {
            return Err(ExpertError::NotFinite("the gripper".to_owned()));
        }
        let (bowl_pose, plate_pose) = (find(&self.object)?, find(&self.support)?);
        let grip = Vector3::from(end_effector.position);
        let bowl = Vector3::from(bowl_pose.position);
        let frame = rotation(&bowl_pose);
        let aperture = (left.abs() + right.abs()) / 2.0;
        let local = frame.transpose() * (grip - bowl);
        let on_shell = (0.030..0.075).contains(&local.xy().norm()) && (0.0..0.054).contains(&local.z);
        Ok(Scene {
            grip,
            wrist: rotation(&end_effector).into_inner(),
            bowl,
            up: frame * Vector3::z(),
            plate: Vector3::from(plate_pose.position),
            aperture,
            // The rim is a few millimetres thick, so fingers on the rim with an aperture in this range hold the bowl.
            held: on_shell && (0.0008..0.0085).contains(&aperture),
        })
    }
}

/// Returns the action that moves above the rim, then down, and then closes the gripper.
fn reach(scene: &Scene) -> RawAction {
    let yaw = if in_drawer(scene) { std::f64::consts::FRAC_PI_2 } else { 0.0 };
    let side = Vector3::new(yaw.sin(), yaw.cos(), 0.0);
    let side = (side - scene.up * side.dot(&scene.up)).normalize();
    let grasp = scene.bowl + side * RIM_RADIUS + scene.up * GRASP_HEIGHT;
    let away = grasp - scene.grip;
    let flat = away.xy().norm();
    let height = grasp.z + (4.0 * (flat - 0.012)).clamp(0.0, APPROACH_HEIGHT);
    let level = if flat > 0.03 { ((scene.grip.z - height + 0.05) / 0.03).clamp(0.0, 1.0) } else { 1.0 };
    // The tolerance grows as the fingers close, so that a small slip does not open them again.
    let slack = 0.010 * (1.0 + ((0.038 - scene.aperture) / 0.03).clamp(0.0, 1.0));
    let there = flat < slack && away.z.abs() < slack;
    let empty = there && scene.aperture < 0.0008;
    let way = if empty {
        Vector3::new(0.0, 0.0, 0.05)
    } else {
        Vector3::new(away.x * level, away.y * level, height - scene.grip.z)
    };
    let target = Rotation3::from_axis_angle(&Vector3::z_axis(), yaw).into_inner() * wrist();
    RawAction { way, turn: rotation_vector(target * scene.wrist.transpose()), close: there && !empty }
}

/// Returns the action that lifts the bowl, moves it over the plate, lowers it and opens the gripper.
fn carry(scene: &Scene) -> RawAction {
    let away = (scene.plate - scene.bowl).xy();
    let flat = away.norm();
    let clear = cabinet_clearance(scene);
    let high = scene.plate.z + CARRY_HEIGHT;
    let high = high + clear * (1.15 - high).max(0.0);
    let low = scene.plate.z - 0.01;
    let height = low + ((flat - 0.015) / 0.06).clamp(0.0, 1.0) * (high - low);
    let level = if flat > 0.04 { ((scene.bowl.z - height + 0.05) / 0.03).clamp(0.0, 1.0) } else { 1.0 };
    let tilt = (scene.wrist * Vector3::z()).cross(&-Vector3::z());
    RawAction {
        way: Vector3::new(away.x * level, away.y * level, height - scene.bowl.z),
        turn: tilt,
        close: !(flat < 0.02 && scene.bowl.z < scene.plate.z + 0.012),
    }
}

/// Checks whether the bowl is in the open top drawer.
fn in_drawer(scene: &Scene) -> bool {
    let bowl = scene.bowl;
    (1.04..1.10).contains(&bowl.z) && (bowl.x - 0.085).abs() < 0.09 && (-0.22..-0.04).contains(&bowl.y)
}

/// Returns how much the cabinet obstructs a carried bowl, 0 to 1.
fn cabinet_clearance(scene: &Scene) -> f64 {
    ((scene.bowl.x + 0.2) / 0.1).clamp(0.0, 1.0) * ((-0.02 - scene.bowl.y) / 0.05).clamp(0.0, 1.0)
}

fn wrist() -> Matrix3<f64> {
    Matrix3::from_fn(|row, column| WRIST[row][column])
}

fn rotation(pose: &Pose) -> Rotation3<f64> {
    let [w, x, y, z] = pose.orientation;
    UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z)).to_rotation_matrix()
}

fn rotation_vector(matrix: Matrix3<f64>) -> Vector3<f64> {
    Rotation3::from_matrix_unchecked(matrix).scaled_axis()
}

fn finite(name: &str, pose: Pose) -> Result<Pose, ExpertError> {
    if pose.position.iter().chain(&pose.orientation).all(|value| value.is_finite()) {
        return Ok(pose);
    }
    Err(ExpertError::NotFinite(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::feature::{Feature, Schema};

    use crate::layout::tests::observation;

    const BOWL: [f64; 3] = [0.0, 0.0, 0.9];
    const PLATE: [f64; 3] = [0.05, 0.2, 0.9];
    /// Grip position at the rim at which the fingers close.
    const GRASP: [f64; 3] = [BOWL[0], BOWL[1] + RIM_RADIUS, BOWL[2] + GRASP_HEIGHT];

    fn action(grip: [f64; 3], aperture: f64, bowl: [f64; 3]) -> [f32; 7] {
        let mut seen = observation();
        // A half turn about the diagonal of x and y: fingers down, opening along y.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        for (feature, values) in [
            ("eef_position", &grip[..]),
            ("eef_site_quaternion", &[half, half, 0.0, 0.0]),
            ("gripper_positions", &[aperture, -aperture]),
            ("object/akita_black_bowl_1/position", &bowl),
            ("object/plate_1/position", &PLATE),
        ] {
            let range = seen.schema.range(feature).unwrap();
            seen.values[range].copy_from_slice(values);
        }
        Expert::new("akita_black_bowl_1", "plate_1").action(&seen).unwrap()
    }

    #[test]
    fn far_away_it_moves_over_the_rim_with_open_fingers() {
        let [x, y, _, rx, ry, rz, grip] = action([-0.2, -0.1, 1.1], 0.04, BOWL);
        assert!(x > 0.9 && y > 0.9 && grip == -1.0);
        assert!([rx, ry, rz].iter().all(|turn| turn.abs() < 1e-6), "the wrist is already right");
    }

    #[test]
    fn at_the_rim_it_closes() {
        assert_eq!(action(GRASP, 0.04, BOWL)[6], 1.0);
    }

    #[test]
    fn closed_on_nothing_it_opens_and_rises() {
        let [.., z, _, _, _, grip] = action(GRASP, 0.0, BOWL);
        assert!(grip == -1.0 && z > 0.9);
    }

    #[test]
    fn holding_it_lifts_before_it_travels() {
        let [_, y, z, .., grip] = action(GRASP, 0.003, BOWL);
        assert!(grip == 1.0 && z > 0.9 && y < 1.0);
    }

    #[test]
    fn over_the_plate_it_lowers_and_on_the_plate_it_lets_go() {
        let over = [PLATE[0], PLATE[1], PLATE[2] + 0.06];
        let above_rim = |bowl: [f64; 3]| [bowl[0], bowl[1] + RIM_RADIUS, bowl[2] + GRASP_HEIGHT];
        let lowering = action(above_rim(over), 0.003, over);
        assert!(lowering[2] < -0.5 && lowering[6] == 1.0);
        assert_eq!(action(above_rim(PLATE), 0.003, PLATE)[6], -1.0);
    }

    #[test]
    fn unreadable_observations_are_named() {
        let expert = Expert::new("mug", "plate_1");
        assert_eq!(expert.action(&observation()), Err(ExpertError::Missing("mug".into())));
        let mut poisoned = observation();
        let range = poisoned.schema.range("eef_position").unwrap();
        poisoned.values[range][1] = f64::NAN;
        let expert = Expert::new("akita_black_bowl_1", "plate_1");
        assert_eq!(expert.action(&poisoned), Err(ExpertError::NotFinite("the end effector".into())));
        let fingers = vec![Feature::vector("gripper_positions", &["1", "2", "3"], "m")];
        let schema = std::sync::Arc::new(Schema::new(fingers, Vec::new()).unwrap());
        let three = Observation { schema, values: vec![0.0; 3], ..observation() };
        assert_eq!(expert.action(&three), Err(ExpertError::Fingers(3)));
    }
}
