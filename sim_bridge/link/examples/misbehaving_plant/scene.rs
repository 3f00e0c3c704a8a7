//! Sensors of the misbehaving plant: its joints with a little noise, and on request the rest of a LIBERO-Spatial scene.

use aegis_core::feature::{Feature, Schema};
use aegis_link::wire::{Announcement, Observed};

use crate::cameras;

/// Wrist joint position of a Panda in LIBERO's initial state, radians; here a seventh joint that never moves.
const WRIST: f64 = 0.785;
/// Finger positions of an open Panda gripper in LIBERO's initial state, metres.
const FINGERS: [f64; 2] = [0.0208, -0.0208];
/// Position of the grip site above the table in LIBERO's initial state, metres.
const GRIP: [f64; 3] = [-0.21, 0.0, 1.17];
/// Quaternion x, y, z, w of a half turn about x: the gripper points down.
const DOWN: [f64; 4] = [1.0, 0.0, 0.0, 0.0];
/// Displacement of the grip site per radian of one of the first three joints, metres.
const REACH: f64 = 0.1;
const UPRIGHT: [f64; 4] = [0.0, 0.0, 0.0, 1.0];
const INSTRUCTION: &str =
    "pick up the black bowl between the plate and the ramekin and place it on the plate";
/// Objects that the `libero-*` layouts of `policies/src/layout.rs` read, at plausible positions on the table, metres.
const OBJECTS: [(&str, [f64; 3]); 5] = [
    ("akita_black_bowl_1", [-0.07, 0.2, 0.898]),
    ("akita_black_bowl_2", [0.1, -0.06, 0.898]),
    ("cookies_1", [0.03, -0.2, 0.915]),
    ("glazed_rim_porcelain_ramekin_1", [-0.2, 0.22, 0.898]),
    ("plate_1", [0.06, 0.19, 0.9]),
];

/// Sensors of the plant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scene {
    /// Whether observations show a LIBERO-Spatial scene.
    pub libero: bool,
    /// Whether the plant has two cameras.
    pub cameras: bool,
    /// Amplitude of the noise of each joint position, radians.
    pub noise: f64,
}

impl Scene {
    /// Returns what the plant announces: `joint_positions` first, for `joints` moving joints. It does not name its channels.
    pub fn announcement(&self, joints: usize) -> Announcement {
        let shown = joints + usize::from(self.libero);
        let numbers: Vec<String> = (1..=shown).map(|joint| format!("joint{joint}")).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let (xyz, xyzw) = (["x", "y", "z"], ["x", "y", "z", "w"]);
        let mut features = vec![
            Feature::vector("joint_positions", &numbers, "rad"),
            Feature::vector("eef_position", &xyz, "m, world frame"),
            Feature::vector("eef_site_quaternion", &xyzw, "world frame"),
        ];
        if self.libero {
            features.push(Feature::vector("gripper_positions", &["finger1", "finger2"], "m"));
            for (name, _) in OBJECTS {
                features.push(Feature::vector(format!("object/{name}/position"), &xyz, "m, world frame"));
                features.push(Feature::vector(format!("object/{name}/quaternion"), &xyzw, "world frame"));
            }
        }
        if self.cameras {
            features.extend(cameras::features());
        }
        let schema = Schema::new(features, Vec::new());
        schema.as_ref().map_or_else(|_| Announcement::default(), Announcement::from)
    }

    /// Returns an observation of the true `joints`, radians. `reading` selects the noise sample.
    pub fn observe(&self, joints: &[f64], reading: u64, task: u32, plant_time: f64) -> Observed {
        let noisy = |(index, joint): (u64, &f64)| joint + self.noise * noise(reading, index);
        let mut values: Vec<f64> = (0..).zip(joints).map(noisy).collect();
        values.extend(self.libero.then_some(WRIST));
        // This is not the kinematics of any robot: the grip site only has to move with the joints.
        let moved = |axis: usize| GRIP[axis] + REACH * joints.get(axis).copied().unwrap_or(0.0);
        values.extend([moved(0), moved(1), moved(2)]);
        values.extend(DOWN);
        let mut instruction = "follow the controller";
        if self.libero {
            values.extend(FINGERS);
            OBJECTS.iter().for_each(|(_, position)| values.extend(position.iter().chain(&UPRIGHT)));
            instruction = INSTRUCTION;
        }
        Observed { plant_time, task, instruction: instruction.into(), values }
    }
}

/// Returns a deterministic number from -1 to 1 that differs between readings and joints.
fn noise(reading: u64, index: u64) -> f64 {
    let count = reading.wrapping_mul(64).wrapping_add(index) as f64;
    (count * 0.618_033_988_749_895).fract() * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robot_that_stands_reads_differently_each_period_within_its_noise() {
        let scene = Scene { libero: false, cameras: false, noise: 1e-6 };
        let [first, second] = [1, 2].map(|reading| scene.observe(&[0.5, -0.5], reading, 0, 0.0));
        assert_ne!(first.values[..2], second.values[..2]);
        for (joint, read) in [0.5_f64, -0.5].iter().zip(&second.values) {
            assert!((joint - read).abs() <= 1e-6, "{read}");
        }
        let exact = Scene { libero: false, cameras: false, noise: 0.0 };
        assert_eq!(exact.observe(&[0.5, -0.5], 3, 0, 0.0).values[..2], [0.5, -0.5]);
    }

    #[test]
    fn a_libero_scene_has_what_the_layouts_read() {
        let scene = Scene { libero: true, cameras: false, noise: 0.0 };
        let schema = scene.announcement(6).schema(None).unwrap();
        let seen = scene.observe(&[0.1; 6], 1, 3, 0.25);
        assert_eq!((seen.values.len(), schema.width()), (7 + 3 + 4 + 2 + 5 * 7, seen.values.len()));
        assert_eq!((&seen.values[..6], schema.range("joint_positions")), (&[0.1; 6][..], Some(0..7)));
        assert_eq!((seen.task, seen.plant_time), (3, 0.25));
    }
}
