//! Formats the figures of `aegis probe eval` on forks and on tasks left out as Markdown tables.
//! Computes nothing.

use std::fmt::Write;

use aegis_experiments::report::plain;
use aegis_probe::benefit::{BenefitEvaluation, BenefitReliability, OneHold};
use aegis_probe::hold_out::HoldOut;
use aegis_statistics::Estimate;

/// Returns the tables of an evaluation on forks.
pub fn benefit(found: &BenefitEvaluation) -> String {
    let mut text = String::new();
    let data = &found.data;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "\n{} forks of {} episodes; a hold of {} control steps changes the chance of success by {:+.3} on average; forks {}\n\n\
         | ranking of boundaries by benefit, 95 % over starts | Qini coefficient | benefit head minus this |\n|---|---|---|",
        data.forks,
        data.episodes,
        found.hold_steps,
        found.mean_benefit,
        &data.sha256[..16],
    );
    for ranking in &found.rankings {
        let _ =
            writeln!(text, "| {} | {} | {} |", ranking.name, known(&ranking.qini), optional(&ranking.behind));
    }
    let _ = writeln!(text, "| random | 0 | |");
    for unknown in &found.unknown {
        let _ = writeln!(text, "| {} | not known: {} | |", unknown.baseline, unknown.reason);
    }
    let shares = found.rankings.first().map_or(&[][..], |ranking| &ranking.uplift);
    let heads: String = shares.iter().skip(1).map(|point| format!(" {:.1} |", point.share)).collect();
    let _ = writeln!(
        text,
        "\n| successes gained for 100 boundaries, by the share of them with a hold |{heads}\n|---|{}",
        "---|".repeat(shares.len().saturating_sub(1))
    );
    for ranking in &found.rankings {
        let gains = ranking.uplift.iter().skip(1);
        let gains: String = gains.map(|point| format!(" {:+.1} |", 100.0 * point.gain)).collect();
        let _ = writeln!(text, "| {} |{gains}", ranking.name);
    }
    match &found.one_hold {
        Some(one) => one_hold(&mut text, one),
        None => text.push_str("\nOne hold in an episode: not known, because no lost episode has all of its boundaries forked.\n"),
    }
    if let Some(found) = &found.reliability {
        reliability(&mut text, found);
    }
    text
}

fn one_hold(text: &mut String, found: &OneHold) {
    let _ = writeln!(
        text,
        "\nOne hold in an episode, at its first boundary above a threshold: {} episodes with every boundary forked, {} lost; budget \
         {:.3} of all horizons\n\n\
         | decided by | mean recovered up to the budget | benefit head minus this | recovered at the budget | broken at it |\n\
         |---|---|---|---|---|",
        found.episodes, found.lost, found.budget
    );
    for measure in found.rankings.iter().chain([&found.random]) {
        let end = measure.curve.last();
        let share = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.3}"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            measure.name,
            plain(&measure.area),
            optional(&measure.behind),
            share(end.map(|point| point.recovered)),
            share(end.map(|point| point.broken))
        );
    }
}

fn reliability(text: &mut String, found: &BenefitReliability) {
    let _ =
        writeln!(text, "\n| predicted benefit, tenths | forks | benefit, 95 % over starts |\n|---|---|---|");
    for tenth in &found.tenths {
        let seen = tenth.interval.as_ref().map_or_else(|| format!("{:+.3}", tenth.observed), plain);
        let _ = writeln!(text, "| {:+.3} | {} | {seen} |", tenth.predicted, tenth.forks);
    }
    let _ = writeln!(
        text,
        "\nExpected calibration error of the benefit {:.3}.",
        found.expected_calibration_error
    );
}

/// Returns the tables of an evaluation on tasks left out.
pub fn hold_out(found: &HoldOut) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n| tasks left out of the fit | episodes | lost | early-window AUROC within task |\n|---|---|---|---|"
    );
    for group in &found.groups {
        let tasks: Vec<String> = group.tasks.iter().map(usize::to_string).collect();
        let auroc = group.auroc.map_or("–".into(), |auroc| format!("{auroc:.3}"));
        let _ = writeln!(text, "| {} | {} | {} | {auroc} |", tasks.join(", "), group.episodes, group.lost);
    }
    let _ = writeln!(
        text,
        "\n| 95 % over starts | task not seen by the fit | seen |\n|---|---|---|\n\
         | risk head, early-window AUROC within task | {} | {} |",
        known(&found.unseen),
        known(&found.seen)
    );
    if let Some(benefit) = &found.benefit {
        let _ = writeln!(
            text,
            "| benefit head without calibration, Qini coefficient | {} | {} |",
            known(&benefit.unseen),
            known(&benefit.seen)
        );
    }
    text
}

fn optional(estimate: &Option<Estimate>) -> String {
    estimate.as_ref().map_or(String::new(), plain)
}

fn known(estimate: &Option<Estimate>) -> String {
    estimate.as_ref().map_or("–".into(), plain)
}
