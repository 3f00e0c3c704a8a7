//! The report's page: its figures in words and tables, in the order in which a reader should meet them.
//! The answer first, then whether it may be believed, then everything else.

use aegis_statistics::{Estimate, Interval, Over, Verdict};

use super::{ArmReport, ContrastReport, Page, Report, ReportError, ScoreMoment, Table, charts};
use crate::arm::AEGIS;
use crate::study::DutyOf;

impl Report {
    /// The page; `provenance` are sentences that say what the figures belong to.
    ///
    /// # Errors
    /// [`ReportError::Figure`].
    pub fn page(&self, title: &str, provenance: &[String]) -> Result<Page, ReportError> {
        let mut page = Page::new(title);
        page.section("Answer");
        self.answer(&mut page);
        page.figure(charts::forest(&self.contrasts)?);
        page.section("Contrasts").say(
            "Exact one-sided McNemar tests, adjusted by Holm over the family in its registered order. b are episodes \
             that only the first arm won, c those that only the second won.",
        );
        page.figure(charts::discordant(&self.contrasts)?).table(self.contrast_table());
        page.section("Budgets")
            .say("Treatment less control, with intervals over clusters of task and initial state.");
        page.table(self.budget_table());
        page.section("Arms").table(self.arm_table());
        page.section("The score along the weak path").say(
            "Read at every chunk boundary while the weak policy alone drives. Boundaries late in an episode are those of \
             the episodes that still run.",
        );
        page.figure(charts::score_fan(&self.score_over_time)?);
        page.figure(charts::auroc(&self.score_over_time)?);
        page.table(self.score_table());
        page.section("Kill criteria").table(self.kill_table());
        self.audit_section(&mut page);
        for arm in self.arms.iter().filter(|arm| arm.effects.is_some()) {
            page.section(format!("By task: {}", arm.arm))
                .say("Net effect against weak, and what it is without that task.")
                .figure(charts::by_task(arm.arm.as_str(), &arm.tasks)?)
                .table(task_table(arm));
        }
        page.section("What this belongs to");
        provenance.iter().for_each(|sentence| {
            page.say(sentence.as_str());
        });
        Ok(page)
    }

    fn answer(&self, page: &mut Page) {
        if self.killed {
            let fired =
                self.kill.iter().filter(|one| one.fired).map(|one| one.name).collect::<Vec<_>>().join(", ");
            page.say(format!("A kill criterion fired ({fired}), so nothing below confirms anything."));
        }
        for one in &self.contrasts {
            let verdict = match (one.holds, self.killed) {
                (true, false) => "holds",
                (true, true) => "would hold",
                (false, _) => "is not shown",
            };
            let over = match one.figures.over {
                Over::WeakLost => "of the episodes that weak lost",
                Over::All => "of all episodes",
            };
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

    fn contrast_table(&self) -> Table {
        let mut table = Table::new(&[
            "claim",
            "over",
            "first won",
            "second won",
            "b",
            "c",
            "difference",
            "p",
            "adjusted p",
            "holds",
        ]);
        let sequential = self.contrasts.iter().any(|one| one.e_value.is_some());
        if sequential {
            table.head.push("e-value".into());
        }
        for ContrastReport { claim, figures, adjusted, holds, e_value, .. } in &self.contrasts {
            let mut row = vec![
                format!("{} > {}", claim.better, claim.than),
                match figures.over {
                    Over::WeakLost => format!("{} that weak lost", figures.treatment.n),
                    Over::All => format!("all {}", figures.treatment.n),
                },
                share(figures.treatment.k, figures.treatment.n),
                share(figures.control.k, figures.control.n),
                figures.b.to_string(),
                figures.c.to_string(),
                figures.difference.map_or("–".into(), |estimate| points(&estimate)),
                p_value(figures.mcnemar.one_sided),
                p_value(*adjusted),
                yes(*holds),
            ];
            row.extend(sequential.then(|| e_value.map_or("–".into(), |value| format!("{value:.3e}"))));
            table.rows.push(row);
        }
        table
    }

    fn budget_table(&self) -> Table {
        let mut table = Table::new(&["contrast", "quantity", "first", "second", "difference", "verdict"]);
        let duty = match self.duty_of {
            DutyOf::Steps => "duty, of steps taken",
            DutyOf::Horizon => "duty, of the horizon",
        };
        for one in &self.contrasts {
            let Some(budget) = &one.budget else { continue };
            for (quantity, scale, unit, of) in
                [(duty, 100.0, " %", &budget.duty), ("fires per episode", 1.0, "", &budget.fires)]
            {
                let Estimate { estimate, lower, upper, .. } = of.difference;
                table.rows.push(vec![
                    format!("{} > {}", one.claim.better, one.claim.than),
                    quantity.into(),
                    format!("{:.2}{unit}", scale * of.treatment),
                    format!("{:.2}{unit}", scale * of.control),
                    format!("{:+.2} [{:+.2}, {:+.2}]", scale * estimate, scale * lower, scale * upper),
                    match of.verdict {
                        Verdict::Matched => "matched",
                        Verdict::Unclear => "not shown to match",
                        Verdict::Mismatched => "differ: the contrast is void",
                    }
                    .into(),
                ]);
            }
        }
        table
    }

    fn arm_table(&self) -> Table {
        let mut table = Table::new(&[
            "arm",
            "won",
            "interval",
            "recovered",
            "interval",
            "broken",
            "interval",
            "net",
            "duty, of steps taken",
            "fires per episode",
        ]);
        for arm in &self.arms {
            let rate = |of: Option<aegis_statistics::Rate>| match of {
                Some(rate) => [share(rate.proportion.k, rate.proportion.n), interval(&rate.proportion.exact)],
                None => ["–".into(), "–".into()],
            };
            let mut row =
                vec![arm.arm.to_string(), share(arm.success.k, arm.success.n), interval(&arm.success.exact)];
            row.extend(rate(arm.effects.and_then(|effects| effects.recovered)));
            row.extend(rate(arm.effects.and_then(|effects| effects.broken)));
            let net = arm.effects.and_then(|effects| effects.net_effect_clustered);
            row.push(net.map_or("–".into(), |estimate| points(&estimate)));
            row.push(format!("{:.1} %", 100.0 * arm.duty));
            row.push(format!("{:.3}", arm.fires));
            table.rows.push(row);
        }
        table
    }

    fn score_table(&self) -> Table {
        let quartiles = ["lost: quartiles", "won: quartiles"];
        let mut table =
            Table::new(&["step", "running", "lost in the end", "AUROC", quartiles[0], quartiles[1]]);
        let spread = |of: Option<[f64; 3]>| match of {
            Some([lower, median, upper]) => format!("{lower:.2}, {median:.2}, {upper:.2}"),
            None => "–".into(),
        };
        for ScoreMoment { moment, lost, won } in &self.score_over_time {
            table.rows.push(vec![
                moment.step.to_string(),
                moment.running.to_string(),
                moment.lost.to_string(),
                moment.auroc.map_or("–".into(), |auroc| format!("{auroc:.3}")),
                spread(*lost),
                spread(*won),
            ]);
        }
        table
    }

    fn kill_table(&self) -> Table {
        let mut table = Table::new(&["criterion", "limit", "found", "fired"]);
        for one in &self.kill {
            let found = one.found.map_or("not determined".into(), |value| format!("{value:.4}"));
            table.rows.push(vec![one.name.into(), one.limit.to_string(), found, yes(one.fired)]);
        }
        table
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
        for (what, auroc) in [("over all episodes", self.auroc), ("within tasks", self.auroc_within)] {
            let said = auroc.map_or("is not defined".into(), |auroc| format!("is {}", plain(&auroc)));
            page.say(format!("Early-window AUROC on the weak path {what} {said}."));
        }
    }
}

fn task_table(arm: &ArmReport) -> Table {
    let mut table = Table::new(&[
        "task",
        "weak won",
        "arm won",
        "recovered",
        "broken",
        "net",
        "p within",
        "net without it",
    ]);
    let rate = |of: Option<aegis_statistics::Proportion>| of.map_or("–".into(), |of| share(of.k, of.n));
    for row in &arm.tasks {
        let without = arm.without_task.iter().find(|left| left.task == row.task);
        table.rows.push(vec![
            row.task.to_string(),
            share(row.weak.k, row.weak.n),
            share(row.arm.k, row.arm.n),
            rate(row.recovered),
            rate(row.broken),
            format!("{:+.1}", 100.0 * row.net_effect),
            p_value(row.mcnemar.one_sided),
            without.map_or("–".into(), |left| format!("{:+.1}", 100.0 * left.net_effect)),
        ]);
    }
    table
}

fn share(k: u64, n: u64) -> String {
    format!("{k} of {n} ({:.1} %)", 100.0 * k as f64 / n.max(1) as f64)
}

fn interval(Interval { lower, upper, .. }: &Interval) -> String {
    format!("[{:.1}, {:.1}] %", 100.0 * lower, 100.0 * upper)
}

pub(super) fn points(Estimate { estimate, lower, upper, .. }: &Estimate) -> String {
    format!("{:+.1} points [{:+.1}, {:+.1}]", 100.0 * estimate, 100.0 * lower, 100.0 * upper)
}

/// An estimate with its interval, to three digits.
pub fn plain(Estimate { estimate, lower, upper, .. }: &Estimate) -> String {
    format!("{estimate:.3} [{lower:.3}, {upper:.3}]")
}

fn p_value(p: f64) -> String {
    if p < 1e-3 { format!("{p:.2e}") } else { format!("{p:.4}") }
}

fn yes(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}
