//! A suite whose goal cannot be evaluated natively is refused when it is loaded.
//! That goals hold exactly when upstream says so is `parity.rs`'s to show.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::fs;

use aegis_sim::{Suite, SuiteError};

#[test]
fn an_unsupported_predicate_is_named_at_load() {
    let copy = std::env::temp_dir().join(format!("aegis-sim-goal-{}", std::process::id()));
    let task = copy.join("tasks/00");
    fs::create_dir_all(&task).unwrap();
    let source = support::folder();
    let name = support::suite().task(0).unwrap().name.clone();
    let suite = serde_json::json!({"schema": 1, "suite": "drawers", "tasks": [name]});
    fs::write(copy.join("suite.json"), suite.to_string()).unwrap();
    let text = fs::read_to_string(source.join("tasks/00/task.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&text).unwrap();
    description["goal"] = serde_json::json!([["open", "wooden_cabinet_1_top_region"]]);
    fs::write(task.join("task.json"), description.to_string()).unwrap();
    let error = Suite::load(&copy).unwrap_err();
    fs::remove_dir_all(&copy).unwrap();
    assert!(matches!(error, SuiteError::Goal { .. }));
    let message = error.to_string();
    assert!(message.contains("unsupported predicate (open wooden_cabinet_1_top_region)"), "{message}");
    assert!(message.contains("tasks/00/task.json"), "{message}");
}
