//! The project's reference values (`reference.json`, computed outside of this repository), every kind that this crate owns.
//! Relative error at most 1e-12; 1e-11 where the file gives 12 digits. Its conformal rows are `aegis-core`'s.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{self, close_to, count, labels, number, numbers};
use aegis_statistics::{auroc, clopper_pearson, holm, holm_rejects, mcnemar, mcnemar_e_value, reliability};
use serde_json::Value;

fn rows(key: &str) -> Vec<Value> {
    common::rows(include_str!("reference.json"), key)
}

#[test]
fn mcnemar_agrees() {
    for row in rows("mcnemar") {
        let test = mcnemar(count(&row, "b"), count(&row, "c"));
        close_to(test.one_sided, &row["one_sided"], 1e-12);
        close_to(test.two_sided, &row["two_sided"], 1e-12);
        close_to(test.mid_p_one_sided, &row["mid_p_one_sided"], 1e-12);
    }
}

#[test]
fn holm_agrees() {
    for row in rows("holm") {
        let p = numbers(&row["p"]);
        for (found, expected) in holm(&p).unwrap().iter().zip(row["adjusted"].as_array().unwrap()) {
            close_to(*found, expected, 1e-12);
        }
        let rejected: Vec<bool> =
            row["reject_0_05"].as_array().unwrap().iter().map(|one| one.as_bool().unwrap()).collect();
        assert_eq!(holm_rejects(&p, 0.05).unwrap(), rejected);
    }
}

#[test]
fn clopper_pearson_agrees() {
    for row in rows("clopper_pearson") {
        let found = clopper_pearson(count(&row, "k"), count(&row, "n"), number(&row, "confidence")).unwrap();
        close_to(found.lower, &row["lower"], 1e-12);
        close_to(found.upper, &row["upper"], 1e-12);
    }
}

#[test]
fn auroc_agrees() {
    for row in rows("auroc") {
        close_to(auroc(&labels(&row), &numbers(&row["scores"])).unwrap(), &row["auroc"], 1e-12);
    }
}

#[test]
fn e_values_agree() {
    for row in rows("e_value_mcnemar_uniform_half_to_one") {
        close_to(mcnemar_e_value(count(&row, "b"), count(&row, "c")), &row["e"], 1e-11);
    }
}

#[test]
fn calibration_error_agrees() {
    for row in rows("expected_calibration_error_10_bins") {
        let found = reliability(&labels(&row), &numbers(&row["p"]), 10, 0.95).unwrap();
        close_to(found.expected_calibration_error, &row["ece"], 1e-11);
    }
}
