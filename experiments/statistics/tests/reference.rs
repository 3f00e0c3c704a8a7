//! The statistics against values computed elsewhere (`reference.json`).
//! Relative error at most 1e-12.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_statistics::{auroc, clopper_pearson, holm, mcnemar};
use serde_json::Value;

fn reference(key: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    all[key].as_array().unwrap().clone()
}

#[track_caller]
fn close(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    let error = (found - expected).abs();
    assert!(error <= 1e-12 * expected.abs(), "found {found:e}, expected {expected:e}");
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn mcnemar_agrees() {
    for row in reference("mcnemar") {
        let test = mcnemar(row["b"].as_u64().unwrap(), row["c"].as_u64().unwrap());
        close(test.one_sided, &row["one_sided"]);
        close(test.two_sided, &row["two_sided"]);
        close(test.mid_p_one_sided, &row["mid_p_one_sided"]);
    }
}

#[test]
fn mcnemar_does_not_underflow_early() {
    assert!(mcnemar(1000, 0).one_sided > 0.0);
    assert_eq!(mcnemar(0, 0).one_sided, 1.0);
}

#[test]
fn holm_agrees() {
    for row in reference("holm") {
        for (found, expected) in holm(&numbers(&row["p"])).unwrap().iter().zip(row["adjusted"].as_array().unwrap()) {
            close(*found, expected);
        }
    }
}

#[test]
fn clopper_pearson_agrees() {
    for row in reference("clopper_pearson") {
        let (k, n) = (row["k"].as_u64().unwrap(), row["n"].as_u64().unwrap());
        let interval = clopper_pearson(k, n, row["confidence"].as_f64().unwrap()).unwrap();
        close(interval.lower, &row["lower"]);
        close(interval.upper, &row["upper"]);
    }
    assert!(clopper_pearson(3, 2, 0.95).is_err());
    assert!(clopper_pearson(1, 2, 1.0).is_err());
}

#[test]
fn auroc_agrees() {
    for row in reference("auroc") {
        let labels: Vec<bool> = numbers(&row["labels"]).iter().map(|label| *label == 1.0).collect();
        close(auroc(&labels, &numbers(&row["scores"])).unwrap(), &row["auroc"]);
    }
    assert!(auroc(&[true, true], &[0.1, 0.2]).is_err());
    assert!(auroc(&[true], &[0.1, 0.2]).is_err());
}
