//! Formats the analysis of forks as Markdown. Computes nothing but rounding and the rows of a curve.

use std::fmt::Write;

use super::ForkReport;
use super::benefit::Benefit;
use super::oracle::OracleReport;
use super::timing::Timing;

/// Rows of the table of a curve.
const CURVE_ROWS: u64 = 10;

/// Returns the analysis as Markdown.
pub fn markdown(report: &ForkReport) -> String {
    let mut text = String::new();
    let effort = &report.effort;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} weak episodes of {}, {} lost. Forks at {} boundaries: {} branches run, {} known without a run; {} control steps instead of \
         {} from the start.",
        report.episodes,
        report.range,
        report.lost,
        effort.forks,
        effort.branches_run,
        effort.branches_shared,
        effort.control_steps,
        effort.control_steps_from_start
    );
    if let Some(most) = report.boundaries_per_episode {
        let _ = writeln!(
            text,
            "\nAt most {most} boundaries of an episode were drawn. Shares and benefits count each row by the inverse of its probability; \
             the oracle chooses among drawn boundaries alone, so with all of them it would recover as much or more."
        );
    }
    let _ = writeln!(
        text,
        "\n## By boundary\n\nOf the lost episodes, the shares that one hold wins, and that strong wins by driving to the end (the \
         recoverability curve). Of the won ones, the shares that are lost by it. Benefit: success with a hold minus success without.\n\n\
         | control step | lost | hold recovers | take-over recovers | won | hold breaks | take-over breaks | benefit | per 100 strong \
         steps |\n|---|---|---|---|---|---|---|---|---|"
    );
    for at in &report.boundaries {
        let _ = writeln!(text, "| {} | {}", at.step, figures(&at.benefit));
    }
    let _ = writeln!(
        text,
        "\n## By task\n\nOver all boundaries of the task.\n\n| task | lost episodes | rows lost | hold recovers | take-over recovers | rows \
         won | hold breaks | take-over breaks | benefit | per 100 strong steps |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for of in &report.tasks {
        let _ = writeln!(
            text,
            "| {} | {} of {} | {}",
            of.task,
            of.lost_episodes,
            of.episodes,
            figures(&of.benefit)
        );
    }
    timing(&mut text, &report.timing, report.gate.horizon_steps);
    oracle(&mut text, &report.oracle, report.lost);
    text
}

/// Returns the cells of a row from the number of lost rows on.
fn figures(benefit: &Benefit) -> String {
    let Benefit { lost, won, hold, hold_per_strong_step, .. } = benefit;
    let share = |share: Option<f64>| share.map_or("–".into(), percent);
    let broken = |kept: Option<f64>| share(kept.map(|kept| 1.0 - kept));
    format!(
        "{} | {} | {} | {} | {} | {} | {hold:+.3} | {:+.3} |",
        lost.rows,
        share(lost.hold_wins),
        share(lost.take_over_wins),
        won.rows,
        broken(won.hold_wins),
        broken(won.take_over_wins),
        100.0 * hold_per_strong_step
    )
}

fn timing(text: &mut String, timing: &Timing, horizon: u32) {
    let _ = writeln!(
        text,
        "\n## When failures begin\n\nOf {} lost episodes with a fork at every boundary{}: {} have an onset (the first boundary at which a \
         hold wins), {} have none; {} have a point of no return (the last boundary from which strong wins), {} are won from none.",
        timing.episodes,
        match timing.left_out {
            0 => String::new(),
            left => format!(" ({left} others are left out)"),
        },
        timing.episodes - timing.without_onset,
        timing.without_onset,
        timing.episodes - timing.never_recoverable,
        timing.never_recoverable
    );
    let _ = writeln!(text, "\n| tenth of the horizon | control steps | onsets |\n|---|---|---|");
    let parts = timing.onset_deciles.len() as u32;
    for (part, onsets) in (0..).zip(&timing.onset_deciles) {
        let begin = |part: u32| (u64::from(part) * u64::from(horizon)).div_ceil(u64::from(parts));
        let _ = writeln!(
            text,
            "| {} | {} to {} | {onsets} |",
            part + 1,
            begin(part),
            begin(part + 1).saturating_sub(1)
        );
    }
    if let Some(largest) = timing.largest_decile {
        let _ = writeln!(text, "\nThe fullest tenth holds {} of the onsets.", percent(largest));
    }
    let _ = writeln!(text, "\n| control step | onsets | points of no return |\n|---|---|---|");
    let (onsets, returns) = (&timing.onsets, &timing.points_of_no_return);
    let mut steps: Vec<u32> = onsets.iter().chain(returns).map(|one| one.step).collect();
    steps.sort_unstable();
    steps.dedup();
    for step in steps {
        let at = |counts: &[super::timing::EpisodesAt]| {
            counts.iter().find(|one| one.step == step).map_or(0, |one| one.episodes)
        };
        let _ = writeln!(text, "| {step} | {} | {} |", at(onsets), at(returns));
    }
}

fn oracle(text: &mut String, found: &OracleReport, lost: u64) {
    let OracleReport { duty, strong_steps, most_in_episode, oracle, holds, random, .. } = found;
    let _ = writeln!(
        text,
        "\n## With hindsight\n\nRecovered of {lost} within a budget of {strong_steps} strong steps, {} of all horizons. The oracle chooses \
         at most one fork in each episode, none with more than {most_in_episode} strong steps (the duty cap), exactly. Random: one hold at \
         a boundary drawn uniformly, in a share of the episodes that spends the budget; its expectation.\n\n\
         | duty | strong steps | oracle | oracle, holds alone | random recovers | random breaks |\n|---|---|---|---|---|---|",
        percent(*duty)
    );
    for row in 1..=CURVE_ROWS {
        let steps = strong_steps * row / CURVE_ROWS;
        let share = random.share(steps);
        let _ = writeln!(
            text,
            "| {} | {steps} | {} | {} | {:.1} | {:.1} |",
            percent(duty * row as f64 / CURVE_ROWS as f64),
            oracle.recovered(steps),
            holds.recovered(steps),
            share * random.recovered,
            share * random.broken
        );
    }
    let area = |area: Option<f64>| area.map_or("–".into(), |area| format!("{area:.3}"));
    let _ = writeln!(
        text,
        "\nArea under the curve (mean share recovered over all budgets up to this one): oracle {}, holds alone {}, random {}.",
        area(oracle.area),
        area(holds.area),
        area(random.area)
    );
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::super::benefit::{by_boundary, by_task};
    use super::super::oracle::oracle;
    use super::super::tests::episode;
    use super::super::timing::timing;
    use super::super::{Effort, ForkReport};
    use super::*;
    use aegis_core::GateLimits;
    use aegis_core::gate::BudgetUnit;

    #[test]
    fn every_figure_has_its_place() {
        let gate = GateLimits {
            return_chunks: 2,
            guard_fraction: 0.2,
            budget_fraction: 0.2,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 1.0,
            hold_chunks: 2,
            whole_holds: false,
            horizon_steps: 100,
            chunk_steps: 10,
        };
        let episodes = [
            episode(0, false, &[(20, true, true), (90, false, true)]),
            episode(1, true, &[(20, false, true)]),
            episode(3, true, &[]),
        ];
        let report = ForkReport {
            range: "discovery".into(),
            plan_sha256: "ab".into(),
            master_seed: 1,
            boundaries_per_episode: Some(2),
            episodes: 3,
            lost: 1,
            effort: Effort::default(),
            boundaries: by_boundary(&episodes),
            tasks: by_task(&episodes),
            timing: timing(&episodes, 100),
            oracle: oracle(&episodes, &gate, Some(0.1)),
            gate,
        };
        let text = markdown(&report);
        for line in [
            "3 weak episodes of discovery, 1 lost.",
            "At most 2 boundaries of an episode were drawn.",
            "| 20 | 1 | 100.0 % | 100.0 % | 1 | 100.0 % | 0.0 % | +0.000 | +0.000 |",
            "| 90 | 1 | 0.0 % | 100.0 % | 0 | – | – | +0.000 | +0.000 |",
            "| 1 | 0 of 2 | 0 | – | – | 1 | 100.0 % | 0.0 % | -1.000 | -5.000 |",
            "1 have an onset",
            "| 3 | 20 to 29 | 1 |",
            "The fullest tenth holds 100.0 % of the onsets.",
            "| 90 | 0 | 1 |",
            "within a budget of 30 strong steps, 10.0 % of all horizons",
            "| 10.0 % | 30 | 1 | 1 | 0.4 | 0.9 |",
            "oracle 0.667, holds alone 0.333, random",
        ] {
            assert!(text.contains(line), "{line:?} is missing from {text}");
        }
    }
}
