//! Laws of the exact tests: coverage, the e-process under its hypothesis, power by enumeration, calibration.
//! Refusals say what was found.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_statistics::{
    Discordance, McNemarProcess, brier, clopper_pearson, holm, holm_rejects, mcnemar, mcnemar_e_value,
    mcnemar_power, mcnemar_sample_size, reliability,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How many of `paths` e-processes over `pairs` discordant pairs ever reach 1 / α, and how many pairs those took.
fn crossings(share: f64, alpha: f64, paths: u64, pairs: u64) -> (u64, u64) {
    let (mut crossed, mut taken) = (0, 0);
    for path in 0..paths {
        let mut stream = ChaCha8Rng::seed_from_u64(20_260);
        stream.set_stream(path);
        let mut process = McNemarProcess::default();
        for pair in 1..=pairs {
            let treatment = f64::from(stream.next_u32()) < share * 2_f64.powi(32);
            process.observe(treatment, !treatment);
            if process.rejects(alpha).unwrap() {
                crossed += 1;
                taken += pair;
                break;
            }
        }
    }
    (crossed, taken)
}

#[test]
fn looking_after_every_pair_keeps_the_level() {
    let (alpha, paths) = (0.05, 4_000);
    let (at_half, _) = crossings(0.5, alpha, paths, 300);
    let (below_half, _) = crossings(0.4, alpha, paths, 300);
    // α · paths = 200, and three binomial standard errors (41) above it at most.
    assert!((60..=241).contains(&at_half), "{at_half}");
    assert!(below_half < at_half / 4, "{below_half}");
    let (found, taken) = crossings(0.75, alpha, 500, 300);
    assert!(found > 495 && taken / found < 60, "{found} after {taken} pairs");
}

#[test]
fn looking_at_p_values_after_every_pair_does_not() {
    // Testing after every pair with the fixed-sample test exceeds the level; the e-process does not.
    let mut crossed = 0;
    for path in 0..500 {
        let mut stream = ChaCha8Rng::seed_from_u64(20_260);
        stream.set_stream(path);
        let (mut b, mut c) = (0, 0);
        for _ in 0..200 {
            if stream.next_u32() % 2 == 0 {
                b += 1
            } else {
                c += 1
            }
            if mcnemar(b, c).one_sided <= 0.05 {
                crossed += 1;
                break;
            }
        }
    }
    assert!(crossed > 75, "{crossed} of 500 for a nominal 25");
}

#[test]
fn an_e_value_is_a_fair_bet_at_a_half() {
    // One more pair leaves the expectation where it is: the martingale, exactly.
    for (b, c) in [(0, 0), (3, 1), (1, 9), (60, 40), (0, 30)] {
        let next = 0.5 * (mcnemar_e_value(b + 1, c) + mcnemar_e_value(b, c + 1));
        assert!((next / mcnemar_e_value(b, c) - 1.0).abs() < 1e-12, "({b}, {c})");
    }
}

#[test]
fn the_process_keeps_its_maximum() {
    let mut process = McNemarProcess::default();
    assert_eq!((process.e_value(), process.p_value()), (1.0, 1.0));
    for pair in 0..20 {
        process.observe(pair < 10, pair >= 10);
        process.observe(true, true);
    }
    assert_eq!((process.b, process.c), (10, 10));
    assert!((process.maximum() / mcnemar_e_value(10, 0) - 1.0).abs() < 1e-12);
    assert!((process.p_value() * process.maximum() - 1.0).abs() < 1e-12);
    assert!(process.e_value() < 1.0);
    assert!(process.rejects(1.5).is_err());
}

#[test]
fn an_exact_interval_covers() {
    let n = 25;
    let intervals: Vec<_> = (0..=n).map(|k| clopper_pearson(k, n, 0.9).unwrap()).collect();
    for step in 1..40 {
        let p = f64::from(step) / 40.0;
        let mut mass = (1.0 - p).powi(n as i32);
        let mut covered = 0.0;
        for k in 0..=n {
            let interval = intervals[k as usize];
            if (interval.lower..=interval.upper).contains(&p) {
                covered += mass;
            }
            mass *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        assert!(covered >= 0.9, "p = {p}: {covered}");
    }
}

#[test]
fn power_equals_enumeration() {
    let effect = Discordance { treatment_only: 0.35, control_only: 0.1 };
    let n = 14_u64;
    let mut expected = 0.0;
    for b in 0..=n {
        for c in 0..=n - b {
            if mcnemar(b, c).one_sided <= 0.05 {
                // The multinomial coefficient of b, c and the rest.
                let ways = (1..=n).map(|i| i as f64).product::<f64>()
                    / [b, c, n - b - c]
                        .iter()
                        .map(|k| (1..=*k).map(|i| i as f64).product::<f64>())
                        .product::<f64>();
                expected += ways
                    * 0.35_f64.powi(b as i32)
                    * 0.1_f64.powi(c as i32)
                    * 0.55_f64.powi((n - b - c) as i32);
            }
        }
    }
    let found = mcnemar_power(effect, 0.05, n).unwrap();
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} for {expected}");
}

#[test]
fn a_sample_size_is_the_first_and_the_stable_one() {
    // All pairs discordant: the saw-tooth at its sharpest, and short enough to look at every n.
    for (effect, target) in [
        (Discordance::from_share(1.0, 0.7), 0.8),
        (Discordance::from_share(0.2, 0.8), 0.9),
        (Discordance { treatment_only: 0.1, control_only: 0.0 }, 0.5),
    ] {
        let power = |n| mcnemar_power(effect, 0.05, n).unwrap();
        let found = mcnemar_sample_size(effect, 0.05, target, 10_000).unwrap();
        assert_eq!(Some(found.first), (1..=found.stable).find(|n| power(*n) >= target));
        assert_eq!((found.first_power, found.stable_power), (power(found.first), power(found.stable)));
        assert!((found.stable..=found.stable + found.looked_ahead).all(|n| power(n) >= target));
        assert!(found.stable == found.first || power(found.stable - 1) < target);
    }
    let sharp = mcnemar_sample_size(Discordance::from_share(1.0, 0.7), 0.05, 0.8, 10_000).unwrap();
    assert!(sharp.stable > sharp.first, "{sharp:?}");
}

#[test]
fn power_refuses_what_cannot_be() {
    let size = |b, c, power, limit| {
        let effect = Discordance { treatment_only: b, control_only: c };
        mcnemar_sample_size(effect, 0.05, power, limit).unwrap_err().to_string()
    };
    assert_eq!(size(0.1, 0.1, 0.8, 1_000), "treatment_only: found 0.1; valid is above control_only");
    assert_eq!(size(0.06, 0.05, 0.8, 50), "limit: found 50; valid is more episodes than the power needs");
    assert_eq!(size(0.2, 0.1, 1.0, 50), "power: found 1; valid is above 0, below 1");
    assert!(size(0.9, 0.2, 0.8, 50).starts_with("treatment_only: found 0.9; valid is 0 to 1, both together"));
    assert!(size(f64::NAN, 0.2, 0.8, 50).starts_with("treatment_only: found NaN"));
    let effect = Discordance::from_share(0.2, 0.8);
    assert_eq!(mcnemar_power(effect, 0.05, 0).unwrap_err().to_string(), "n: found 0; valid is 1 to 1000000");
}

#[test]
fn reliability_bins_hold_their_rows() {
    let predicted = [0.0, 0.05, 0.5, 0.55, 1.0];
    let labels = [false, true, true, false, true];
    let found = reliability(&labels, &predicted, 10, 0.95).unwrap();
    assert_eq!(found.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
    assert!(found.bins[1].observed.is_none() && found.bins[1].predicted.is_none());
    let first = found.bins[0].observed.unwrap();
    assert_eq!((first.k, first.n, first.exact), (1, 2, clopper_pearson(1, 2, 0.95).unwrap()));
    assert!((brier(&labels, &predicted).unwrap() - (0.9025 + 0.25 + 0.3025) / 5.0).abs() < 1e-15);
    let error = brier(&labels, &[0.1, 0.2, f64::NAN, 0.1, 0.1]).unwrap_err().to_string();
    assert_eq!(error, "predicted[2]: found NaN; valid is 0 to 1, and a number");
    assert_eq!(
        reliability(&labels, &predicted, 0, 0.95).unwrap_err().to_string(),
        "bins: found 0; valid is at least 1"
    );
}

#[test]
fn families_and_counts_are_checked() {
    assert_eq!(holm(&[]).unwrap_err().to_string(), "p: found none; valid is at least one");
    assert_eq!(holm(&[0.1, 1.2]).unwrap_err().to_string(), "p[1]: found 1.2; valid is 0 to 1, and a number");
    assert!(holm_rejects(&[0.1], 0.0).is_err());
    assert_eq!(
        clopper_pearson(3, 2, 0.9).unwrap_err().to_string(),
        "k of n: found 3 of 2; valid is 0 ≤ k ≤ n and n ≥ 1"
    );
    assert!(clopper_pearson(0, 0, 0.9).is_err() && clopper_pearson(1, 2, 1.0).is_err());
    assert!(clopper_pearson(1, 2, f64::NAN).is_err());
}
