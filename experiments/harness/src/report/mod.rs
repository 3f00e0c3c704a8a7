//! The report of a study: every number in it, computed from the stored results, the plan and the probe's calibrator.
//! Pure functions: the same results give the same report, in any order of the episodes.

mod advice;
mod arms;
mod audit;
mod background;
mod charts;
mod disturbances;
mod exemplars;
mod hindsight;
mod intervention_timing;
mod method;
mod origins;
mod page;
mod pilot;
mod probe_discrimination;
mod render;
pub mod summary;
mod tables;

use std::collections::BTreeMap;

use aegis_core::platt::PlattScaling;
use aegis_statistics::{
    BudgetMatch, Contrast, LeftOut, PairedEffects, Proportion, Spending, SpendingPair, StatisticsError,
    TaskRow, Tolerance, Triplet, Twin, Verdict, budget_match, contrast, holm, leave_one_task_out,
    mcnemar_e_value, paired_effects, task_table,
};
use serde::Serialize;

use crate::episode::arm::{ArmName, WEAK};
use crate::episode::outcome::EpisodeResult;
use crate::plan::Plan;
use crate::plan::study::{ContrastSettings, DutyOf, Judged, Quantities, STRONG, StudySettings};
use aegis_core::EpisodeKey;
use aegis_probe::forks::EpisodeForks;

pub use audit::{Audit, audit};
pub use background::Background;
pub use disturbances::{Disturbances, OfKind, Won};
pub use exemplars::{Instructive, RECORDINGS, instructive};
pub use hindsight::{ArmInHindsight, Hindsight};
pub use intervention_timing::Help;
pub use page::{Figure, Layout, Link, Outcome, Page, Table};
pub use pilot::ShareAdvice;
pub use probe_discrimination::{Discrimination, ScoreMoment, WeakPath};
pub use tables::plain;

/// All numbers of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether the results are complete, and whether twins are equal up to their first hand-over.
    pub audit: Audit,
    /// Every arm, in the plan's order.
    pub arms: Vec<ArmReport>,
    /// The episodes by their disturbance. `None` where no episode has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disturbances: Option<Disturbances>,
    /// The arms beside an oracle. `None` where the forks of the weak episodes are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hindsight: Option<Hindsight>,
    /// The horizon: number of control steps after which an episode that has not succeeded is lost.
    pub horizon_steps: u32,
    /// The steps that the duty in a budget comparison is a share of. [`ArmReport::duty`] is always a share of the steps that
    /// the arm took.
    pub duty_of: DutyOf,
    /// The registered family of contrasts, in the plan's order.
    pub contrasts: Vec<ContrastReport>,
    /// The largest differences of budgets that still count as equal.
    pub tolerance: Tolerance,
    /// Discrimination and calibration of the probe's early-window scores on the weak arm.
    #[serde(flatten)]
    pub discrimination: Discrimination,
    /// The score at each boundary of the weak arm's episodes.
    pub score_over_time: Vec<ScoreMoment>,
    /// The most instructive episodes of the arm `aegis`, at most five.
    pub instructive: Vec<Instructive>,
    /// Every kill criterion, evaluated.
    pub kill: [Judged; 5],
    /// Whether at least one kill criterion fired.
    pub killed: bool,
}

/// The results of one arm, compared with its weak twins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmReport {
    /// The arm's name.
    pub arm: ArmName,
    /// Share of episodes won, with a Clopper–Pearson interval.
    pub success: Proportion,
    /// Recovered and broken episodes and the net effect, against weak. `None` for weak itself.
    pub effects: Option<PairedEffects>,
    /// The same effects by task. Empty for weak itself.
    pub tasks: Vec<TaskRow>,
    /// The net effect with each task left out in turn. Empty for weak itself and for a study of a single task.
    pub without_task: Vec<LeftOut>,
    /// Mean number of fires per episode.
    pub fires: f64,
    /// Share of all control steps taken that the strong policy drove.
    pub duty: f64,
    /// The control steps of the hand-overs to the strong policy, and how much of an episode that policy drove.
    pub help: Help,
}

/// The result of one contrast of the family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContrastReport {
    /// The registered claim.
    #[serde(flatten)]
    pub claim: ContrastSettings,
    /// Counts of episodes, McNemar test and difference with its interval.
    pub figures: Contrast,
    /// The p-value adjusted by Holm over the family.
    pub adjusted: f64,
    /// Whether the claim holds at the plan's level. False if the arms' budgets are shown to differ or cannot be compared.
    pub holds: bool,
    /// Comparison of what both arms spent. `None` where one arm is not gated, as its budget need not be equal, and where
    /// `budget_unknown` is true.
    pub budget: Option<BudgetMatch>,
    /// Whether budgets have to be equal and cannot be compared, because all episodes share one start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub budget_unknown: bool,
    /// E-value of the sequential McNemar test, valid at any stopping time. `None` unless the plan registered the test.
    pub e_value: Option<f64>,
}

/// Error of making a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The plan has no `[study]`.
    #[error(
        "study: found no table [study] in the plan; valid is a plan with one, because a report is on its contrasts"
    )]
    NoStudy,
    /// No complete set has a result of this arm.
    #[error("arm {0}: found no complete set of twins; run `aegis experiment run` first")]
    NoResults(ArmName),
    /// The forks are not those of the study's episodes.
    #[error(
        "forks: {0}; valid is the forks of this study's weak episodes, which `aegis collect confirmation --forks` makes"
    )]
    Forks(String),
    /// A figure cannot be drawn.
    #[error("figure: {0}")]
    Figure(String),
    /// A statistic cannot be computed.
    #[error("{what}: {source}")]
    Statistics {
        /// The arm or contrast that the statistic is of.
        what: String,
        /// The reason.
        source: StatisticsError,
    },
}

/// The results of complete sets, by arm, in the order of their keys.
struct ByArm<'a>(BTreeMap<&'a ArmName, Vec<&'a EpisodeResult>>);

impl<'a> ByArm<'a> {
    fn new(study: &'a StudySettings, results: &'a [EpisodeResult], complete: &[EpisodeKey]) -> Self {
        let mut arms: BTreeMap<&ArmName, BTreeMap<EpisodeKey, &EpisodeResult>> = BTreeMap::new();
        for result in results.iter().filter(|result| complete.binary_search(&result.key).is_ok()) {
            arms.entry(&result.arm).or_default().insert(result.key, result);
        }
        let listed = study.arms.iter().filter_map(|name| arms.remove(name).map(|of_arm| (name, of_arm)));
        Self(listed.map(|(name, of_arm)| (name, of_arm.into_values().collect())).collect())
    }

    fn of(&self, name: &ArmName) -> Result<&[&'a EpisodeResult], ReportError> {
        let found = self.0.get(name).filter(|of_arm| !of_arm.is_empty());
        found.map(Vec::as_slice).ok_or_else(|| ReportError::NoResults(name.clone()))
    }
}

/// Returns the largest of `values`, at least 0. NaN counts as infinity, so that an unknown value exceeds every limit.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) })
}

/// Computes the report of the plan's study from the stored `results`. `keys` are all keys of the plan; `calibrator` is the
/// one of the plan's probe. A set that lacks an arm is counted as missing and used for nothing else. With the `forks` of every weak
/// episode at every boundary, the arms are compared with an oracle.
///
/// # Errors
/// [`ReportError`] if the plan has no study, an arm has no results or a statistic cannot be computed.
pub fn report(
    plan: &Plan,
    keys: &[EpisodeKey],
    results: &[EpisodeResult],
    calibrator: &PlattScaling,
    forks: Option<&[EpisodeForks]>,
) -> Result<Report, ReportError> {
    let study = plan.study.as_ref().ok_or(ReportError::NoStudy)?;
    let audit = audit(study, keys, results, &|key| plan.disturbance(key));
    let by_arm = ByArm::new(study, results, &audit.complete);
    let weak = by_arm.of(&WEAK.into())?;
    let arms = study
        .arms
        .iter()
        .map(|name| arm_report(name, weak, by_arm.of(name)?, plan, study))
        .collect::<Result<Vec<_>, _>>()?;
    let contrasts = contrasts(plan, study, weak, &by_arm)?;
    let weak_path = WeakPath::new(weak.iter().copied());
    let discrimination = weak_path.discrimination(plan, study, calibrator);

    let harm = arms.iter().find(|arm| arm.arm == *crate::episode::arm::AEGIS).and_then(|arm| arm.effects);
    let harm = harm.map(|effects| effects.broken.map_or(0.0, |broken| broken.proportion.estimate));
    let mismatch = |budget: BudgetMatch| 100.0 * budget.duty.difference.estimate.abs();
    let mismatches = contrasts.iter().filter_map(|one| one.budget.map(mismatch));
    let kill = study.kill.judge(&Quantities {
        auroc_lower: discrimination.auroc.map(|estimate| estimate.lower),
        duty_mismatch_points: (!contrasts.iter().any(|one| one.budget_unknown)).then(|| largest(mismatches)),
        crn_violations: Some(audit.violations.len() as u64),
        missing_episodes: Some(audit.missing.len() as u64),
        harm,
    });
    let killed = kill.iter().any(|criterion| criterion.fired);
    let complete = by_arm.0.values().flatten().copied();
    let in_order: Vec<&EpisodeResult> =
        study.arms.iter().filter_map(|name| by_arm.0.get(name)).flatten().copied().collect();
    Ok(Report {
        disturbances: Disturbances::of(in_order, plan.gate.horizon_steps),
        hindsight: forks.map(|forks| Hindsight::of(plan, study, &by_arm, forks)).transpose()?,
        horizon_steps: plan.gate.horizon_steps,
        duty_of: study.budget_tolerance.duty_of,
        tolerance: study.tolerance(),
        score_over_time: weak_path.over_time(),
        instructive: instructive(complete),
        audit,
        arms,
        contrasts,
        discrimination,
        kill,
        killed,
    })
}

fn failed<'a>(what: impl Into<String> + 'a) -> impl FnOnce(StatisticsError) -> ReportError + 'a {
    |source| ReportError::Statistics { what: what.into(), source }
}

fn arm_report(
    name: &ArmName,
    weak: &[&EpisodeResult],
    results: &[&EpisodeResult],
    plan: &Plan,
    study: &StudySettings,
) -> Result<ArmReport, ReportError> {
    let what = || format!("arm {name}");
    let count = |of: fn(&EpisodeResult) -> u64| results.iter().map(|result| of(result)).sum::<u64>();
    let won = count(|result| u64::from(result.success));
    let level = study.bootstrap.level;
    let twins: Vec<Twin> = weak
        .iter()
        .zip(results)
        .map(|(weak, arm)| Twin {
            task: arm.key.start.task,
            initial_state: arm.key.start.initial_state,
            weak: weak.success,
            arm: arm.success,
        })
        .collect();
    let itself = *name == *WEAK;
    let steps = count(|result| u64::from(result.steps));
    Ok(ArmReport {
        arm: name.clone(),
        success: Proportion::new(won, results.len() as u64, level).map_err(failed(what()))?,
        effects: match itself {
            true => None,
            false => Some(paired_effects(&twins, &study.bootstrap()).map_err(failed(what()))?),
        },
        tasks: if itself { Vec::new() } else { task_table(&twins, level).map_err(failed(what()))? },
        // Leaving out a task fails for a study of one task; the table is empty then.
        without_task: if itself { Vec::new() } else { leave_one_task_out(&twins).unwrap_or_default() },
        fires: count(|result| u64::from(result.fires)) as f64 / results.len() as f64,
        duty: count(|result| u64::from(result.strong_steps)) as f64 / steps.max(1) as f64,
        help: Help::of(results.iter().copied(), plan.gate.horizon_steps),
    })
}

fn contrasts(
    plan: &Plan,
    study: &StudySettings,
    weak: &[&EpisodeResult],
    by_arm: &ByArm<'_>,
) -> Result<Vec<ContrastReport>, ReportError> {
    let figures = study
        .contrasts
        .iter()
        .map(|claim| figures(claim, plan, study, weak, by_arm))
        .collect::<Result<Vec<_>, _>>()?;
    let p_values: Vec<f64> = figures.iter().map(|(figures, ..)| figures.mcnemar.one_sided).collect();
    let adjusted = holm(&p_values).map_err(failed("contrasts"))?;
    let reports = study.contrasts.iter().zip(figures).zip(adjusted);
    Ok(reports
        .map(|((claim, (figures, budget, budget_unknown)), adjusted)| {
            let differs = |budget: &BudgetMatch| {
                [budget.fires.verdict, budget.duty.verdict].contains(&Verdict::Mismatched)
            };
            ContrastReport {
                claim: claim.clone(),
                holds: adjusted <= study.alpha && !budget_unknown && !budget.as_ref().is_some_and(differs),
                e_value: study.sequential.then(|| mcnemar_e_value(figures.b, figures.c)),
                figures,
                adjusted,
                budget,
                budget_unknown,
            }
        })
        .collect())
}

fn figures(
    claim: &ContrastSettings,
    plan: &Plan,
    study: &StudySettings,
    weak: &[&EpisodeResult],
    by_arm: &ByArm<'_>,
) -> Result<(Contrast, Option<BudgetMatch>, bool), ReportError> {
    let what = || format!("{} against {}", claim.better, claim.than);
    let (better, than) = (by_arm.of(&claim.better)?, by_arm.of(&claim.than)?);
    let pairs = || weak.iter().zip(better).zip(than);
    let triplets: Vec<Triplet> = pairs()
        .map(|((weak, better), than)| Triplet {
            task: weak.key.start.task,
            initial_state: weak.key.start.initial_state,
            weak: weak.success,
            treatment: better.success,
            control: than.success,
        })
        .collect();
    let figures = contrast(&triplets, claim.over(), &study.bootstrap()).map_err(failed(what()))?;
    let gated = |name: &ArmName| *name != *WEAK && *name != *STRONG;
    if !gated(&claim.better) || !gated(&claim.than) {
        return Ok((figures, None, false));
    }
    let spent = |result: &EpisodeResult| Spending {
        fires: result.fires,
        steps: match study.budget_tolerance.duty_of {
            DutyOf::Steps => result.steps,
            DutyOf::Horizon => plan.gate.horizon_steps,
        },
        strong_steps: result.strong_steps,
    };
    let spending: Vec<SpendingPair> = pairs()
        .map(|((weak, better), than)| SpendingPair {
            task: weak.key.start.task,
            initial_state: weak.key.start.initial_state,
            treatment: spent(better),
            control: spent(than),
        })
        .collect();
    match budget_match(&spending, study.tolerance(), &study.bootstrap()) {
        Err(StatisticsError::FewClusters { .. }) => Ok((figures, None, true)),
        budget => Ok((figures, Some(budget.map_err(failed(what()))?), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_counts_as_the_largest() {
        assert_eq!(largest([0.5, 2.0, 1.0].into_iter()), 2.0);
        assert_eq!(largest([0.5, f64::NAN, 1.0].into_iter()), f64::INFINITY);
    }
}
