//! Text tables for a terminal: arms compared with the weak arm, and inference times.
//! The callers compute every number, except the percentiles of the inference times.

use std::fmt::Write;
use std::time::Duration;

use aegis_experiments::episode::context::EpisodeTiming;
use aegis_experiments::report::Disturbances;
use aegis_experiments::report::summary::ArmSummary;

/// Formats one row per arm.
pub fn arms(summary: &[ArmSummary]) -> String {
    let mut text = String::from(
        "arm     success             95 % interval    recovered  broken    duty  fires  p (exact, one-sided)\n",
    );
    for row in summary {
        let rate = row.successes as f64 / row.episodes as f64;
        let against_weak = row.arm != *aegis_experiments::episode::arm::WEAK;
        let ratio = |k: u64, n: u64| if against_weak { format!("{k}/{n}") } else { "–".into() };
        let _ = writeln!(
            text,
            "{:<7} {:>3} of {:<3} ({:>5.1} %)  [{:>5.1}, {:>5.1}]  {:>9}  {:>6}  {:>4.1} %  {:>5}  {}",
            row.arm.as_str(),
            row.successes,
            row.episodes,
            100.0 * rate,
            100.0 * row.success_interval.lower,
            100.0 * row.success_interval.upper,
            ratio(row.recovered, row.weak_lost),
            ratio(row.broken, row.weak_won),
            100.0 * row.duty,
            row.fires,
            if against_weak { format!("{:.3e}", row.p_value) } else { "–".into() },
        );
    }
    text.push_str("recovered: won of those that weak lost; broken: lost of those that weak won.");
    text
}

/// Formats one line per kind of disturbance: its episodes, and how many of them each arm won.
pub fn disturbances(found: &Disturbances) -> String {
    let mut text = String::from("disturbance   episodes  won");
    for of in &found.kinds {
        let won: Vec<String> = of.won.iter().map(|one| format!("{} {}", one.arm, one.won)).collect();
        let _ = write!(text, "\n{:<13} {:>8}  {}", of.kind, of.episodes, won.join(", "));
    }
    text
}

/// Formats the median and the 99th percentile of each policy's inference times over all episodes, microseconds.
pub fn latencies(timings: &[EpisodeTiming]) -> String {
    let mut text = String::from("inference    p50        p99      n");
    for (name, of) in
        [("weak", (|t| &t.weak) as fn(&EpisodeTiming) -> &Vec<Duration>), ("strong", |t| &t.strong)]
    {
        let mut times: Vec<Duration> = timings.iter().flat_map(|timing| of(timing).iter().copied()).collect();
        times.sort_unstable();
        let micros = |share: f64| {
            let index = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
            times.get(index).map_or_else(|| "–".into(), |time| format!("{:.1} µs", time.as_secs_f64() * 1e6))
        };
        let _ = write!(text, "\n{name:<8} {:>10} {:>10} {:>6}", micros(0.50), micros(0.99), times.len());
    }
    text
}
