//! Platt scaling: the fit is the optimum of its loss, on every kind of valid data.
//! Every kind of invalid data has its own error.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::platt::CalibrateError;
use aegis_core::{PlattScaling, Score};
use proptest::prelude::*;

fn probability(calibrator: &PlattScaling, score: f64) -> f64 {
    calibrator.probability(Score::new(score))
}

/// Returns the gradient of the mean loss in slope and intercept, with the targets of Platt's paper computed independently.
fn gradient(calibrator: &PlattScaling, scores: &[f64], failed: &[bool]) -> [f64; 2] {
    let failures = failed.iter().filter(|failed| **failed).count() as f64;
    let wins = failed.len() as f64 - failures;
    let mut sum = [0.0; 2];
    for (score, failed) in scores.iter().zip(failed) {
        let target = if *failed { (failures + 1.0) / (failures + 2.0) } else { 1.0 / (wins + 2.0) };
        let residual = probability(calibrator, *score) - target;
        let inside = score.clamp(1e-12, 1.0 - 1e-12);
        sum = [sum[0] + residual * (inside / (1.0 - inside)).ln(), sum[1] + residual];
    }
    sum.map(|total| total / failed.len() as f64)
}

#[test]
fn separated_scores_keep_a_finite_slope_at_the_smoothed_targets() {
    // Two score values, two parameters: the fit meets both targets exactly.
    let scores = [0.2, 0.2, 0.2, 0.8, 0.8];
    let failed = [false, false, false, true, true];
    let fitted = PlattScaling::fit(&scores, &failed).unwrap();
    assert!((probability(&fitted, 0.2) - 1.0 / 5.0).abs() < 1e-8);
    assert!((probability(&fitted, 0.8) - 3.0 / 4.0).abs() < 1e-8);
}

#[test]
fn scores_that_never_vary_get_the_mean_target() {
    let fitted = PlattScaling::fit(&[0.3; 4], &[true, false, false, false]).unwrap();
    // The targets are 2/3 once and 1/5 three times.
    assert!(fitted.slope == 0.0 && (probability(&fitted, 0.3) - (2.0 / 3.0 + 0.6) / 4.0).abs() < 1e-9);
}

#[test]
fn an_overconfident_score_is_pulled_back_and_a_reversed_one_shows_it() {
    // At odds of 1:19 every fifth episode fails; at 19:1 every fifth does not.
    let scores: Vec<f64> = (0..200).map(|index| if index < 100 { 0.05 } else { 0.95 }).collect();
    let failed: Vec<bool> = (0..200).map(|index| (index % 5 == 0) == (index < 100)).collect();
    let fitted = PlattScaling::fit(&scores, &failed).unwrap();
    assert!(fitted.slope > 0.0 && fitted.slope < 1.0);
    assert!((probability(&fitted, 0.95) - 0.8).abs() < 0.01);
    let reversed: Vec<bool> = failed.iter().map(|failed| !failed).collect();
    assert!(PlattScaling::fit(&scores, &reversed).unwrap().slope < 0.0);
}

#[test]
fn a_flagged_score_is_certain_failure_at_any_slope() {
    for slope in [-1.0, 0.0, 1.0] {
        assert_eq!(probability(&PlattScaling { slope, intercept: -5.0 }, f64::NAN), 1.0);
    }
    let identity = PlattScaling { slope: 1.0, intercept: 0.0 };
    assert!((probability(&identity, 0.37) - 0.37).abs() < 1e-12);
    assert!(probability(&identity, 0.0) < 1e-11 && probability(&identity, 1.0) > 1.0 - 1e-11);
}

#[test]
fn bad_data_is_named() {
    let fit = PlattScaling::fit;
    assert_eq!(fit(&[], &[]), Err(CalibrateError::Empty));
    assert_eq!(fit(&[0.1], &[]), Err(CalibrateError::Length { scores: 1, outcomes: 0 }));
    assert_eq!(fit(&[0.1, 0.2], &[true, true]), Err(CalibrateError::OneClass(true)));
    for bad in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        let found = bad.to_string();
        assert_eq!(fit(&[0.1, bad], &[true, false]), Err(CalibrateError::NotARisk { index: 1, found }));
    }
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0_f64, 1 => Just(0.0), 1 => Just(1.0), 1 => 0.5..0.500_001_f64]
}

proptest! {
    #[test]
    fn the_fit_is_a_stationary_point_and_keeps_the_order(
        sample in prop::collection::vec((score(), prop::bool::ANY), 0..60),
        scale in prop_oneof![Just(1.0), Just(1e-6)],
    ) {
        let (mut scores, mut failed): (Vec<f64>, Vec<bool>) = sample.into_iter().unzip();
        scores.extend([0.3, 0.6]);
        failed.extend([true, false]);
        scores.iter_mut().for_each(|score| *score *= scale);
        let fitted = PlattScaling::fit(&scores, &failed).unwrap();
        let [slope, intercept] = gradient(&fitted, &scores, &failed);
        prop_assert!(slope.abs() < 1e-6 && intercept.abs() < 1e-7, "{fitted:?}: {slope}, {intercept}");
        let low = probability(&fitted, 0.2);
        let high = probability(&fitted, 0.7);
        prop_assert!((high - low) * fitted.slope >= 0.0);
    }
}
