//! The report's tables, one function each, and the format of its numbers.

use aegis_statistics::{Estimate, Interval, Over, Proportion, Reliability, Verdict};

use super::page::Layout;
use super::{ArmReport, ContrastReport, Report, ScoreMoment, Table};
use crate::plan::study::DutyOf;

impl Report {
    pub(super) fn contrast_table(&self) -> Table {
        let mut table = Table::new(&[
            "claim",
            "difference",
            "p",
            "adjusted p",
            "holds",
            "b",
            "c",
            "first won",
            "second won",
            "over",
        ])
        .laid_out(Layout::Stacked);
        let sequential = self.contrasts.iter().any(|one| one.e_value.is_some());
        if sequential {
            table.head.push("e-value".into());
        }
        for ContrastReport { claim, figures, adjusted, holds, e_value, .. } in &self.contrasts {
            let [first, second] = [figures.treatment, figures.control].map(counts);
            let mut row = vec![
                format!("{} > {}", claim.better, claim.than),
                figures.difference.map_or("–".into(), |estimate| points(&estimate)),
                p_value(figures.mcnemar.one_sided),
                p_value(*adjusted),
                yes(*holds),
                figures.b.to_string(),
                figures.c.to_string(),
                share(first.0, first.1),
                share(second.0, second.1),
                match figures.over {
                    Over::WeakLost => format!("weak lost: {}", first.1),
                    Over::All => format!("all: {}", first.1),
                },
            ];
            row.extend(sequential.then(|| e_value.map_or("–".into(), |value| format!("{value:.3e}"))));
            table.rows.push(row);
        }
        table
    }

    pub(super) fn budget_table(&self) -> Table {
        let mut table = Table::new(&["contrast", "quantity", "first", "second", "difference", "verdict"])
            .laid_out(Layout::Stacked);
        let duty = duty_name(self.duty_of);
        for one in &self.contrasts {
            let Some(budget) = &one.budget else {
                if one.budget_unknown {
                    let contrast = format!("{} > {}", one.claim.better, one.claim.than);
                    let cells = ["all", "–", "–", "–", "not determined: only one start"];
                    table.rows.push(std::iter::once(contrast).chain(cells.map(str::to_owned)).collect());
                }
                continue;
            };
            for (quantity, scale, unit, of) in
                [(duty, 100.0, " %", &budget.duty), ("fires per episode", 1.0, "", &budget.fires)]
            {
                let Estimate { estimate, lower, upper, .. } = of.difference;
                table.rows.push(vec![
                    format!("{} > {}", one.claim.better, one.claim.than),
                    quantity.into(),
                    format!("{:.2}{unit}", scale * of.treatment),
                    format!("{:.2}{unit}", scale * of.control),
                    between([estimate, lower, upper].map(|value| scale * value), 2, ""),
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

    pub(super) fn arm_table(&self) -> Table {
        let mut table = Table::new(&[
            "arm",
            "won",
            "recovered",
            "broken",
            "net",
            "duty, of steps taken",
            "fires per episode",
        ])
        .laid_out(Layout::Stacked);
        for arm in &self.arms {
            let rate = |of: Option<aegis_statistics::Rate>| {
                of.map_or("–".into(), |rate| with_interval(&rate.proportion))
            };
            let mut row = vec![arm.arm.to_string(), with_interval(&arm.success)];
            row.push(rate(arm.effects.and_then(|effects| effects.recovered)));
            row.push(rate(arm.effects.and_then(|effects| effects.broken)));
            let net = arm.effects.and_then(|effects| effects.net_effect_clustered);
            row.push(net.map_or("–".into(), |estimate| points(&estimate)));
            row.push(format!("{:.1} %", 100.0 * arm.duty));
            row.push(format!("{:.3}", arm.fires));
            table.rows.push(row);
        }
        table
    }

    pub(super) fn help_table(&self) -> Table {
        let mut table =
            Table::new(&["arm", "episodes helped", "hand-overs", "share of the horizon: quartiles"]);
        for arm in &self.arms {
            let [lower, median, upper] = arm.help.duty.map(|share| 100.0 * share);
            table.rows.push(vec![
                arm.arm.to_string(),
                share(arm.help.helped, arm.success.n),
                arm.help.began.iter().map(|[_, count]| count).sum::<u64>().to_string(),
                format!("{lower:.1}, {median:.1}, {upper:.1} %"),
            ]);
        }
        table
    }

    pub(super) fn score_table(&self) -> Table {
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

    pub(super) fn kill_table(&self) -> Table {
        let mut table = Table::new(&["criterion", "limit", "found", "fired"]);
        for one in &self.kill {
            let found = one.found.map_or("not determined".into(), |value| format!("{value:.4}"));
            table.rows.push(vec![one.name.into(), one.limit.to_string(), found, yes(one.fired)]);
        }
        table
    }
}

pub(super) fn task_table(arm: &ArmReport) -> Table {
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
    let rate = |of: Option<Proportion>| of.map_or("–".into(), |of| share(of.k, of.n));
    for row in &arm.tasks {
        let without = arm.without_task.iter().find(|left| left.task == row.task);
        table.rows.push(vec![
            row.task.to_string(),
            share(row.weak.k, row.weak.n),
            share(row.arm.k, row.arm.n),
            rate(row.recovered),
            rate(row.broken),
            signed(100.0 * row.net_effect, 1),
            p_value(row.mcnemar.one_sided),
            without.map_or("–".into(), |left| signed(100.0 * left.net_effect, 1)),
        ]);
    }
    table
}

pub(super) fn reliability_table(found: &Reliability) -> Table {
    let mut table = Table::new(&["predicted", "episodes", "mean predicted", "failed", "interval"]);
    for bin in &found.bins {
        table.rows.push(vec![
            format!("{:.0} to {:.0} %", 100.0 * bin.lower, 100.0 * bin.upper),
            bin.count.to_string(),
            bin.predicted.map_or("–".into(), |predicted| format!("{:.1} %", 100.0 * predicted)),
            bin.observed.map_or("–".into(), |observed| share(observed.k, observed.n)),
            bin.observed.map_or("–".into(), |observed| interval(&observed.exact)),
        ]);
    }
    table
}

/// Returns the episodes won and the number of episodes; `(0, 0)` for `None`.
pub(super) fn counts(of: Option<Proportion>) -> (u64, u64) {
    of.map_or((0, 0), |of| (of.k, of.n))
}

pub(super) fn share(k: u64, n: u64) -> String {
    format!("{k} of {n} ({:.1} %)", 100.0 * k as f64 / n.max(1) as f64)
}

fn with_interval(of: &Proportion) -> String {
    format!("{} {}", share(of.k, of.n), interval(&of.exact))
}

fn interval(Interval { lower, upper, .. }: &Interval) -> String {
    format!("[{:.1}, {:.1}] %", 100.0 * lower, 100.0 * upper)
}

pub(super) fn points(Estimate { estimate, lower, upper, .. }: &Estimate) -> String {
    between([estimate, lower, upper].map(|value| 100.0 * value), 1, " points")
}

/// Formats an estimate, its unit and its interval; `values` are estimate, lower end and upper end.
fn between(values: [f64; 3], digits: usize, unit: &str) -> String {
    let [estimate, lower, upper] = values.map(|value| signed(value, digits));
    format!("{estimate}{unit} [{lower}, {upper}]")
}

/// Formats a number with its sign. A minus is written as `−`, which is as wide as a plus.
pub(super) fn signed(value: f64, digits: usize) -> String {
    format!("{value:+.digits$}").replace('-', "−")
}

/// Returns the name of the duty, with the steps that it is a share of.
pub(super) fn duty_name(of: DutyOf) -> &'static str {
    match of {
        DutyOf::Steps => "duty, of steps taken",
        DutyOf::Horizon => "duty, of the horizon",
    }
}

/// Formats an estimate and its interval with three digits after the point.
pub fn plain(Estimate { estimate, lower, upper, .. }: &Estimate) -> String {
    format!("{estimate:.3} [{lower:.3}, {upper:.3}]")
}

pub(super) fn p_value(p: f64) -> String {
    if p < 1e-3 { format!("{p:.2e}") } else { format!("{p:.4}") }
}

fn yes(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}
