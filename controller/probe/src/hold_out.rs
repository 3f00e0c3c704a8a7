//! Leave-K-tasks-out: for every group of K tasks, fits on the discovery episodes of the other tasks, and judges on the evaluation
//! episodes of the group, beside the heads that have seen all tasks.

use std::collections::BTreeSet;

use aegis_core::platt::PlattScaling;
use aegis_core::probe::{OutcomeHead, Probe, ProbeError};
use aegis_core::{BenefitHead, Start};
use aegis_statistics::{
    Bootstrap, Clusters, Estimate, Method, Qini, StatisticsError, auroc_within, auroc_within_interval,
};
use serde::Serialize;

use crate::benefit::{FittedBenefit, Forked, ForkedBoundary, defined, examples};
use crate::calibration::{CalibrationError, Scored};
use crate::evaluation::EvaluationError;
use crate::file::ProbeFile;
use crate::fit::{FitSettings, trajectory};
use crate::rollout::Rollout;
use crate::training::{Trajectory, fit};

/// Figures on tasks that a fit has not seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HoldOut {
    /// Tasks in a group; the last group may have fewer.
    pub tasks: usize,
    /// Groups, in the order of their tasks.
    pub groups: Vec<HeldOutGroup>,
    /// Early-window AUROC within task of the risk heads that have not seen the task; `None` where no task has both outcomes.
    pub unseen: Option<Estimate>,
    /// The same of the probe, which has seen every task.
    pub seen: Option<Estimate>,
    /// Qini coefficients of benefit heads; `None` without forks of both ranges or without a benefit head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benefit: Option<HeldOutBenefit>,
}

/// Group of tasks that one fit has not seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOutGroup {
    /// Tasks that were left out of the fit.
    pub tasks: Vec<usize>,
    /// Evaluation episodes of these tasks.
    pub episodes: usize,
    /// Those of them that the weak policy lost.
    pub lost: usize,
    /// Early-window AUROC within task; `None` where no task of the group has both outcomes.
    pub auroc: Option<f64>,
}

/// Qini coefficients on tasks that a fit has not seen and, by the probe's own heads, on the same tasks seen. Both are of heads without
/// calibration, because calibration episodes are of all tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOutBenefit {
    /// Benefit heads that have not seen the task; `None` where every boundary has the same benefit.
    pub unseen: Option<Estimate>,
    /// The probe's benefit head.
    pub seen: Option<Estimate>,
}

/// Error of leaving tasks out.
#[derive(Debug, thiserror::Error)]
pub enum HoldOutError {
    /// No task would remain to fit on, or none is left out.
    #[error(
        "--hold-out-tasks: found {found}; valid is 1 to {most}: of {tasks} tasks at least one has to remain to fit on"
    )]
    Tasks {
        /// Tasks in a group.
        found: usize,
        /// Most tasks in a group.
        most: usize,
        /// Tasks of the evaluation.
        tasks: usize,
    },
    /// The other tasks' episodes do not determine a fit.
    #[error("--hold-out-tasks: without tasks {held:?} no head can be fitted on discovery: {source}")]
    Fit {
        /// Tasks that were left out.
        held: Vec<usize>,
        /// Error of the fit.
        source: ProbeError,
    },
    /// A head cannot read the rollouts, or these do not determine a figure.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

/// Episodes of one range: rollouts, and their forks where there are any.
#[derive(Clone, Copy, Debug)]
pub struct Episodes<'a> {
    /// Rollouts.
    pub rollouts: &'a [Rollout],
    /// Forks of the same episodes.
    pub forked: Option<&'a Forked<'a>>,
}

/// Leaves groups of `count` tasks out, with the settings and the chosen penalties of `file`. Intervals resample starts.
///
/// # Errors
/// [`HoldOutError`].
pub fn hold_out(
    file: &ProbeFile,
    (discovery, fresh): (Episodes<'_>, Episodes<'_>),
    count: usize,
    horizon_steps: u32,
    seed: u64,
) -> Result<HoldOut, HoldOutError> {
    let tasks: BTreeSet<usize> = fresh.rollouts.iter().map(|rollout| rollout.key.start.task).collect();
    let tasks: Vec<usize> = tasks.into_iter().collect();
    let most = tasks.len().saturating_sub(1);
    if count == 0 || count > most {
        return Err(HoldOutError::Tasks { found: count, most, tasks: tasks.len() });
    }
    let settings = &file.settings;
    let (window, early_end) = [settings.window_fraction, settings.early_fraction]
        .map(|share| share * f64::from(horizon_steps))
        .into();
    let seen = early(&file.probe, fresh.rollouts, early_end)?;
    let mut unseen = seen.clone();
    let mut benefits = BenefitScores::new(file, discovery, fresh)?;
    let mut groups = Vec::new();
    for held in tasks.chunks(count) {
        let failed_fit = |source| HoldOutError::Fit { held: held.to_vec(), source };
        let others = discovery.rollouts.iter().filter(|rollout| !held.contains(&rollout.key.start.task));
        let trajectories: Vec<Trajectory> = others.map(|rollout| trajectory(rollout, window)).collect();
        let probe = refit(&trajectories, settings, file.penalty).map_err(failed_fit)?;
        let scores = early(&probe, fresh.rollouts, early_end)?;
        let (mut failed, mut of_group, mut of_task) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rollout) in fresh.rollouts.iter().enumerate() {
            if held.contains(&rollout.key.start.task) {
                unseen[place] = scores[place];
                failed.push(!rollout.success);
                of_group.push(scores[place]);
                of_task.push(rollout.key.start.task);
            }
        }
        groups.push(HeldOutGroup {
            tasks: held.to_vec(),
            episodes: failed.len(),
            lost: failed.iter().filter(|failed| **failed).count(),
            auroc: auroc_within(&failed, &of_group, &of_task).ok(),
        });
        if let Some(benefits) = &mut benefits {
            benefits.add(held, settings).map_err(|error| match error {
                EvaluationError::Calibration(CalibrationError::Probe(source)) => failed_fit(source),
                other => other.into(),
            })?;
        }
    }
    let bootstrap = Bootstrap { replicates: 2000, seed, confidence: 0.95, method: Method::Percentile };
    let failed: Vec<bool> = fresh.rollouts.iter().map(|rollout| !rollout.success).collect();
    let starts: Vec<Start> = fresh.rollouts.iter().map(|rollout| rollout.key.start).collect();
    let of_task: Vec<usize> = starts.iter().map(|start| start.task).collect();
    let within = |scores: &[f64]| match auroc_within_interval(&failed, scores, &of_task, &starts, &bootstrap)
    {
        Ok(estimate) => Ok(Some(estimate)),
        Err(StatisticsError::NoMixedGroup { .. }) => Ok(None),
        Err(error) => Err(EvaluationError::from(error)),
    };
    Ok(HoldOut {
        tasks: count,
        groups,
        unseen: within(&unseen)?,
        seen: within(&seen)?,
        benefit: benefits
            .map(|scores| scores.measure(&bootstrap))
            .transpose()
            .map_err(EvaluationError::from)?,
    })
}

/// Benefit of every forked boundary of the evaluation, by heads that have and have not seen its task.
struct BenefitScores<'a> {
    fitted: &'a FittedBenefit,
    discovery: &'a Forked<'a>,
    fresh: &'a Forked<'a>,
    seen: Vec<f64>,
    unseen: Vec<f64>,
}

impl<'a> BenefitScores<'a> {
    /// Reads the benefits by the probe's own head; `None` without one, and without forks of either range.
    fn new(
        file: &'a ProbeFile,
        discovery: Episodes<'a>,
        fresh: Episodes<'a>,
    ) -> Result<Option<Self>, EvaluationError> {
        let (Some(fitted), Some(discovery), Some(fresh)) = (&file.benefit, discovery.forked, fresh.forked)
        else {
            return Ok(None);
        };
        let [without, with] = fitted.head.outcomes().map(|(_, outcome)| outcome.probe.clone());
        let seen = benefits(&plain(without, with), &fresh.boundaries)?;
        Ok(Some(Self { fitted, discovery, fresh, unseen: seen.clone(), seen }))
    }

    /// Fits heads without the tasks `held`, and reads the benefits of these tasks' boundaries.
    fn add(&mut self, held: &[usize], settings: &FitSettings) -> Result<(), EvaluationError> {
        let others = self.discovery.boundaries.iter().filter(|one| !held.contains(&one.start().task));
        let others: Vec<ForkedBoundary<'_>> = others.copied().collect();
        let kind = self.fitted.head.without_hold.probe.kind();
        let settings = FitSettings { head: kind, ..settings.clone() };
        let head = |index: usize| {
            refit(&examples(&others, index), &settings, self.fitted.penalties[index])
                .map_err(CalibrationError::Probe)
        };
        let head = plain(head(0)?, head(1)?);
        let scores = benefits(&head, &self.fresh.boundaries)?;
        for (place, one) in self.fresh.boundaries.iter().enumerate() {
            if held.contains(&one.start().task) {
                self.unseen[place] = scores[place];
            }
        }
        Ok(())
    }

    fn measure(&self, bootstrap: &Bootstrap) -> Result<HeldOutBenefit, StatisticsError> {
        let boundaries = &self.fresh.boundaries;
        let starts: Vec<Start> = boundaries.iter().map(ForkedBoundary::start).collect();
        let clusters = Clusters::new(&starts)?;
        let truth: Vec<f64> = boundaries.iter().map(ForkedBoundary::benefit).collect();
        let weights: Vec<f64> = boundaries.iter().map(|one| 1.0 / one.fork.inclusion).collect();
        let qini = |scores: &[f64]| {
            defined(Qini::new(&truth, &weights, scores, &clusters)?.interval(&clusters, bootstrap))
        };
        Ok(HeldOutBenefit { unseen: qini(&self.unseen)?, seen: qini(&self.seen)? })
    }
}

/// Combines two heads whose scores are taken as probabilities.
fn plain(without: Probe, with: Probe) -> BenefitHead {
    let outcome = |probe| OutcomeHead { probe, calibration: PlattScaling { slope: 1.0, intercept: 0.0 } };
    BenefitHead { without_hold: outcome(without), with_hold: outcome(with) }
}

fn benefits(head: &BenefitHead, boundaries: &[ForkedBoundary<'_>]) -> Result<Vec<f64>, EvaluationError> {
    let mut memory = head.memory();
    let read = |one: &ForkedBoundary<'_>| {
        Ok(head.benefit(&mut memory, &one.boundary.features).map_err(CalibrationError::Probe)?)
    };
    boundaries.iter().map(read).collect()
}

fn refit(trajectories: &[Trajectory], settings: &FitSettings, penalty: f64) -> Result<Probe, ProbeError> {
    fit(&trajectories.iter().collect::<Vec<_>>(), &settings.options(penalty))
}

/// Returns the early score of each rollout.
fn early(probe: &Probe, rollouts: &[Rollout], end: f64) -> Result<Vec<f64>, EvaluationError> {
    let one = |rollout: &Rollout| Ok(Scored::of(probe, rollout)?.early(end));
    rollouts.iter().map(one).collect()
}
