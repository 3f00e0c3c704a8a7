//! Split-conformal threshold and functional band, on data small enough to know the exact result.
//! Their guarantees for new episodes are checked against simulated episodes.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_probe::conformal::{FunctionalBand, split_conformal_threshold};
use proptest::prelude::*;

#[test]
fn thresholds_from_the_reference_values() {
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

#[test]
fn a_band_by_hand() {
    // Means 0.2 and 0.5, deviations 0.1 and 0.2; the excesses are 1, 2 and 0.5, and half of 3 + 1 is the second.
    let shaping: [&[f64]; 2] = [&[9.0, 0.1, 0.3], &[9.0, 0.3, 0.7]];
    let calibration: [&[f64]; 3] = [&[0.0, 0.3, 0.5], &[0.0, 0.2, 0.9], &[99.0, 0.25]];
    let band = FunctionalBand::calibrate(&shaping, &calibration, 1, 0.5);
    assert_eq!(band.upper[0], f64::INFINITY, "no alarm may fire before the first counted boundary");
    assert!((band.at(1) - 0.3).abs() < 1e-12 && (band.at(2) - 0.7).abs() < 1e-12);
    assert_eq!(band.at(7), band.at(2));
    let alternating = [shaping[0], calibration[0], shaping[1], calibration[1], &[], calibration[2]];
    assert_eq!(FunctionalBand::alternate(&alternating, 1, 0.5), band);
}

#[test]
fn without_enough_episodes_nothing_fires() {
    let episodes: Vec<&[f64]> = vec![&[0.1, 0.2]; 8];
    let few = FunctionalBand::calibrate(&episodes, &episodes, 0, 0.1);
    assert!(few.upper.iter().all(|upper| *upper == f64::INFINITY));
    let late = FunctionalBand::calibrate(&episodes, &episodes, 5, 0.5);
    assert_eq!(late.at(6), f64::INFINITY, "no episode lasted that long");
    assert_eq!(FunctionalBand::calibrate(&[], &[], 0, 0.1).at(0), f64::INFINITY);
    let poisoned: Vec<&[f64]> = vec![&[f64::NAN, 0.2]; 20];
    let band = FunctionalBand::calibrate(&poisoned, &poisoned, 0, 0.1);
    assert!(band.upper.iter().all(|upper| *upper == f64::INFINITY));
}

#[test]
fn episodes_that_ended_and_scores_that_never_differ_leave_a_band() {
    let shaping: [&[f64]; 2] = [&[0.2, 0.2], &[0.2]];
    let calibration: Vec<&[f64]> = vec![&[0.2, 0.2, 0.2]; 9];
    let band = FunctionalBand::calibrate(&shaping, &calibration, 0, 0.1);
    assert_eq!(band.upper, [0.2; 3]);
}

#[test]
fn a_band_reads_back_from_json() {
    let band = FunctionalBand { upper: vec![f64::INFINITY, 0.25, 1.5] };
    let text = serde_json::to_string(&band).unwrap();
    assert_eq!(text, r#"{"upper":["inf",0.25,1.5]}"#);
    assert_eq!(serde_json::from_str::<FunctionalBand>(&text).unwrap(), band);
    assert!(serde_json::from_str::<FunctionalBand>(r#"{"upper":["high"]}"#).is_err());
}

/// Returns score-like random walks between 0 and 1 that drift upwards, end at different times and occasionally hold a NaN.
struct Walks(u64);

impl Walks {
    fn uniform(&mut self) -> f64 {
        // Numerical Recipes' 64-bit linear congruential generator, independent of the crate's own generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn episode(&mut self) -> Vec<f64> {
        let length = 6 + (self.uniform() * 17.0) as usize;
        let mut logit = 2.0 * self.uniform() - 3.0;
        (0..length)
            .map(|_| {
                logit += self.uniform() - 0.45;
                if self.uniform() < 0.0005 { f64::NAN } else { 1.0 / (1.0 + f64::exp(-logit)) }
            })
            .collect()
    }
}

fn leaves(band: &FunctionalBand, scores: &[f64], from: usize) -> bool {
    scores.iter().enumerate().skip(from).any(|(boundary, score)| score.is_nan() || *score > band.at(boundary))
}

#[test]
fn new_episodes_leave_the_band_at_its_level() {
    // Each repetition calibrates on n new episodes and tests one further episode. Repetitions are therefore
    // independent, and the number of alarms is binomial with probability (n + 1 − ceil((n + 1)(1 − α))) / (n + 1) where
    // scores do not tie.
    let (alpha, from, repetitions, calibrating) = (0.1, 4, 4000, 39);
    let mut walks = Walks(20_260_606);
    let mut alarms = 0;
    for _ in 0..repetitions {
        let episodes: Vec<Vec<f64>> = (0..2 * calibrating).map(|_| walks.episode()).collect();
        let views: Vec<&[f64]> = episodes.iter().map(Vec::as_slice).collect();
        let band = FunctionalBand::alternate(&views, from, alpha);
        alarms += usize::from(leaves(&band, &walks.episode(), from));
    }
    // The central 99.9 % of a binomial of 4000 at 0.1, by its normal approximation: 400 ± 3.29 · sqrt(360).
    let (expected, spread) = (alpha * f64::from(repetitions), (alpha * 0.9 * f64::from(repetitions)).sqrt());
    let found = alarms as f64;
    assert!((found - expected).abs() < 3.29 * spread, "{alarms} of {repetitions} left the band");
}

#[test]
fn a_band_alarms_sooner_than_one_threshold_where_scores_drift() {
    // Won episodes score high late. An episode that scores high early is unusual, and only the band detects it.
    let mut walks = Walks(7);
    let won: Vec<Vec<f64>> = (0..200)
        .map(|_| (0..20).map(|boundary| 0.04 * f64::from(boundary) + 0.1 * walks.uniform()).collect())
        .collect();
    let views: Vec<&[f64]> = won.iter().map(Vec::as_slice).collect();
    let band = FunctionalBand::alternate(&views, 0, 0.1);
    let highest: Vec<f64> = won.iter().map(|scores| scores.iter().copied().fold(0.0, f64::max)).collect();
    let odd = 0.5;
    assert!(odd < split_conformal_threshold(&highest, 0.1));
    assert!(odd > band.at(2));
}
