//! What a study came to: every figure of its report, made from stored results and the plan alone.
//! Pure: the same results give the same report, whoever asks and in whatever order the episodes came.

mod advice;
mod arms;
mod audit;
mod background;
mod charts;
mod exemplars;
mod intervention_timing;
mod method;
mod origins;
mod page;
mod pilot;
mod probe_discrimination;
mod render;
mod tables;

use std::collections::BTreeMap;

use aegis_core::platt::PlattScaling;
use aegis_statistics::{
    BudgetMatch, Contrast, LeftOut, PairedEffects, Proportion, Spending, SpendingPair, StatisticsError,
    TaskRow, Tolerance, Triplet, Twin, Verdict, budget_match, contrast, holm, leave_one_task_out,
    mcnemar_e_value, paired_effects, task_table,
};
use serde::Serialize;

use crate::arm::{ArmName, WEAK};
use crate::episode::EpisodeResult;
use crate::key::EpisodeKey;
use crate::plan::Plan;
use crate::study::{ContrastSettings, DutyOf, Judged, Quantities, STRONG, StudySettings};

pub use audit::{Audit, audit};
pub use background::Background;
pub use exemplars::{Instructive, RECORDINGS, instructive};
pub use intervention_timing::Help;
pub use page::{Figure, Layout, Link, Outcome, Page, Table};
pub use pilot::ShareAdvice;
pub use probe_discrimination::{Discrimination, ScoreMoment, WeakPath};
pub use tables::plain;

/// Everything that a report says in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether the results are whole, and the twins twins.
    pub audit: Audit,
    /// Every arm, in the plan's order.
    pub arms: Vec<ArmReport>,
    /// Control steps after which an episode is lost.
    pub horizon_steps: u32,
    /// Of which steps the budgets' duty is a share; that of an arm is always of the steps that it took.
    pub duty_of: DutyOf,
    /// The registered family, in its order.
    pub contrasts: Vec<ContrastReport>,
    /// How far apart budgets may be.
    pub tolerance: Tolerance,
    /// What the probe's early scores on the weak path are worth.
    #[serde(flatten)]
    pub discrimination: Discrimination,
    /// The score along the weak path.
    pub score_over_time: Vec<ScoreMoment>,
    /// The episodes that show most, at most five.
    pub instructive: Vec<Instructive>,
    /// Every kill criterion.
    pub kill: [Judged; 5],
    /// Whether one of them fired.
    pub killed: bool,
}

/// One arm beside its weak twins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmReport {
    /// Its name.
    pub arm: ArmName,
    /// Episodes won, with a Clopper–Pearson interval.
    pub success: Proportion,
    /// Recovered, broken and net, against weak; none for weak itself.
    pub effects: Option<PairedEffects>,
    /// By task; empty for weak itself.
    pub tasks: Vec<TaskRow>,
    /// The net effect without each task in turn; empty for weak itself.
    pub without_task: Vec<LeftOut>,
    /// Fires per episode.
    pub fires: f64,
    /// Share of all control steps that the strong policy drove.
    pub duty: f64,
    /// When its help began and how much of it there was.
    pub help: Help,
}

/// One contrast of the family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContrastReport {
    /// The claim.
    #[serde(flatten)]
    pub claim: ContrastSettings,
    /// Counts, test and difference.
    pub figures: Contrast,
    /// The p-value adjusted by Holm over the family.
    pub adjusted: f64,
    /// Whether the claim holds at the plan's level: not if its budgets are shown to differ, or nothing is known of them.
    pub holds: bool,
    /// What both arms spent; none where one of them is not gated, so that budgets are not meant to be equal.
    pub budget: Option<BudgetMatch>,
    /// Whether budgets are meant to be equal and all episodes are of one start, so that nobody can say whether they are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub budget_unknown: bool,
    /// Evidence that may be looked at at any time, where the plan registered it.
    pub e_value: Option<f64>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The plan has no `[study]`.
    #[error("the plan has no [study], so there is nothing to report on")]
    NoStudy,
    /// There are no results of an arm.
    #[error("arm {0}: found no complete set of twins; run `aegis experiment run` first")]
    NoResults(ArmName),
    /// A figure cannot be drawn.
    #[error("figure: {0}")]
    Figure(String),
    /// The figures cannot be made.
    #[error("{what}: {source}")]
    Statistics {
        /// Of what.
        what: String,
        /// Why.
        source: StatisticsError,
    },
}

/// The results of complete sets of twins, by arm, keys in order.
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

/// The largest of what must not be large; NaN is larger than anything, as nobody knows how large it is.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) })
}

/// Makes the report of a plan's study from what is stored for `keys`, all of the plan's. Sets of twins that lack an arm
/// count as missing and for nothing else. `calibrator` is that of the plan's probe.
///
/// # Errors
/// [`ReportError`].
pub fn report(
    plan: &Plan,
    keys: &[EpisodeKey],
    results: &[EpisodeResult],
    calibrator: &PlattScaling,
) -> Result<Report, ReportError> {
    let study = plan.study.as_ref().ok_or(ReportError::NoStudy)?;
    let audit = audit(study, keys, results);
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

    let harm = arms.iter().find(|arm| arm.arm == *crate::arm::AEGIS).and_then(|arm| arm.effects);
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
    Ok(Report {
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
        // Of a study of one task there is nothing to leave out.
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
    fn what_is_no_number_is_the_largest() {
        assert_eq!(largest([0.5, 2.0, 1.0].into_iter()), 2.0);
        assert_eq!(largest([0.5, f64::NAN, 1.0].into_iter()), f64::INFINITY);
    }
}
