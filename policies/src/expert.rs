//! The scripted expert: a memoryless pick-and-place of a bowl onto a plate, from exact poses.
//! It only makes demonstrations and corrects them; no policy at run time is this script.
//!
//! The phase is read off the observation alone, so the expert can take over from any state: a dropped bowl, a gripper
//! that closed on nothing, an arm that was pushed away.

use aegis_core::{Observation, Pose};
use nalgebra::{Matrix3, Quaternion, Rotation3, UnitQuaternion, Vector3};

/// Position deltas of an OSC_POSE action: ±1 is this many metres.
const POSITION_SCALE: f64 = 0.05;
/// Rotation deltas of an OSC_POSE action: ±1 is this many radians.
const ROTATION_SCALE: f64 = 0.5;
/// Share of the remaining way that one action asks for; the arm lags, so above one.
const GAIN: f64 = 1.7;
/// Distance of the bowl's rim from its axis, where the fingers grasp.
const RIM_RADIUS: f64 = 0.048;
/// Height of the grasp above the bowl's origin.
const GRASP_HEIGHT: f64 = 0.035;
/// How far above the grasp the gripper approaches.
const APPROACH_HEIGHT: f64 = 0.10;
/// Bowl height above the plate's origin while it is carried.
const CARRY_HEIGHT: f64 = 0.09;
/// The wrist at rest: fingers down, opening along the world's y axis.
const WRIST: [[f64; 3]; 3] = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]];

/// Moves one bowl onto one plate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expert {
    object: String,
    support: String,
}

/// Why the expert has no answer.
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

/// What the rules look at, in metres and world axes.
struct Scene {
    grip: Vector3<f64>,
    wrist: Matrix3<f64>,
    bowl: Vector3<f64>,
    up: Vector3<f64>,
    plate: Vector3<f64>,
    /// Half the distance between the fingers.
    aperture: f64,
    held: bool,
}

/// A wish before it is scaled and clipped.
struct RawAction {
    way: Vector3<f64>,
    turn: Vector3<f64>,
    close: bool,
}

impl Expert {
    /// An expert that puts `object` on `support`.
    pub fn new(object: &str, support: &str) -> Self {
        Self { object: object.to_owned(), support: support.to_owned() }
    }

    /// The action for one observation: position delta (3), rotation delta (3), gripper, each in `[-1, 1]`.
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
            let found = observation.objects.iter().find(|object| &*object.name == name);
            finite(name, found.ok_or_else(|| ExpertError::Missing(name.to_owned()))?.pose)
        };
        let robot = &observation.proprioception;
        let [left, right] = robot.gripper[..] else { return Err(ExpertError::Fingers(robot.gripper.len())) };
        let end_effector = finite("the end effector", robot.end_effector)?;
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
            // The rim is a few millimetres thick: closed fingers that stand this far apart hold it.
            held: on_shell && (0.0008..0.0085).contains(&aperture),
        })
    }
}

/// Goes above the rim, down, and closes.
fn reach(scene: &Scene) -> RawAction {
    let yaw = if in_drawer(scene) { std::f64::consts::FRAC_PI_2 } else { 0.0 };
    let side = Vector3::new(yaw.sin(), yaw.cos(), 0.0);
    let side = (side - scene.up * side.dot(&scene.up)).normalize();
    let grasp = scene.bowl + side * RIM_RADIUS + scene.up * GRASP_HEIGHT;
    let away = grasp - scene.grip;
    let flat = away.xy().norm();
    let height = grasp.z + (4.0 * (flat - 0.012)).clamp(0.0, APPROACH_HEIGHT);
    let level = if flat > 0.03 { ((scene.grip.z - height + 0.05) / 0.03).clamp(0.0, 1.0) } else { 1.0 };
    // Fingers on their way to closing may slip a little without being opened again.
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

/// Lifts, goes over the plate, lowers and lets go.
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

/// Whether the bowl stands in the open top drawer.
fn in_drawer(scene: &Scene) -> bool {
    let bowl = scene.bowl;
    (1.04..1.10).contains(&bowl.z) && (bowl.x - 0.085).abs() < 0.09 && (-0.22..-0.04).contains(&bowl.y)
}

/// How much of the cabinet is in the way of a carried bowl, 0 to 1.
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
    use crate::encode::tests::observation;

    const BOWL: [f64; 3] = [0.0, 0.0, 0.9];
    const PLATE: [f64; 3] = [0.05, 0.2, 0.9];
    /// Over the rim, where the fingers close.
    const GRASP: [f64; 3] = [BOWL[0], BOWL[1] + RIM_RADIUS, BOWL[2] + GRASP_HEIGHT];

    fn action(grip: [f64; 3], aperture: f64, bowl: [f64; 3]) -> [f32; 7] {
        let mut seen = observation();
        // A half turn about the diagonal of x and y: fingers down, opening along y.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        seen.proprioception.end_effector = Pose { position: grip, orientation: [0.0, half, half, 0.0] };
        seen.proprioception.gripper = vec![aperture, -aperture];
        for object in &mut seen.objects {
            match &*object.name {
                "akita_black_bowl_1" => object.pose.position = bowl,
                "plate_1" => object.pose.position = PLATE,
                _ => {}
            }
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
    fn what_it_cannot_read_is_named() {
        let expert = Expert::new("mug", "plate_1");
        assert_eq!(expert.action(&observation()), Err(ExpertError::Missing("mug".into())));
        let mut poisoned = observation();
        poisoned.proprioception.end_effector.position[1] = f64::NAN;
        let expert = Expert::new("akita_black_bowl_1", "plate_1");
        assert_eq!(expert.action(&poisoned), Err(ExpertError::NotFinite("the end effector".into())));
        let mut three = observation();
        three.proprioception.gripper.push(0.0);
        assert_eq!(expert.action(&three), Err(ExpertError::Fingers(3)));
    }
}
