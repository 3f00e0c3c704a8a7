//! Formats the figures of a field trial as Markdown. Computes nothing.

use std::fmt::Write;

use aegis_statistics::{Contrast, Proportion};

use super::analysis::{ContrastRow, Doubt, FieldReport};
use super::plan::OutcomeSource;
use crate::episode::arm::ArmName;
use crate::markdown::{cell, probability};

/// Beginning of a report's title, before the plant's name.
pub const TITLE: &str = "# A trial on the robot";

/// Returns the report as Markdown.
pub fn markdown(report: &FieldReport) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{TITLE} {}\n", cell(&report.plant));
    let _ = writeln!(text, "{}", answer(report));
    if report.open > 0 {
        let _ = writeln!(
            text,
            "\n**The trial is not over**: {} episodes have no outcome yet. These figures may change, and a person who has seen them is no \
             longer blind.",
            report.open
        );
    }
    contrasts(&mut text, report);
    arms(&mut text, report);
    method(&mut text, report);
    text
}

fn answer(report: &FieldReport) -> String {
    let one = |row: &ContrastRow| {
        let (better, than) = (cell(row.better.as_str()), cell(row.than.as_str()));
        let points = row.contrast.as_ref().and_then(|found| found.difference.as_ref()).map_or(
            String::new(),
            |found| {
                let points = [found.estimate, found.lower, found.upper].map(|value| 100.0 * value);
                format!(" ({:+.1} points [{:+.1}, {:+.1}])", points[0], points[1], points[2])
            },
        );
        let doubts = doubts(report, row);
        match row.holds {
            true => format!("**{better} wins more episodes than {than}**{points}{doubts}."),
            false => {
                format!("That {better} wins more episodes than {than} is **not shown**{points}{doubts}.")
            }
        }
    };
    report.contrasts.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Returns the end of the sentence about a contrast: why it should not be believed alone. Empty where nothing speaks against it.
fn doubts(report: &FieldReport, row: &ContrastRow) -> String {
    let abandoned = |name: &ArmName| {
        let arm = report.arms.iter().find(|arm| arm.arm == *name);
        arm.map_or(0, |arm| arm.abandoned)
    };
    let reason = |doubt: &Doubt| match doubt {
        Doubt::FirstAttempts if row.holds => "over first attempts alone it is not shown".to_owned(),
        Doubt::FirstAttempts => "over first attempts alone it holds".to_owned(),
        Doubt::ProgramEnds => format!(
            "it would not be shown if the episodes during which the program ended ({} attempts of {}, {} of {}) had gone against it",
            abandoned(&row.better),
            cell(row.better.as_str()),
            abandoned(&row.than),
            cell(row.than.as_str())
        ),
    };
    if row.doubts.is_empty() {
        return String::new();
    }
    let reasons: Vec<String> = row.doubts.iter().map(reason).collect();
    format!(", **which should not be believed alone**: {}", reasons.join(", and "))
}

fn contrasts(text: &mut String, report: &FieldReport) {
    let _ = writeln!(
        text,
        "\n## Contrasts\n\nOver the {} of {} blocks in which every arm has an outcome. A contrast holds where the adjusted p is at most \
         {}.\n\n| claim | only the first wins | only the second wins | difference, points | interval over starts | p, one-sided (exact \
         McNemar) | adjusted (Holm) | holds | first attempts alone: only the first, only the second, p |\n\
         |---|---|---|---|---|---|---|---|---|",
        report.complete, report.blocks, report.alpha
    );
    for row in &report.contrasts {
        let claim = format!("{} > {}", cell(row.better.as_str()), cell(row.than.as_str()));
        let counts =
            |found: &Contrast| format!("{}, {}, {}", found.b, found.c, probability(found.mcnemar.one_sided));
        let first = row.first_attempts.as_ref().map_or("–".into(), counts);
        let holds = if row.holds { "yes" } else { "no" };
        let Some(found) = &row.contrast else {
            let _ = writeln!(text, "| {claim} | – | – | – | – | – | – | {holds} | {first} |");
            continue;
        };
        let (estimate, interval) = match &found.difference {
            Some(found) => (
                format!("{:+.1}", 100.0 * found.estimate),
                format!("[{:+.1}, {:+.1}]", 100.0 * found.lower, 100.0 * found.upper),
            ),
            None => ("–".into(), "–".into()),
        };
        let _ = writeln!(
            text,
            "| {claim} | {} | {} | {estimate} | {interval} | {} | {} | {holds} | {first} |",
            found.b,
            found.c,
            probability(found.mcnemar.one_sided),
            probability(row.adjusted)
        );
    }
    let _ = writeln!(
        text,
        "\nThe last column is a check: it covers every first attempt, and one that a stop ended, that a person asked to repeat, or during \
         which the program ended counts as lost by its arm. Where it says another thing than the test, what was repeated decides the answer."
    );
}

fn arms(text: &mut String, report: &FieldReport) {
    let _ = writeln!(
        text,
        "\n## Arms\n\nWhat was won, duty and fires are over the {} complete blocks; attempts and everything after them are over all.\n\n| arm | \
         won | exact interval | duty, of steps taken | fires an episode | attempts | stopped | repeated at a person's \
         request | program ended | missing |\n|---|---|---|---|---|---|---|---|---|---|",
        report.complete
    );
    for row in &report.arms {
        let (won, interval) = match row.success {
            Some(Proportion { k, n, estimate, exact }) => (
                format!("{k} of {n} ({:.1} %)", 100.0 * estimate),
                format!("[{:.1} %, {:.1} %]", 100.0 * exact.lower, 100.0 * exact.upper),
            ),
            None => ("–".into(), "–".into()),
        };
        let duty = row.duty.map_or("–".into(), |duty| format!("{:.1} %", 100.0 * duty));
        let fires = row.fires.map_or("–".into(), |fires| format!("{fires:.2}"));
        let _ = writeln!(
            text,
            "| {} | {won} | {interval} | {duty} | {fires} | {} | {} | {} | {} | {} |",
            cell(row.arm.as_str()),
            row.attempts,
            row.stopped,
            row.repeated,
            row.abandoned,
            row.missing
        );
    }
}

fn method(text: &mut String, report: &FieldReport) {
    let outcome = match report.outcome {
        OutcomeSource::Person => {
            "A person entered each outcome after the episode and before the arm was shown. What can be seen of the robot's motion may still \
             tell the arms apart."
        }
        OutcomeSource::Plant => "The plant itself reported each outcome.",
    };
    let _ = writeln!(
        text,
        "\n## What pairing means here\n\nThe episodes of a block have the same start as far as a person can set it up again, from {} starts; \
         noise and the rest of the world are not the same, as they would be for twins in a simulator. The tests do not need them to be: in \
         each block the order of arms was drawn, so that without a difference between two arms either is as likely as the other to be the \
         one that wins alone. The intervals treat starts as drawn from the starts that matter, and all blocks of a start as one.\n\n{outcome}",
        report.starts
    );
    let _ = writeln!(
        text,
        "\n## How it was made\n\nRegistered {} with seal `{}`. The log of attempts ends with seal `{}`; each entry names the SHA-256 of its \
         record, which `aegis trial verify` replays.",
        report.registered, report.registration, report.log
    );
    for amendment in &report.amendments {
        let _ = writeln!(
            text,
            "\nAmended {} after {} attempts: {}. Changed: {}",
            amendment.when,
            amendment.episodes_seen,
            cell(&amendment.why),
            amendment.changes.iter().map(|change| cell(&change.to_string())).collect::<Vec<_>>().join("; ")
        );
    }
    for line in &report.contradictions {
        let _ = writeln!(text, "\n**The log contradicts the lock**: {}.", cell(line));
    }
    for (when, ended) in &report.inspections {
        let _ = writeln!(
            text,
            "\nSomebody looked at the results on {when}, after {ended} attempts and before the last."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::analysis::tests::{report, report_with};

    #[test]
    fn the_report_says_what_was_claimed_what_was_missing_and_what_pairing_means() {
        let mut made = report();
        made.inspections = vec![("2026-02-01T00:00:00Z".into(), 9)];
        let text = markdown(&made);
        for words in [
            "# A trial on the robot cell\n",
            "**aegis wins more episodes than weak** (+62.0 points [",
            "Over the 79 of 80 blocks",
            "| aegis > weak | 59 | 10 | +62.0 | [",
            "| weak | 20 of 79 (25.3 %) |",
            "| 81 | 2 | 0 | 0 | 1 |",
            "noise and the rest of the world are not the same",
            "A person entered each outcome",
            "after 9 attempts and before the last",
        ] {
            assert!(text.contains(words), "{words:?} is missing from {text}");
        }
        assert!(!text.contains("not over"), "{text}");
        made.open = 3;
        assert!(markdown(&made).contains("**The trial is not over**: 3 episodes have no outcome yet"));
    }

    #[test]
    fn the_first_sentence_says_why_a_claim_should_not_be_believed_alone() {
        let found = report_with(|block, arm| arm == "aegis" && block % 8 != 0 && block != 5);
        let text = markdown(&found);
        let words = "]), **which should not be believed alone**: over first attempts alone it is not shown, and it would not be shown if the \
                     episodes during which the program ended (69 attempts of aegis, 0 of weak) had gone against it.";
        assert!(text.contains(words), "{text}");
        assert!(text.contains("What was won, duty and fires are over the 79 complete blocks"), "{text}");
        let mut found = report();
        found.contradictions = vec!["an amendment counts otherwise".into()];
        let text = markdown(&found);
        assert!(text.contains("**The log contradicts the lock**: an amendment counts otherwise."), "{text}");
        assert!(!text.contains("believed alone"), "{text}");
    }
}
