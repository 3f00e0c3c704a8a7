//! Fitting a probe on discovery rollouts, its penalty chosen by cross-validation.
//! Folds hold whole starts, so no episode is on both sides, and every fold has starts of every task.

use std::collections::{BTreeMap, BTreeSet};

use aegis_core::Start;
use aegis_core::probe::{FitOptions, Fitter, HeadKind, Probe, ProbeError, Trajectory};
use serde::{Deserialize, Serialize};

use crate::rollouts::{Boundary, Rollout};

/// How a probe is fitted and calibrated: settings of a plan.
///
/// Every boundary in the window carries the outcome of its episode, left to the weak policy, as its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitSettings {
    /// Which head.
    pub head: HeadKind,
    /// L2 penalties on the standardised weights to choose from; the loss sums one unit per trajectory.
    pub penalties: Vec<f64>,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// Hidden units of a head that has any.
    pub hidden: usize,
    /// Passes over the trajectories of a head that is trained step by step.
    pub epochs: usize,
    /// Where such a head starts.
    pub seed: u64,
    /// Boundaries before this share of the horizon are fitted on; 1 takes all.
    pub window_fraction: f64,
    /// At most this share of the episodes that weak wins may raise an alarm.
    pub alpha: f64,
    /// The return threshold lies above all but this share of the single scores of won episodes.
    pub return_alpha: f64,
    /// The early window, as a share of the horizon, in which the probe is judged.
    pub early_fraction: f64,
    /// Scores that the trend rule takes its slope over.
    pub trend_window: usize,
}

impl FitSettings {
    /// Refuses values that no fit could work with; names the field and what would do.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let share = |value: f64| value > 0.0 && value < 1.0;
        let penalties =
            !self.penalties.is_empty() && self.penalties.iter().all(|one| *one > 0.0 && one.is_finite());
        let window = self.window_fraction > 0.0 && self.window_fraction <= 1.0;
        for (field, ok, found, valid) in [
            ("fit.penalties", penalties, format!("{:?}", self.penalties), "one or more, each above 0"),
            ("fit.folds", self.folds >= 2, self.folds.to_string(), "2 or more"),
            ("fit.hidden", self.hidden >= 1, self.hidden.to_string(), "1 or more"),
            ("fit.epochs", self.epochs >= 1, self.epochs.to_string(), "1 or more"),
            ("fit.window_fraction", window, self.window_fraction.to_string(), "above 0, up to 1"),
            ("fit.alpha", share(self.alpha), self.alpha.to_string(), "above 0, below 1"),
            ("fit.return_alpha", share(self.return_alpha), self.return_alpha.to_string(), "above 0, below 1"),
            (
                "fit.early_fraction",
                share(self.early_fraction),
                self.early_fraction.to_string(),
                "above 0, below 1",
            ),
            ("fit.trend_window", self.trend_window >= 2, self.trend_window.to_string(), "2 or more"),
        ] {
            if !ok {
                return Err((field, format!("found {found}; valid is {valid}")));
            }
        }
        Ok(())
    }

    /// The options of a fit at one penalty.
    pub(crate) fn options(&self, penalty: f64) -> FitOptions {
        FitOptions { kind: self.head, penalty, hidden: self.hidden, seed: self.seed, epochs: self.epochs }
    }
}

/// One penalty, judged on the folds that the fit did not see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The penalty.
    pub penalty: f64,
    /// Cross-entropy per held-out trajectory, each boundary of the window weighing alike within its own.
    pub held_out_loss: f64,
}

/// A fitted probe, and how its penalty was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The probe, fitted on all discovery rollouts at the chosen penalty.
    pub probe: Probe,
    /// The penalty of the smallest held-out loss; the larger one of equals.
    pub penalty: f64,
    /// All that were tried, in the order of the settings.
    pub candidates: Vec<Candidate>,
}

/// How many heads [`fit`] fits: one for each fold at each penalty, and the one that is kept.
pub fn fits(settings: &FitSettings) -> usize {
    choices(settings).len() * settings.folds + 1
}

/// The penalties that are held against each other; one alone is no choice.
fn choices(settings: &FitSettings) -> &[f64] {
    if settings.penalties.len() > 1 { &settings.penalties } else { &[] }
}

/// Chooses the penalty and fits the head; `done` is called after each of the [`fits`].
pub fn fit(
    discovery: &[Rollout],
    settings: &FitSettings,
    horizon_steps: u32,
    done: &(dyn Fn() + Sync),
) -> Result<Fitted, ProbeError> {
    let window = settings.window_fraction * f64::from(horizon_steps);
    let trajectories: Vec<Trajectory> = discovery.iter().map(|rollout| trajectory(rollout, window)).collect();
    // Here, where an index still means what it says.
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    aegis_core::probe::check(&all)?;
    let folds = folds(discovery.iter().map(|rollout| rollout.key.start), settings.folds);
    let candidates = candidates(&trajectories, &folds, settings, done)?;
    let best = candidates
        .iter()
        .min_by(|a, b| a.held_out_loss.total_cmp(&b.held_out_loss).then(b.penalty.total_cmp(&a.penalty)));
    let penalty = best.map_or(settings.penalties[0], |best| best.penalty);
    let probe = aegis_core::probe::fit(&all, &settings.options(penalty))?;
    done();
    Ok(Fitted { probe, penalty, candidates })
}

/// What a fit reads of a rollout: its boundaries before control step `window`, the first one at the least.
fn trajectory(rollout: &Rollout, window: f64) -> Trajectory {
    let within = |boundary: &&Boundary| boundary.step == 0 || f64::from(boundary.step) < window;
    let features = rollout.boundaries.iter().filter(within).map(|boundary| boundary.features.clone());
    Trajectory { features: features.collect(), failed: !rollout.success }
}

/// The fold of each rollout: starts of a task are dealt out in turn, so that folds share no start and no fold lacks a
/// task that has as many starts as there are folds.
fn folds(starts: impl Iterator<Item = Start> + Clone, count: usize) -> Vec<usize> {
    let mut by_task: BTreeMap<usize, BTreeSet<Start>> = BTreeMap::new();
    for start in starts.clone() {
        by_task.entry(start.task).or_default().insert(start);
    }
    let fold: BTreeMap<Start, usize> = by_task
        .values()
        .flat_map(|starts| starts.iter().enumerate().map(|(index, start)| (*start, index % count)))
        .collect();
    starts.map(|start| fold[&start]).collect()
}

/// Judges each penalty on the folds that its fits have not seen.
fn candidates(
    trajectories: &[Trajectory],
    folds: &[usize],
    settings: &FitSettings,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Candidate>, ProbeError> {
    let choices = choices(settings);
    // Losses of the held-out trajectories at each penalty, and how many trajectories those are.
    let one = |fold: usize| -> Result<(Vec<f64>, usize), ProbeError> {
        let split = |held: bool| -> Vec<&Trajectory> {
            let pairs = trajectories.iter().zip(folds);
            pairs.filter(|(_, of)| (**of == fold) == held).map(|(trajectory, _)| trajectory).collect()
        };
        let (fitter, held_out) = (Fitter::new(&split(false))?, split(true));
        let judge = |penalty: &f64| {
            let probe = fitter.fit(&settings.options(*penalty))?;
            done();
            let losses = held_out.iter().map(|trajectory| loss(&probe, trajectory));
            Ok(losses.collect::<Result<Vec<_>, _>>()?.iter().sum())
        };
        Ok((choices.iter().map(judge).collect::<Result<_, ProbeError>>()?, held_out.len()))
    };
    // One thread for each fold: a fit takes seconds, and the sums below do not depend on who ends first.
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let folds = if choices.is_empty() { 0 } else { settings.folds };
        let running: Vec<_> = (0..folds).map(|fold| scope.spawn(move || one(fold))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(Err(ProbeError::Empty))).collect()
    });
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let held_out: usize = outcomes.iter().map(|(_, count)| count).sum();
    let of = |(index, penalty): (usize, &f64)| {
        let total = outcomes.iter().fold(0.0, |total, (losses, _)| total + losses[index]);
        Candidate { penalty: *penalty, held_out_loss: total / held_out.max(1) as f64 }
    };
    Ok(choices.iter().enumerate().map(of).collect())
}

/// Cross-entropy of the outcome, averaged over the boundaries of a trajectory.
fn loss(probe: &Probe, trajectory: &Trajectory) -> Result<f64, ProbeError> {
    // Keeps one certain and wrong score from being worth infinitely much.
    const EDGE: f64 = 1e-9;
    let scores = probe.trace(&trajectory.features)?;
    let total: f64 = scores
        .iter()
        .map(|score| {
            let risk = score.risk().clamp(EDGE, 1.0 - EDGE);
            -if trajectory.failed { risk } else { 1.0 - risk }.ln()
        })
        .sum();
    Ok(total / scores.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_keep_starts_together_and_tasks_apart() {
        // Ten starts of three tasks, two replicates of each.
        let starts = || {
            (0..2).flat_map(|_| {
                (0..3).flat_map(|task| (0..10).map(move |initial_state| Start { task, initial_state }))
            })
        };
        let found = folds(starts(), 5);
        assert_eq!(found[..30], found[30..], "replicates of a start share its fold");
        for fold in 0..5 {
            for task in 0..3 {
                let count =
                    starts().zip(&found).filter(|(start, of)| start.task == task && **of == fold).count();
                assert_eq!(count, 4, "task {task}, fold {fold}");
            }
        }
    }
}
