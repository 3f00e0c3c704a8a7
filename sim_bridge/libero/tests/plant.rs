//! Tests of the plant's contract: refused inputs, and that a reset clears all earlier state.
//! Needs an exported suite; see `support`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::support;

use std::collections::BTreeSet;

use aegis_core::policy::{Plant, PlantError, Start};
use aegis_core::scene::Scene;
use aegis_sim::{LiberoPlant, Suite, SuiteError};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

const START: Start = Start { task: 0, initial_state: 0 };
const REACH: [f32; 7] = [0.2, -0.4, -1.0, 0.1, 0.0, -0.3, 1.0];

fn state(plant: &LiberoPlant) -> Vec<u64> {
    let mut out = Vec::new();
    plant.state(&mut out);
    out.into_iter().map(f64::to_bits).collect()
}

fn after_steps(plant: &mut LiberoPlant, start: Start, steps: usize) -> Vec<u64> {
    plant.reset(start).unwrap();
    for _ in 0..steps {
        plant.step(&REACH).unwrap();
    }
    state(plant)
}

#[test]
fn a_reset_forgets_what_ran_before() {
    let fresh = after_steps(&mut support::plant(), START, 8);
    let mut used = support::plant();
    after_steps(&mut used, Start { task: 0, initial_state: 9 }, 12);
    assert_eq!(after_steps(&mut used, START, 8), fresh, "after another start of the same task");
    after_steps(&mut used, Start { task: 4, initial_state: 1 }, 3);
    assert_eq!(after_steps(&mut used, START, 8), fresh, "after another task");
}

#[test]
fn plants_on_threads_agree() {
    let here = after_steps(&mut support::plant(), START, 5);
    let mut sent = support::plant();
    let there = std::thread::spawn(move || after_steps(&mut sent, START, 5)).join().unwrap();
    assert_eq!(there, here);
}

#[test]
fn one_step_is_one_control_period() {
    let mut plant = support::plant();
    let observation = plant.reset(START).unwrap();
    assert_eq!((observation.step, observation.plant_time), (0, 0.0));
    let observation = plant.step(&REACH).unwrap().observation;
    assert_eq!(observation.step, 1);
    assert!((observation.plant_time - 0.05).abs() < 1e-12);
}

#[test]
fn an_observation_names_the_objects_in_order() {
    let observation = support::plant().reset(START).unwrap();
    let names: Vec<&str> = observation.object_positions().map(|(name, _)| name).collect();
    let expected = [
        "akita_black_bowl_1",
        "akita_black_bowl_2",
        "cookies_1",
        "glazed_rim_porcelain_ramekin_1",
        "plate_1",
    ];
    assert_eq!(names, expected);
    let size = |name: &str| observation.feature(name).map_or(0, <[f64]>::len);
    assert_eq!(["joint_positions", "joint_velocities", "gripper_positions"].map(size), [7, 7, 2]);
    assert_eq!(observation.values.len(), observation.schema.width());
    // robosuite's orientation of the end effector is the hand's: the grip site is turned against it by -90 degrees about z.
    let rotation = |name: &str| {
        let [x, y, z, w] = observation.array(name).unwrap();
        UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z))
    };
    let (hand, site) = (rotation("eef_quaternion"), rotation("eef_site_quaternion"));
    let turn = hand.inverse() * site;
    let expected = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), -std::f64::consts::FRAC_PI_2);
    assert!(turn.angle_to(&expected) < 1e-3, "{turn}");
    let names: Vec<&str> = observation.schema.actions().iter().map(|channel| &*channel.name).collect();
    assert_eq!((names.len(), names[0], names[6]), (7, "delta_x", "gripper"));
    assert!(observation.instruction.contains("black bowl"));
}

#[test]
fn refuses_unknown_tasks_and_initial_states() {
    let mut plant = support::plant();
    let task = plant.reset(Start { task: 10, initial_state: 0 });
    assert!(matches!(task, Err(PlantError::UnknownTask { found: 10, last: 9 })), "{task:?}");
    let initial_state = plant.reset(Start { task: 2, initial_state: 50 });
    let expected =
        matches!(initial_state, Err(PlantError::UnknownInitialState { task: 2, found: 50, last: 49 }));
    assert!(expected, "{initial_state:?}");
}

#[test]
fn refuses_invalid_actions() {
    let mut plant = support::plant();
    assert!(matches!(plant.step(&REACH), Err(PlantError::NotReset)));
    plant.reset(START).unwrap();
    let before = state(&plant);
    for action in [&REACH[..6], &[f32::NAN; 7], &[0.0, 0.0, 0.0, f32::INFINITY, 0.0, 0.0, 0.0]] {
        let result = plant.step(action);
        assert!(matches!(result, Err(PlantError::Action { expected: 7, .. })), "{result:?}");
    }
    assert_eq!(state(&plant), before, "a refused action changes nothing");
}

#[test]
fn refuses_a_folder_without_a_suite() {
    let error = Suite::load(std::path::Path::new("no/such/suite")).unwrap_err();
    assert!(matches!(error, SuiteError::Io { .. }));
    assert!(error.to_string().contains("no/such/suite/suite.json"));
}

#[test]
fn the_scene_is_drawn_once_and_posed_each_step() {
    let mut plant = support::plant();
    assert!(plant.bodies().is_empty());
    plant.reset(START).unwrap();
    let bodies = plant.bodies();
    let mut poses = Vec::new();
    plant.poses(&mut poses);
    assert_eq!(bodies.len(), poses.len());
    let names: BTreeSet<&str> = bodies.iter().map(|body| &*body.name).collect();
    for expected in
        ["table", "robot0_link7", "gripper0_leftfinger", "akita_black_bowl_1_main", "plate_1_main"]
    {
        assert!(names.contains(expected), "{expected} is not drawn");
    }
    for body in &bodies {
        for mesh in &body.meshes {
            let count = mesh.vertices.len() as u32;
            assert!(mesh.triangles.iter().flatten().all(|index| *index < count), "{}", body.name);
        }
    }
    let fixed = |name: &str| bodies.iter().find(|body| body.name == name).unwrap().fixed;
    assert!(fixed("table") && !fixed("robot0_link7") && !fixed("akita_black_bowl_1_main"));
    let vertices: usize = bodies.iter().flat_map(|body| &body.meshes).map(|mesh| mesh.vertices.len()).sum();
    println!("{} bodies, {vertices} vertices", bodies.len());
    assert!(vertices < 400_000, "{vertices} vertices");
}
