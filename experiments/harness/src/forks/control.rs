//! Risk control: the loosest threshold at which a gate provably breaks no more than a stated share of the episodes that the weak policy wins,
//! or spends no more than a stated duty. Learn-then-test with fixed-sequence testing: Angelopoulos, Bates, Candès, Jordan and Lei, *Learn then
//! Test: Calibrating Predictive Algorithms to Achieve Risk Control*, arXiv 2110.01052, 2021, section 3.
//!
//! Thresholds are tested from strict to loose, and the first that is not rejected ends the sequence, so that no correction for their number is
//! needed. The guarantee is over draws of the calibration episodes: with probability `1 − delta` the threshold that is returned has a risk of at
//! most `level`. It holds for losses that do not fall monotonically, as breakage may not: a later hold may break what an earlier one would not.

use aegis_probe::rules::Controlled;
use aegis_statistics::binomial_lower_tail;
use serde::Serialize;

use super::price::{PricedEpisode, spent};

/// Statement of a control: the quantity stays at or below `level` with probability `1 − delta`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Quantity.
    pub of: Controlled,
    /// Level, above 0 and below 1.
    pub level: f64,
    /// Probability of a calibration whose threshold exceeds the level, above 0 and below 1.
    pub delta: f64,
}

/// Thresholds in the sequence, evenly from 1 down to 0. They are fixed before any episode is seen, as the guarantee requires.
const THRESHOLDS: u32 = 500;

/// Returns the loosest threshold that is shown to keep the control; `None` where none is: then the gate must never fire. A gate fires where
/// its reading, a risk or a benefit, lies above the threshold.
pub fn threshold(episodes: &[PricedEpisode], control: &Control, horizon_steps: u32) -> Option<f64> {
    let candidates = (1..=THRESHOLDS).rev().map(|place| f64::from(place) / f64::from(THRESHOLDS));
    let shown = |candidate: &f64| p_value(episodes, *candidate, control, horizon_steps) <= control.delta;
    candidates.take_while(shown).last()
}

/// Returns the p-value of the hypothesis that the risk at this threshold exceeds the level.
fn p_value(episodes: &[PricedEpisode], threshold: f64, control: &Control, horizon_steps: u32) -> f64 {
    match control.of {
        Controlled::Breakage => {
            let won: Vec<&PricedEpisode> = episodes.iter().filter(|episode| episode.success).collect();
            let broken = spent(won.iter().copied(), &[threshold]).broken;
            binomial_lower_tail(broken as u64, won.len() as u64, control.level)
        }
        Controlled::Duty => {
            let count = episodes.len() as f64;
            let duty = spent(episodes, &[threshold]).strong_steps / (count * f64::from(horizon_steps));
            hoeffding(duty, control.level, count)
        }
    }
}

/// Returns Hoeffding's bound on the probability of a mean of at most `mean` over `count` losses within 0 and 1, where its expectation exceeds
/// `level`: `exp(−count · KL(mean, level))`. Source: Hoeffding, *Probability Inequalities for Sums of Bounded Random Variables*, JASA 58, 1963,
/// theorem 1.
fn hoeffding(mean: f64, level: f64, count: f64) -> f64 {
    if mean >= level {
        return 1.0;
    }
    // 0 · ln 0 is 0.
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    (-count * (term(mean, level) + term(1.0 - mean, 1.0 - level))).exp()
}

#[cfg(test)]
mod tests {
    use aegis_core::{EpisodeKey, Start};
    use aegis_probe::forks::Branch;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::price::PricedBoundary;
    use super::*;

    /// Episodes that the weak policy wins, with one boundary each, whose hold breaks them with probability 0.3 · (1 − reading): looser
    /// thresholds break more.
    fn drawn(generator: &mut ChaCha8Rng, count: usize) -> Vec<PricedEpisode> {
        let mut one = |initial_state: usize| {
            let reading: f64 = generator.random_range(0.0..1.0);
            let success = !generator.random_bool(0.3 * (1.0 - reading));
            let hold = Branch { success, steps: 100, strong_steps: 30 };
            PricedEpisode {
                key: EpisodeKey { start: Start { task: 0, initial_state }, replicate: 0 },
                success: true,
                boundaries: vec![PricedBoundary { index: 2, reading, hold }],
            }
        };
        (0..count).map(&mut one).collect()
    }

    /// Exact risk of a threshold under that distribution.
    fn risk(of: Controlled, threshold: f64) -> f64 {
        let fired = 1.0 - threshold.clamp(0.0, 1.0);
        match of {
            // The integral of 0.3 · (1 − r) from the threshold to 1.
            Controlled::Breakage => 0.15 * fired * fired,
            Controlled::Duty => 0.3 * fired,
        }
    }

    #[test]
    fn the_level_is_kept_over_a_thousand_calibrations() {
        let mut generator = ChaCha8Rng::seed_from_u64(23);
        for (of, level) in [(Controlled::Breakage, 0.05), (Controlled::Duty, 0.1)] {
            let control = Control { of, level, delta: 0.1 };
            let (mut exceeded, mut fires) = (0, 0);
            for _ in 0..1000 {
                let found = threshold(&drawn(&mut generator, 400), &control, 100).unwrap();
                exceeded += u32::from(risk(of, found) > level);
                fires += u32::from(found < 0.95);
            }
            // 100 are expected at most; 130 lies more than three standard deviations above.
            assert!(exceeded <= 130, "{of:?}: {exceeded} of 1000 exceed {level}");
            assert!(fires >= 900, "{of:?}: a control that never fires controls nothing: {fires}");
        }
    }

    #[test]
    fn with_too_few_episodes_nothing_is_shown_and_the_gate_never_fires() {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let control = Control { of: Controlled::Breakage, level: 0.05, delta: 0.1 };
        // 0.95 to the 44th is above 0.1, to the 45th below.
        assert_eq!(threshold(&drawn(&mut generator, 44), &control, 100), None);
        assert!(threshold(&drawn(&mut generator, 45), &control, 100).is_some());
        assert_eq!(threshold(&[], &control, 100), None);
    }

    #[test]
    fn hoeffding_is_one_at_the_level_and_falls_with_distance_and_number() {
        assert_eq!(hoeffding(0.1, 0.1, 50.0), 1.0);
        assert!((hoeffding(0.0, 0.1, 50.0) - 0.9_f64.powi(50)).abs() < 1e-12);
        assert!(hoeffding(0.05, 0.1, 100.0) < hoeffding(0.05, 0.1, 50.0));
    }
}
