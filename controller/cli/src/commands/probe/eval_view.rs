//! Formats the evaluation of `aegis probe eval` as Markdown tables.
//! Computes nothing.

use std::fmt::Write;

use aegis_experiments::report::plain;
use aegis_probe::evaluation::{Evaluation, Measure};
use aegis_statistics::Proportion;

use super::benefit_view;

/// Row with the figures of the published probe, for comparison (arXiv 2606.06660).
const PUBLISHED: &str = "| published, another policy and benchmark run | 0.764 [0.70, 0.84] | |";

/// Returns every table of an evaluation of the range called `range`.
pub fn markdown(found: &Evaluation, range: &str) -> String {
    let mut text = String::new();
    let data = &found.data;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} {range} episodes, weak lost {}; head {}; rollouts {}\n\n\
         | early-window AUROC, 95 % over starts | overall | within task |\n|---|---|---|\n{}\n{PUBLISHED}",
        data.episodes,
        data.lost,
        found.head,
        &data.sha256[..16],
        row(&found.probe),
    );
    for baseline in &found.baselines {
        let _ = writeln!(text, "{}", row(baseline));
    }
    for unknown in &found.unknown_baselines {
        let _ = writeln!(text, "| {} | not known: {} | |", unknown.baseline, unknown.reason);
    }
    let _ = writeln!(text, "\n| task | episodes | lost | AUROC |\n|---|---|---|---|");
    for task in &found.tasks {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            task.task,
            task.episodes,
            task.lost,
            optional(task.auroc, 3)
        );
    }
    let _ = writeln!(text, "\n| control step | running | lost of them | AUROC |\n|---|---|---|---|");
    for moment in &found.over_time {
        let auroc = optional(moment.auroc, 3);
        let _ = writeln!(text, "| {} | {} | {} | {auroc} |", moment.step, moment.running, moment.lost);
    }
    let _ = writeln!(
        text,
        "\n| false alarms asked | threshold | false alarms | caught | median lead, control steps |\n|---|---|---|---|---|"
    );
    for lead in &found.lead_time {
        let _ = writeln!(
            text,
            "| {:.2} | {:.3} | {:.3} | {:.3} | {} |",
            lead.asked_false_alarms,
            lead.threshold,
            lead.false_alarms,
            lead.caught,
            optional(lead.median_lead_steps, 0)
        );
    }
    let _ = writeln!(text, "\n| predicted | episodes | mean predicted | lost |\n|---|---|---|---|");
    for bin in &found.reliability.bins {
        let lost = bin.observed.as_ref().map_or("–".into(), share);
        let _ = writeln!(
            text,
            "| {:.1} to {:.1} | {} | {} | {lost} |",
            bin.lower,
            bin.upper,
            bin.count,
            optional(bin.predicted, 3)
        );
    }
    let _ = writeln!(
        text,
        "\nBrier score {:.3}, expected calibration error {:.3}.\n\n\
         | rule | false alarms on won episodes | caught of lost | median step of the first fire |\n|---|---|---|---|",
        found.reliability.brier, found.reliability.expected_calibration_error
    );
    for rule in &found.rules {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            rule.rule,
            share(&rule.false_alarms),
            share(&rule.caught),
            optional(rule.median_step, 0)
        );
    }
    for rule in &found.unusable {
        let _ = writeln!(text, "| {} | not usable: {} | | |", rule.rule, rule.reason);
    }
    let _ = writeln!(text, "\n| coverage of fresh won episodes | asked | found | holds |\n|---|---|---|---|");
    for coverage in &found.coverage {
        let holds = if coverage.holds { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| {} | {:.2} | {} | {holds} |",
            coverage.rule,
            1.0 - coverage.alpha,
            share(&coverage.covered)
        );
    }
    text.extend(found.benefit.as_ref().map(benefit_view::benefit));
    text.extend(found.hold_out.as_ref().map(benefit_view::hold_out));
    text
}

fn row(measure: &Measure) -> String {
    let within = measure.within_task.as_ref().map_or("–".into(), plain);
    format!("| {} | {} | {within} |", measure.name, plain(&measure.overall))
}

fn share(proportion: &Proportion) -> String {
    let Proportion { k, n, estimate, exact } = proportion;
    format!("{k} of {n}, {estimate:.3} [{:.3}, {:.3}]", exact.lower, exact.upper)
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}
