//! The report's page: its figures in words and tables, in the order in which a reader should meet them.
//! The answer first, then whether it may be believed, then everything else.

use aegis_statistics::Over;

use super::instructive::RECORDINGS;
use super::tables::{p_value, plain, points, reliability_table, share, task_table};
use super::{Link, Page, Report, ReportError, charts};
use crate::arm::AEGIS;

const QUESTION: &str = "Does the strong policy, called in when the probe's score crosses its threshold, win episodes that the \
     weak policy alone loses, and more of them than the same amount of help at times that no probe chose? Every arm runs \
     on the same episodes, with the same starts and the same noise.";

impl Report {
    /// The page; `provenance` are sentences that say what the figures belong to.
    ///
    /// # Errors
    /// [`ReportError::Figure`].
    pub fn page(&self, title: &str, provenance: &[String]) -> Result<Page, ReportError> {
        let mut page = Page::new(title);
        page.section("Question").say(QUESTION);
        page.section("Answer");
        self.answer(&mut page);
        page.figure(charts::forest(&self.contrasts)?);
        page.section("Contrasts").say(
            "Exact one-sided McNemar tests, adjusted by Holm over the family in its registered order. b are episodes \
             that only the first arm won, c those that only the second won.",
        );
        page.figure(charts::discordant(&self.contrasts)?).table(self.contrast_table());
        self.budgets(&mut page)?;
        page.section("Arms")
            .say("Net: won more than weak, of all episodes, with intervals over clusters.")
            .figure(charts::arms(&self.arms)?)
            .table(self.arm_table());
        page.section("When help began").say(
            "Hand-overs to the strong policy at each chunk boundary, and the share of the horizon that it drove in an \
             episode.",
        );
        page.figure(charts::began(&self.arms, self.horizon_steps)?).table(self.help_table());
        self.probe_sections(&mut page)?;
        page.section("Kill criteria").table(self.kill_table());
        self.audit_section(&mut page);
        for arm in self.arms.iter().filter(|arm| arm.effects.is_some()) {
            page.section(format!("By task: {}", arm.arm))
                .say("Net effect against weak, and what it is without that task.")
                .figure(charts::by_task(arm.arm.as_str(), &arm.tasks)?)
                .table(task_table(arm));
        }
        self.instructive_section(&mut page);
        page.section("What this belongs to");
        provenance.iter().for_each(|sentence| {
            page.say(sentence.as_str());
        });
        Ok(page)
    }

    fn budgets(&self, page: &mut Page) -> Result<(), ReportError> {
        page.section("Budgets").say(
            "Treatment less control, with intervals over clusters of task and initial state. A match is shown where the \
             whole interval lies within the tolerance, the grey band.",
        );
        for figure in charts::budgets(&self.contrasts, self.tolerance)? {
            page.figure(figure);
        }
        page.table(self.budget_table());
        Ok(())
    }

    fn probe_sections(&self, page: &mut Page) -> Result<(), ReportError> {
        page.section("The score along the weak path").say(
            "Read at every chunk boundary while the weak policy alone drives. Boundaries late in an episode are those of \
             the episodes that still run.",
        );
        page.figure(charts::score_fan(&self.score_over_time)?);
        page.figure(charts::auroc(&self.score_over_time)?);
        page.table(self.score_table());
        let found = &self.discrimination;
        page.section("What the early score is worth");
        for (what, auroc) in [("over all episodes", found.auroc), ("within tasks", found.auroc_within)] {
            let said = auroc.map_or("is not defined".into(), |auroc| format!("is {}", plain(&auroc)));
            page.say(format!("Early-window AUROC on the weak path {what} {said}."));
        }
        page.figure(found.roc.as_deref().map(charts::roc).transpose()?);
        if let Some(reliability) = &found.reliability {
            page.say(format!(
                "As probabilities of failure, by the calibration that the probe came with: Brier score {:.3}, expected \
                 calibration error {:.3}. Numbers in the figure are episodes.",
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
        page.section("Episodes to look at").say(
            "One of each kind, with the least help. `aegis experiment report --recordings` runs them again, holds them \
             against their results, and writes what these links lead to, each beside its weak twin.",
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

    /// Whether the family holds, and by how much.
    fn in_one_sentence(&self) -> String {
        let held = self.contrasts.iter().filter(|one| one.holds).count();
        let verdict = match (held == self.contrasts.len(), self.killed) {
            (_, true) => "No answer, for the study is void; what was found".to_owned(),
            (true, false) => "Yes, every claim of the family holds".to_owned(),
            (false, false) => format!("Not shown, {held} of {} claims hold", self.contrasts.len()),
        };
        let found: Vec<String> = self
            .contrasts
            .iter()
            .filter_map(|one| {
                let (claim, over) = (&one.claim, over(one.figures.over));
                let more = points(one.figures.difference.as_ref()?);
                Some(format!("{} wins {more} more {over} than {}", claim.better, claim.than))
            })
            .collect();
        format!("{verdict}: {}.", found.join("; "))
    }

    fn answer(&self, page: &mut Page) {
        if self.killed {
            let fired =
                self.kill.iter().filter(|one| one.fired).map(|one| one.name).collect::<Vec<_>>().join(", ");
            page.say(format!("A kill criterion fired ({fired}), so nothing below confirms anything."));
        }
        page.say(self.in_one_sentence());
        for one in &self.contrasts {
            let verdict = match (one.holds, self.killed) {
                (true, false) => "holds",
                (true, true) => "would hold",
                (false, _) => "is not shown",
            };
            let over = over(one.figures.over);
            page.say(format!(
                "{} wins more than {}: {verdict}. It won {} and {} won {} {over} ({}), adjusted p = {}.",
                one.claim.better,
                one.claim.than,
                share(one.figures.treatment.k, one.figures.treatment.n),
                one.claim.than,
                share(one.figures.control.k, one.figures.control.n),
                one.figures.difference.map_or("no interval".into(), |estimate| points(&estimate)),
                p_value(one.adjusted),
            ));
        }
        if let Some(effects) = self.arms.iter().find(|arm| arm.arm == *AEGIS).and_then(|arm| arm.effects) {
            let broken = effects.broken.map_or("weak won nothing".into(), |rate| {
                format!("broke {}", share(rate.proportion.k, rate.proportion.n))
            });
            page.say(format!("Of the episodes that weak alone wins, aegis {broken}."));
        }
    }

    fn audit_section(&self, page: &mut Page) {
        let audit = &self.audit;
        page.section("Audit");
        page.say(format!("{} of {} episodes are there.", audit.found, audit.expected));
        page.say(format!(
            "{} pairs of twins were compared up to their first hand-over; {} differ.",
            audit.pairs,
            audit.violations.len()
        ));
        if let Some(equal) = audit.equal_copies {
            page.say(format!("{equal} copies of the weak arm are bit for bit what it is."));
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
