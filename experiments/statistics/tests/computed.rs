//! The statistics against mpmath and SciPy (`computed.json`, made by `reference.py`, which names their versions).
//! Exact quantities to 1e-12; bootstraps exactly on SciPy's own resamples, and on ours within Monte-Carlo error.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{self, close_to, count, labels, number, numbers};
use aegis_statistics::{
    Bootstrap, Clusters, Discordance, Method, Ratio, auroc, auroc_within, clopper_pearson, mcnemar,
    mcnemar_ln_e_value, mcnemar_ln_one_sided, mcnemar_power,
};
use serde_json::Value;

fn rows(key: &str) -> Vec<Value> {
    common::rows(include_str!("computed.json"), key)
}

#[test]
fn mcnemar_up_to_a_million_pairs() {
    for row in rows("mcnemar") {
        let (b, c) = (count(&row, "b"), count(&row, "c"));
        let test = mcnemar(b, c);
        close_to(test.one_sided, &row["one_sided"], 1e-12);
        close_to(test.two_sided, &row["two_sided"], 1e-12);
        close_to(test.mid_p_one_sided, &row["mid_p_one_sided"], 1e-12);
        close_to(mcnemar_ln_one_sided(b, c), &row["ln_one_sided"], 1e-12);
    }
}

#[test]
fn clopper_pearson_up_to_a_million_trials() {
    for row in rows("clopper_pearson") {
        let found = clopper_pearson(count(&row, "k"), count(&row, "n"), number(&row, "confidence")).unwrap();
        close_to(found.lower, &row["lower"], 1e-12);
        close_to(found.upper, &row["upper"], 1e-12);
    }
}

#[test]
fn e_values_in_logarithms() {
    for row in rows("e_value") {
        let found = mcnemar_ln_e_value(count(&row, "b"), count(&row, "c"));
        assert!((found - number(&row, "ln_e")).abs() < 1e-12 * number(&row, "ln_e").abs().max(1.0), "{row}");
    }
}

#[test]
fn power_is_the_mean_over_discordant_pairs() {
    for row in rows("power") {
        let effect = Discordance {
            treatment_only: number(&row, "treatment_only"),
            control_only: number(&row, "control_only"),
        };
        let found = mcnemar_power(effect, number(&row, "alpha"), count(&row, "n")).unwrap();
        close_to(found, &row["power"], 1e-12);
    }
}

#[test]
fn auroc_with_ties_and_within_groups() {
    for row in rows("auroc") {
        let (labels, scores) = (labels(&row), numbers(&row["scores"]));
        let groups: Vec<u64> = numbers(&row["groups"]).iter().map(|group| *group as u64).collect();
        close_to(auroc(&labels, &scores).unwrap(), &row["auroc"], 1e-12);
        close_to(auroc_within(&labels, &scores, &groups).unwrap(), &row["within"], 1e-12);
    }
}

/// A fixture's clusters, and its statistic as ratios: one, or the difference of two means.
fn resampled(row: &Value) -> (Clusters, impl Fn(&[u32]) -> Option<f64>) {
    let data: Vec<Vec<f64>> = row["data"].as_array().unwrap().iter().map(numbers).collect();
    let paired = row["kind"] == "ratio";
    let lengths = if paired { vec![data[0].len()] } else { data.iter().map(Vec::len).collect() };
    let groups: Vec<usize> =
        lengths.iter().enumerate().flat_map(|(group, length)| vec![group; *length]).collect();
    let keys: Vec<usize> = (0..groups.len()).collect();
    let clusters = Clusters::within(&keys, &groups).unwrap();
    let ratios = if paired {
        let rows = data[0].iter().copied().zip(data[1].iter().copied());
        vec![Ratio::new(&clusters, rows)]
    } else {
        let all = data.concat();
        let mean = |which: usize| {
            let rows = all.iter().zip(&groups).map(move |(value, group)| {
                let counted = f64::from(u8::from(*group == which));
                (counted * value, counted)
            });
            Ratio::new(&clusters, rows)
        };
        vec![mean(0), mean(1)]
    };
    let statistic = move |weights: &[u32]| {
        let values = ratios.iter().map(|ratio| ratio.value(weights)).collect::<Option<Vec<f64>>>()?;
        Some(values[0] - values.get(1).copied().unwrap_or(0.0))
    };
    (clusters, statistic)
}

fn settings(row: &Value, replicates: u64) -> Bootstrap {
    let method = if row["method"] == "bca" { Method::Bca } else { Method::Percentile };
    Bootstrap { replicates, seed: 11, confidence: 0.95, method }
}

#[test]
fn intervals_from_scipys_own_resamples() {
    for row in rows("bootstrap_exact") {
        let (clusters, statistic) = resampled(&row);
        let distribution: Vec<Option<f64>> = numbers(&row["distribution"]).into_iter().map(Some).collect();
        let found = settings(&row, 499).summarise(&clusters, &distribution, statistic).unwrap();
        close_to(found.estimate, &row["estimate"], 1e-12);
        close_to(found.standard_error, &row["standard_error"], 1e-12);
        // The error function that places BCa's ends is good to 1e-11.
        close_to(found.lower, &row["lower"], 1e-9);
        close_to(found.upper, &row["upper"], 1e-9);
    }
}

#[test]
fn intervals_from_own_resamples_within_monte_carlo_error() {
    for row in rows("bootstrap_sampled") {
        let (clusters, statistic) = resampled(&row);
        let found = settings(&row, 20_000).interval(&clusters, statistic).unwrap();
        let error = number(&row, "standard_error");
        // A quantile at 0.025 has standard error √(0.025 · 0.975 / B) / density, at a normal's 0.0585 / σ of density:
        // 0.019 σ for our 20 000 resamples and 0.008 σ for SciPy's 99 999. Five of both, at a skewed end, are 0.1 σ.
        let allowed = 0.1 * error;
        for (end, key) in [(found.lower, "lower"), (found.upper, "upper")] {
            assert!((end - number(&row, key)).abs() < allowed, "{key} {end}, SciPy {} ± {allowed}", row[key]);
        }
        assert!((found.standard_error / error - 1.0).abs() < 0.03, "{} for {error}", found.standard_error);
    }
}
