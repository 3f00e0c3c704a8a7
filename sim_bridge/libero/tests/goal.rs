//! Tests of goals: they are met exactly where upstream's are, and an unsupported goal is refused at load.
//! The states and upstream's results come from `goal_states.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::support;

use std::fs;

use aegis_core::policy::{Plant, PlantError};
use aegis_sim::{LiberoPlant, Suite, SuiteError};

const NULL: [f32; 7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];

/// Suite, task, and the predicates of the task's goal.
const GOALS: [(&str, usize, &str); 6] = [
    ("libero_object", 4, "in a region of an object"),
    ("libero_goal", 0, "open"),
    ("libero_goal", 1, "on a region of a fixture"),
    ("libero_goal", 5, "on a region of the table"),
    ("libero_10", 2, "turnon, and on a region of a fixture"),
    ("libero_10", 9, "in a region of a fixture, and close"),
];

/// Checks the goal in each state as it is, and after each of two null actions.
#[test]
fn goals_hold_as_in_upstream() {
    for (name, task, what) in GOALS {
        let states = support::array::<f64>(&format!("{name}_task{task:02}_goal_states.npy"));
        let expected = support::array::<bool>(&format!("{name}_task{task:02}_goal_success.npy"));
        let mut plant = LiberoPlant::new(support::load(name));
        for (row, (state, expected)) in states.rows().into_iter().zip(expected.rows()).enumerate() {
            plant.reset_from(task, &state.to_vec()).unwrap();
            let mut found = vec![plant.success()];
            for _ in 1..expected.len() {
                found.push(plant.step(&NULL).unwrap().success);
            }
            assert_eq!(found, expected.to_vec(), "{name}, task {task} ({what}), state {row}");
        }
        for met in [true, false] {
            assert!(expected.iter().any(|flag| *flag == met), "{name}, task {task}: no state is {met}");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let mut plant = support::plant();
    let width = 1 + support::suite().task(0).map(|task| task.nq + task.nv).unwrap();
    let mut state = vec![0.0; width];
    state[3] = f64::NAN;
    for state in [&state[..], &state[1..]] {
        let result = plant.reset_from(0, state);
        assert!(matches!(result, Err(PlantError::State { expected, .. }) if expected == width), "{result:?}");
    }
}

/// Loads a suite whose first task has this goal.
fn refusal(name: &str, goal: serde_json::Value) -> String {
    let copy = std::env::temp_dir().join(format!("aegis-sim-goal-{name}-{}", std::process::id()));
    let task = copy.join("tasks/00");
    fs::create_dir_all(&task).unwrap();
    let text = fs::read_to_string(support::folder("libero_spatial").join("tasks/00/task.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&text).unwrap();
    let suite = serde_json::json!({
        "schema": description["schema"], "suite": "drawers", "tasks": [description["name"]],
    });
    fs::write(copy.join("suite.json"), suite.to_string()).unwrap();
    description["goal"] = goal;
    fs::write(task.join("task.json"), description.to_string()).unwrap();
    let error = Suite::load(&copy).unwrap_err();
    fs::remove_dir_all(&copy).unwrap();
    assert!(matches!(error, SuiteError::Goal { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("tasks/00/task.json"), "{message}");
    message
}

#[test]
fn an_unsupported_goal_is_named_at_load() {
    let cabinet = "wooden_cabinet_1";
    for (name, goal, expected) in [
        ("unknown", serde_json::json!([["up", "plate_1"]]), "unsupported predicate (up plate_1)"),
        ("arity", serde_json::json!([["open", cabinet, "plate_1"]]), "unsupported predicate (open"),
        ("container", serde_json::json!([["in", "plate_1", cabinet]]), "wooden_cabinet_1 is no region"),
        ("name", serde_json::json!([["on", "spoon_1", "plate_1"]]), "spoon_1 is no object"),
        ("limit", serde_json::json!([["turnon", cabinet]]), "wooden_cabinet_1 has no threshold for turn_on"),
    ] {
        let message = refusal(name, goal);
        assert!(message.contains(expected), "{message}");
    }
}
