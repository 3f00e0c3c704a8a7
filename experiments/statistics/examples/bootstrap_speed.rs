//! Times the bootstrap on 700 episodes, beside `tests/bootstrap_speed.py`, which runs this and SciPy in turn.
//! Prints JSON: best of seven runs in milliseconds, estimate and interval, for each statistic and method.
#![allow(clippy::expect_used)] // An example has no caller for its errors.

use std::time::Instant;

use aegis_statistics::{
    Bootstrap, Clusters, Estimate, Method, Ratio, StatisticsError, auroc_interval, bootstrap_mean,
};

const EPISODES: usize = 700;
const REPLICATES: u64 = 9_999;
const RUNS: usize = 7;

fn main() {
    // The same rows as in the script: a sequence that needs no library on either side.
    let mut state = 12_345_u64;
    let mut uniform = || {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        state as f64 / f64::from(1_u32 << 31)
    };
    let effects: Vec<f64> = (0..EPISODES)
        .map(|_| match uniform() {
            draw if draw < 0.12 => 1.0,
            draw if draw < 0.15 => -1.0,
            _ => 0.0,
        })
        .collect();
    let labels: Vec<bool> = (0..EPISODES).map(|_| uniform() < 0.6).collect();
    let scores: Vec<f64> = labels.iter().map(|label| uniform() + if *label { 0.3 } else { 0.0 }).collect();
    let steps: Vec<f64> = (0..EPISODES).map(|_| 100.0 + (200.0 * uniform()).floor()).collect();
    let duty: Vec<(f64, f64)> = steps.iter().map(|steps| ((steps * uniform()).floor(), *steps)).collect();
    let recovered: Vec<(f64, f64)> = (0..EPISODES)
        .map(|_| {
            let lost = f64::from(u8::from(uniform() < 0.5));
            (lost * f64::from(u8::from(uniform() < 0.3)), lost)
        })
        .collect();

    let clusters = Clusters::new(&(0..EPISODES).collect::<Vec<_>>()).expect("700 clusters");
    let mut rows = Vec::new();
    for method in [Method::Percentile, Method::Bca] {
        let bootstrap = Bootstrap { replicates: REPLICATES, seed: 1, confidence: 0.95, method };
        rows.push(time("net effect", method, || bootstrap_mean(&effects, &clusters, &bootstrap)));
        let ratio =
            |rows: &[(f64, f64)]| Ratio::new(&clusters, rows.iter().copied()).interval(&clusters, &bootstrap);
        rows.push(time("recovered rate", method, || ratio(&recovered)));
        rows.push(time("mean score", method, || bootstrap_mean(&scores, &clusters, &bootstrap)));
        rows.push(time("duty", method, || ratio(&duty)));
        rows.push(time("AUROC", method, || auroc_interval(&labels, &scores, &clusters, &bootstrap)));
    }
    println!("{}", serde_json::Value::from(rows));
}

fn time(
    statistic: &str,
    method: Method,
    run: impl Fn() -> Result<Estimate, StatisticsError>,
) -> serde_json::Value {
    let mut best = f64::INFINITY;
    let mut estimate = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        let found = run().expect("the data determine the statistic");
        best = best.min(start.elapsed().as_secs_f64());
        estimate = Some(found);
    }
    serde_json::json!({
        "statistic": statistic, "method": method, "milliseconds": best * 1e3, "found": estimate,
    })
}
