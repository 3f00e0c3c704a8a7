//! The probe and its threshold on data small enough to know the answer.
//! Every refusal has its error.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::conformal::split_conformal_threshold;
use aegis_core::probe::{Example, ProbeError};
use aegis_core::{Activation, Chunk, Probe};
use proptest::prelude::*;

fn example(features: &[f64], failed: bool) -> Example {
    Example { features: features.to_vec(), failed, weight: 1.0 }
}

fn separable() -> Vec<Example> {
    (0..40)
        .map(|index| {
            let x = f64::from(index) / 10.0 - 2.0;
            example(&[x, (f64::from(index) * 0.7).sin(), 5.0], x + 0.2 * (f64::from(index) * 1.3).cos() > 0.0)
        })
        .collect()
}

#[test]
fn finds_the_direction_that_separates() {
    let probe = Probe::fit(&separable(), 1.0).unwrap();
    assert!(probe.weights[0] > 5.0 * probe.weights[1].abs());
    assert_eq!(probe.weights[2], 0.0, "a constant feature carries nothing");
    let risk = |x: f64| probe.score(&[x, 0.0, 5.0]).unwrap().risk();
    assert!(risk(-2.0) < 0.1 && risk(2.0) > 0.9);
}

#[test]
fn the_fit_is_a_stationary_point_of_the_penalised_loss() {
    let (examples, penalty) = (separable(), 0.7);
    let probe = Probe::fit(&examples, penalty).unwrap();
    for column in 0..probe.width() {
        let gradient: f64 = examples
            .iter()
            .map(|e| {
                let z = (e.features[column] - probe.mean[column]) / probe.scale[column];
                z * (f64::from(u8::from(e.failed)) - probe.score(&e.features).unwrap().risk())
            })
            .sum();
        assert!((gradient - penalty * probe.weights[column]).abs() < 1e-7);
    }
}

#[test]
fn bad_data_is_named() {
    assert_eq!(Probe::fit(&[], 1.0), Err(ProbeError::Empty));
    assert_eq!(Probe::fit(&[example(&[1.0], true)], 1.0), Err(ProbeError::OneClass(true)));
    let ragged = [example(&[1.0], true), example(&[1.0, 2.0], false)];
    assert_eq!(Probe::fit(&ragged, 1.0), Err(ProbeError::Width { expected: 1, found: 2 }));
    let poisoned = [example(&[1.0], true), example(&[f64::NAN], false)];
    assert_eq!(Probe::fit(&poisoned, 1.0), Err(ProbeError::NotFinite(1)));
    let probe = Probe::blank(3);
    assert_eq!(probe.score(&[0.0]).unwrap_err(), ProbeError::Width { expected: 3, found: 1 });
}

#[test]
fn a_nan_in_the_activation_is_the_highest_risk_and_flagged() {
    let mut probe = Probe::blank(2);
    probe.weights = vec![1.0, 1.0];
    let score = probe.score(&[f64::NAN, 0.0]).unwrap();
    assert!(score.is_flagged());
    assert_eq!(score.risk(), f64::INFINITY);
}

#[test]
fn pooling_is_the_mean_over_tokens() {
    let activation = Activation::new(2, vec![1.0, 10.0, 3.0, 30.0]).unwrap();
    assert_eq!(activation.mean_pool(), vec![2.0, 20.0]);
    assert!(Activation::new(3, vec![1.0, 2.0]).is_err());
}

#[test]
fn chunks_are_whole_and_finite() {
    let chunk = Chunk::new(2, vec![0.0, 1.0, 2.0, 3.0]).unwrap();
    assert_eq!((chunk.horizon(), chunk.action(1), chunk.action(2)), (2, Some(&[2.0, 3.0][..]), None));
    assert!(Chunk::new(2, vec![0.0; 3]).is_err());
    assert!(Chunk::new(0, vec![]).is_err());
    assert!(Chunk::new(1, vec![f32::NAN]).is_err());
}

#[test]
fn conformal_thresholds_from_the_reference_values() {
    let scores: Vec<f64> = (1..=9).map(|tenth| f64::from(tenth) / 10.0).collect();
    assert_eq!(split_conformal_threshold(&scores, 0.1), 0.9);
    assert_eq!(split_conformal_threshold(&scores, 0.2), 0.8);
    assert_eq!(split_conformal_threshold(&scores, 0.05), f64::INFINITY);
    assert_eq!(split_conformal_threshold(&[], 0.1), f64::INFINITY);
    assert_eq!(split_conformal_threshold(&[f64::NAN, 0.1], 0.1), f64::INFINITY);
}

proptest! {
    #[test]
    fn at_most_alpha_of_the_calibration_scores_lie_above(
        scores in prop::collection::vec(0.0..1.0_f64, 1..80), alpha in 0.02..0.5_f64
    ) {
        let threshold = split_conformal_threshold(&scores, alpha);
        let above = scores.iter().filter(|score| **score > threshold).count();
        prop_assert!(above as f64 <= alpha * (scores.len() as f64 + 1.0));
    }
}
