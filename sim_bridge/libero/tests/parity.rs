//! Replays recorded upstream rollouts, 20 control steps on each of six tasks out of four suites.
//! The fixtures come from `export_scenes.py --record` with seed 0.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::support;

use aegis_core::policy::{Plant, Start};
use aegis_sim::{LiberoPlant, Suite};

/// Tolerance, radians and metres. The measured difference is 3e-15, from the order of floating-point sums in linear
/// algebra.
const TOLERANCE: f64 = 1e-9;

/// Suite, task and initial state of the recordings from other suites than libero_spatial.
const OTHERS: [(&str, usize, usize); 3] =
    [("libero_object", 4, 11), ("libero_goal", 3, 5), ("libero_10", 9, 21)];

fn replay(task: usize, initial_state: usize) {
    replay_of(support::suite(), &format!("task{task:02}_init{initial_state:02}"), task, initial_state);
}

fn replay_of(suite: Suite, name: &str, task: usize, initial_state: usize) {
    let actions = support::array::<f32>(&format!("{name}_actions.npy"));
    let states = support::array::<f64>(&format!("{name}_states.npy"));
    let positions = 1 + suite.task(task).unwrap().nq;
    let mut plant = LiberoPlant::new(suite);
    plant.reset(Start { task, initial_state }).unwrap();
    assert_eq!(plant.state_flat(), states.row(0).to_vec(), "restored state");
    for (step, action) in actions.rows().into_iter().enumerate() {
        plant.step(&action.to_vec()).unwrap();
        let native = plant.state_flat();
        let upstream = states.row(step + 1);
        let difference = native
            .iter()
            .zip(upstream)
            .take(positions)
            .map(|(native, upstream)| (native - upstream).abs())
            .fold(0.0, f64::max);
        assert!(difference < TOLERANCE, "step {}: largest difference {difference:e}", step + 1);
    }
}

#[test]
fn random_actions_on_task_0() {
    replay(0, 3);
}

#[test]
fn descent_and_grasp_on_task_4() {
    replay(4, 7);
}

#[test]
fn random_actions_on_task_7() {
    replay(7, 49);
}

#[test]
fn random_actions_in_other_suites() {
    for (suite, task, initial_state) in OTHERS {
        let name = format!("{suite}_task{task:02}_init{initial_state:02}");
        replay_of(support::load(suite), &name, task, initial_state);
    }
}

/// Replays a scripted pick-and-place, 125 control steps with grasp and release. Upstream first reports success after the
/// 120th control step.
#[test]
fn success_comes_at_upstreams_step() {
    let mut plant = support::plant();
    plant.reset(Start { task: 0, initial_state: 3 }).unwrap();
    let actions = support::array::<f32>("task00_init03_success_actions.npy");
    let success: Vec<bool> =
        actions.rows().into_iter().map(|action| plant.step(&action.to_vec()).unwrap().success).collect();
    assert_eq!(success.iter().position(|success| *success), Some(119));
    assert!(success[119..].iter().all(|success| *success));
}
