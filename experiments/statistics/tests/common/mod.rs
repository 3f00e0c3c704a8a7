//! What the tests against fixtures share: rows of a JSON file and relative comparison.
//! The caller's line is named when a comparison fails.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use serde_json::Value;

/// The rows under a key of a fixture.
pub fn rows(fixture: &str, key: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(fixture).unwrap();
    let rows = all[key].as_array().unwrap().clone();
    assert!(!rows.is_empty(), "{key} has rows");
    rows
}

#[track_caller]
pub fn close_to(found: f64, expected: &Value, relative: f64) {
    let expected = expected.as_f64().unwrap();
    let error = (found - expected).abs();
    assert!(error <= relative * expected.abs(), "found {found:e}, expected {expected:e}");
}

pub fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap()
}

pub fn count(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

pub fn labels(row: &Value) -> Vec<bool> {
    numbers(&row["labels"]).iter().map(|label| *label == 1.0).collect()
}
