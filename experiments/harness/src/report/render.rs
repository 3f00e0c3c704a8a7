//! The page of a report: its numbers in sentences, figures and tables, in reading order.
//! The answer comes first, then the evidence for it, then how the study was made.

use aegis_statistics::{Estimate, Over};

use super::exemplars::RECORDINGS;
use super::page::{Layout, Outcome};
use super::tables::{counts, p_value, plain, points, reliability_table, share, signed, task_table};
use super::{Background, Link, Page, Report, ReportError, Table, charts};
use crate::episode::arm::{AEGIS, ArmName};

const QUESTION: &str = "Does the strong policy, called in when the probe's score crosses its threshold, win episodes that the \
     weak policy alone loses, and more of them than the same amount of help at times that no probe chose? Every arm runs \
     on the same episodes, with the same starts and the same noise.";

impl Report {
    /// Renders the report as a page with this title.
    ///
    /// # Errors
    /// [`ReportError::Figure`] if a figure cannot be drawn.
    pub fn page(&self, title: &str, background: &Background<'_>) -> Result<Page, ReportError> {
        let mut page = Page::new(title);
        page.section("Question").say(QUESTION);
        page.section("Answer").say(self.in_one_sentence());
        let (outcome, why) = self.verdict(background);
        page.verdict(outcome, why);
        let changes = self.what_to_change();
        if !changes.is_empty() {
            page.say(format!("What to change: {}", changes.join(" ")));
        }
        page.figure(charts::forest(&self.contrasts)?).contents();
        self.contrast_section(&mut page)?;
        self.budgets(&mut page)?;
        self.arm_section(&mut page, background)?;
        self.hindsight_section(&mut page)?;
        page.section("Times of hand-overs").say(
            "Hand-overs to the strong policy at each chunk boundary, and the share of the horizon that it drove in an \
             episode.",
        );
        page.figure(charts::began(&self.arms, self.horizon_steps)?).table(self.help_table());
        page.section("Tasks")
            .say("The instruction that policies receive in each task.")
            .table(background.instructions());
        self.task_section(&mut page, background)?;
        self.disturbance_section(&mut page, background.plan);
        self.probe_sections(&mut page)?;
        self.instructive_section(&mut page);
        page.section("Kill criteria")
            .say("A criterion that fires voids the whole study. A value that could not be determined fires its criterion.")
            .table(self.kill_table());
        self.audit_section(&mut page);
        self.method(&mut page, background);
        page.section("Registration");
        background.provenance.iter().for_each(|sentence| {
            page.say(sentence.as_str());
        });
        Ok(page)
    }

    fn contrast_section(&self, page: &mut Page) -> Result<(), ReportError> {
        page.section("Contrasts").table(self.contrast_table()).say(
            "Exact one-sided McNemar tests, adjusted by Holm over the family in its registered order. b are episodes \
             that only the first arm won, c those that only the second won.",
        );
        for one in &self.contrasts {
            let verdict = match (one.holds, self.killed) {
                (true, false) => "holds",
                (true, true) => "would hold",
                (false, _) => "is not shown",
            };
            let over = over(one.figures.over);
            let [first, second] = [one.figures.treatment, one.figures.control].map(counts);
            page.say(format!(
                "{} wins more than {}: {verdict}. It won {} and {} won {} {over} ({}), adjusted p = {}.",
                one.claim.better,
                one.claim.than,
                share(first.0, first.1),
                one.claim.than,
                share(second.0, second.1),
                one.figures.difference.map_or("no interval".into(), |estimate| points(&estimate)),
                p_value(one.adjusted),
            ));
        }
        page.figure(charts::discordant(&self.contrasts)?);
        Ok(())
    }

    fn arm_section(&self, page: &mut Page, background: &Background<'_>) -> Result<(), ReportError> {
        page.section("Arms");
        let mut table = Table::new(&["arm", "what it does"]).laid_out(Layout::Facts);
        table
            .rows
            .extend(self.arms.iter().map(|arm| vec![arm.arm.to_string(), background.meaning(&arm.arm)]));
        page.table(table).say(
            "Recovered are episodes that weak lost and the arm won, broken those that weak won and the arm lost. Net: won \
             more than weak, of all episodes, with intervals over clusters.",
        );
        page.figure(charts::arms(self.arms.iter().filter(|arm| !background.only_weak(arm)))?);
        page.table(self.arm_table());
        Ok(())
    }

    fn task_section(&self, page: &mut Page, background: &Background<'_>) -> Result<(), ReportError> {
        page.section("By task").say(
            "Each arm against weak, task by task: its net effect in percentage points, and its net effect over all other \
             tasks.",
        );
        for arm in self.arms.iter().filter(|arm| arm.effects.is_some()) {
            if background.only_weak(arm) {
                page.say(format!(
                    "{} drives as weak does by design, and its results agree: none of {} episodes recovered or broken.",
                    arm.arm, arm.success.n
                ));
                continue;
            }
            page.heading(arm.arm.as_str())
                .figure(charts::by_task(arm.arm.as_str(), &arm.tasks)?)
                .table(task_table(arm));
        }
        Ok(())
    }

    fn budgets(&self, page: &mut Page) -> Result<(), ReportError> {
        page.section("Budgets").say(
            "First arm minus second, with intervals over clusters of task and initial state. A match is shown where the \
             whole interval lies within the tolerance, the grey band.",
        );
        for figure in charts::budgets(&self.contrasts, self.tolerance)? {
            page.figure(figure);
        }
        page.table(self.budget_table());
        Ok(())
    }

    fn probe_sections(&self, page: &mut Page) -> Result<(), ReportError> {
        page.section("Score over an episode of weak").say(
            "The score at every chunk boundary while the weak policy alone drives. Late boundaries include only the episodes \
             that still run.",
        );
        page.figure(charts::score_fan(&self.score_over_time)?);
        page.figure(charts::auroc(&self.score_over_time)?);
        page.table(self.score_table());
        let found = &self.discrimination;
        page.section("Discrimination and calibration");
        for (what, auroc) in [("over all episodes", found.auroc), ("within tasks", found.auroc_within)] {
            let said = auroc.map_or("is not defined".into(), |auroc| format!("is {}", plain(&auroc)));
            page.say(format!("Early-window AUROC of the weak arm {what} {said}."));
        }
        page.figure(found.roc.as_deref().map(charts::roc).transpose()?);
        if let Some(reliability) = &found.reliability {
            page.say(format!(
                "Probabilities of failure, by the probe's own calibration: Brier score {:.3}, expected calibration error \
                 {:.3}.",
                reliability.brier, reliability.expected_calibration_error
            ));
            page.figure(charts::reliability(reliability)?).table(reliability_table(reliability));
        }
        Ok(())
    }

    fn instructive_section(&self, page: &mut Page) {
        if self.instructive.is_empty() {
            return;
        }
        page.section("Instructive episodes").say(
            "One episode of each kind, that with the least help. `aegis experiment report --recordings` runs them again, \
             compares them with their results, and writes the linked recordings, each beside its weak twin.",
        );
        for one in &self.instructive {
            let start = one.key.start;
            page.link(Link {
                to: format!("{RECORDINGS}/{}", one.file_name()),
                text: format!("task {}, initial state {}", start.task, start.initial_state),
                rest: format!(
                    "{} (fires: {}; steps of the strong policy: {})",
                    one.why, one.fires, one.strong_steps
                ),
            });
        }
    }

    /// Returns one sentence on whether the family holds, with the difference of each contrast.
    fn in_one_sentence(&self) -> String {
        let held = self.contrasts.iter().filter(|one| one.holds).count();
        let verdict = match (held == self.contrasts.len(), self.killed) {
            (_, true) => "No answer, because the study is void; its figures".to_owned(),
            (true, false) => "Yes, every claim of the family holds".to_owned(),
            (false, false) => format!("Not shown, {held} of {} claims hold", self.contrasts.len()),
        };
        let found: Vec<String> = self
            .contrasts
            .iter()
            .map(|one| match &one.figures.difference {
                Some(difference) => wins(&one.claim.better, &one.claim.than, one.figures.over, difference),
                None => {
                    let (won, of) = counts(one.figures.treatment);
                    let (over, [better, than]) = (over(one.figures.over), [&one.claim.better, &one.claim.than]);
                    let other = counts(one.figures.control).0;
                    format!("{better} won {won} and {than} {other} {over}, of which there are {of}, without an interval")
                }
            })
            .collect();
        format!("{verdict}: {}.", found.join("; "))
    }

    /// Returns the outcome of the study and its reasons.
    fn verdict(&self, background: &Background<'_>) -> (Outcome, String) {
        let names = |holds: bool| {
            let claims = self.contrasts.iter().filter(|one| one.holds == holds);
            claims
                .map(|one| format!("{} > {}", one.claim.better, one.claim.than))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let level =
            background.plan.study.as_ref().map_or(String::new(), |study| format!(" at {}", study.alpha));
        let (outcome, said) = if self.killed {
            let fired = self.kill.iter().filter(|one| one.fired).map(|one| one.name);
            let fired = fired.collect::<Vec<_>>().join(", ");
            (Outcome::Void, format!("A kill criterion fired ({fired}), so nothing below confirms anything"))
        } else if self.contrasts.iter().all(|one| one.holds) {
            let said = format!("Shown{level} for the family: {}; no kill criterion fired", names(true));
            (Outcome::Holds, said)
        } else {
            let held = names(true);
            let held = if held.is_empty() { "nothing".to_owned() } else { held };
            let said = format!(
                "Shown{level} for the family: {held}; not shown: {}; no kill criterion fired",
                names(false)
            );
            (Outcome::NotShown, said)
        };
        (outcome, format!("{said}. {}", self.harm()).trim_end().to_owned())
    }

    /// Returns a sentence on the episodes that weak wins and aegis loses.
    fn harm(&self) -> String {
        let effects = self.arms.iter().find(|arm| arm.arm == *AEGIS).and_then(|arm| arm.effects);
        effects.map_or(String::new(), |effects| {
            let broken = effects.broken.map_or("broke none, because weak won none".into(), |rate| {
                format!("broke {}", share(rate.proportion.k, rate.proportion.n))
            });
            format!("Of the episodes that weak alone wins, aegis {broken}.")
        })
    }

    fn audit_section(&self, page: &mut Page) {
        let audit = &self.audit;
        page.section("Audit");
        page.say(format!("{} of {} episodes have a result.", audit.found, audit.expected));
        page.say(format!(
            "{} pairs of twins were compared up to their first hand-over; {} differ.",
            audit.pairs,
            audit.violations.len()
        ));
        if let Some(equal) = audit.equal_copies {
            page.say(format!("{equal} copies of the weak arm equal it bit for bit."));
        }
        for (what, names) in [
            ("Missing", &audit.missing),
            ("Not twins", &audit.violations),
            ("Not of this plan", &audit.foreign),
        ] {
            if !names.is_empty() {
                page.say(format!("{what}: {}.", names.join("; ")));
            }
        }
    }
}

fn over(of: Over) -> &'static str {
    match of {
        Over::WeakLost => "of the episodes that weak lost",
        Over::All => "of all episodes",
    }
}

/// Describes a difference in words. The words give the sign of the estimate; the ends of the interval are signed numbers.
fn wins(better: &ArmName, than: &ArmName, of: Over, difference: &Estimate) -> String {
    let [estimate, lower, upper] =
        [difference.estimate, difference.lower, difference.upper].map(|value| 100.0 * value);
    let (over, size) = (over(of), format!("{:.1}", estimate.abs()));
    let interval = format!("interval {} to {}", signed(lower, 1), signed(upper, 1));
    if size == "0.0" {
        return format!("{better} wins as many {over} as {than} ({interval})");
    }
    let direction = if estimate > 0.0 { "more" } else { "fewer" };
    format!("{better} wins {size} points {direction} {over} than {than} ({interval})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_more_or_fewer_and_never_a_negative_more() {
        let said = |estimate: f64, lower: f64, upper: f64| {
            let difference =
                Estimate { estimate, lower, upper, standard_error: 0.01, clusters: 20, undefined: 0 };
            wins(&"aegis".into(), &"blind".into(), Over::WeakLost, &difference)
        };
        let lost = "of the episodes that weak lost";
        for ((estimate, lower, upper), expected) in [
            (
                (0.099, 0.06, 0.14),
                format!("aegis wins 9.9 points more {lost} than blind (interval +6.0 to +14.0)"),
            ),
            (
                (-0.35, -0.386, -0.314),
                format!("aegis wins 35.0 points fewer {lost} than blind (interval −38.6 to −31.4)"),
            ),
            ((0.0, -0.01, 0.01), format!("aegis wins as many {lost} as blind (interval −1.0 to +1.0)")),
            ((-0.0001, -0.01, 0.01), format!("aegis wins as many {lost} as blind (interval −1.0 to +1.0)")),
        ] {
            assert_eq!(said(estimate, lower, upper), expected);
        }
    }
}
