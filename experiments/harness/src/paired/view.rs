//! Formats the analysis of paired episodes as Markdown. Computes nothing.

use std::fmt::Write;

use aegis_statistics::Proportion;

use super::analysis::{ArmContrast, PairedReport};
use crate::markdown::{cell, probability};

/// Returns the analysis as Markdown.
pub fn markdown(report: &PairedReport) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} paired episodes in {} clusters, arms against {}.\n\n\
         **The pairing was claimed and not audited.** Equal task and start count as the same initial state and the same noise because \
         the file says so; without that the tests below are not valid. No hypothesis was registered either: read the p-values as \
         exploration.",
        report.pairs, report.clusters, report.control
    );
    if report.left_out > 0 {
        let _ = writeln!(text, "\n{} starts were left out, since not every arm has them.", report.left_out);
    }
    for note in &report.notes {
        let _ = writeln!(text, "\n{note}");
    }
    let _ = writeln!(text, "\n| arm | success | 95 % interval (exact) |\n|---|---|---|");
    for arm in &report.arms {
        let Proportion { k, n, estimate, exact } = arm.success;
        let _ = writeln!(
            text,
            "| {} | {k} of {n} ({}) | [{}, {}] |",
            cell(&arm.arm),
            percent(estimate),
            percent(exact.lower),
            percent(exact.upper)
        );
    }
    let _ = writeln!(
        text,
        "\n| arm against {} | only it wins | only {} wins | difference, points | 95 % over clusters | p, two-sided (exact McNemar) | Holm | \
         p, one-sided | mid-p, one-sided |\n|---|---|---|---|---|---|---|---|---|",
        cell(&report.control),
        cell(&report.control)
    );
    for one in &report.contrasts {
        let _ = writeln!(text, "{}", row(one));
    }
    for one in &report.contrasts {
        let _ = writeln!(
            text,
            "\n| task | {} | {} | only {} wins | only {} wins | p, two-sided, unadjusted |\n|---|---|---|---|---|---|",
            cell(&report.control),
            cell(&one.arm),
            cell(&one.arm),
            cell(&report.control)
        );
        for task in &one.tasks {
            let figures = &task.figures;
            let count = |share: &Option<Proportion>| share.map_or(0, |share| share.k);
            let _ = writeln!(
                text,
                "| {} | {} of {} | {} of {} | {} | {} | {} |",
                cell(&task.name),
                figures.weak.k,
                figures.weak.n,
                figures.arm.k,
                figures.arm.n,
                count(&figures.recovered),
                count(&figures.broken),
                probability(figures.mcnemar.two_sided)
            );
        }
    }
    text
}

fn row(one: &ArmContrast) -> String {
    let contrast = &one.contrast;
    let points = |value: f64| format!("{:+.1}", 100.0 * value);
    let (estimate, interval) = match &contrast.difference {
        Some(found) => {
            (points(found.estimate), format!("[{}, {}]", points(found.lower), points(found.upper)))
        }
        None => (points(one.effects.net_effect), "–".to_owned()),
    };
    let numbers =
        [contrast.mcnemar.two_sided, one.holm_two_sided, contrast.mcnemar.one_sided, one.mid_p_one_sided];
    format!(
        "| {} | {} | {} | {estimate} | {interval} | {} |",
        cell(&one.arm),
        contrast.b,
        contrast.c,
        numbers.map(probability).join(" | ")
    )
}

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::analysis::analyse;
    use crate::paired::pairs::{Set, Sets};

    #[test]
    fn the_report_warns_and_keeps_its_tables_whole() {
        let set = |index: usize| Set { task: 0, cluster: index, outcomes: vec![index < 6, true] };
        let sets = Sets {
            arms: vec!["a|b".into(), "mine".into()],
            tasks: vec!["put it\nthere".into()],
            sets: (0..20).map(set).collect(),
            left_out: 2,
        };
        let text = markdown(&analyse(&sets, vec!["a note".into()], 1).unwrap());
        for words in [
            "20 paired episodes in 20 clusters",
            "claimed and not audited",
            "2 starts were left out",
            "\na note\n",
            "| a\\|b | 6 of 20 (30.0 %) |",
            "| mine | 14 | 0 | +70.0 | [",
            "| 1.2e-4 | 1.2e-4 |",
            "| put it there | 6 of 20 | 20 of 20 | 14 | 0 | 1.2e-4 |",
        ] {
            assert!(text.contains(words), "{words:?} is missing from {text}");
        }
    }
}
