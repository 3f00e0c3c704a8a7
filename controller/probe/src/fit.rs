//! Fits a probe on discovery rollouts and chooses its penalty by cross-validation. Folds contain whole starts, so that
//! no start is in both training and held-out data, and every fold has starts of every task.

use std::collections::{BTreeMap, BTreeSet};

use crate::training::{self, FitOptions, Fitter, Trajectory};
use aegis_core::Start;
use aegis_core::probe::{HeadKind, Probe, ProbeError};
use serde::{Deserialize, Serialize};

use crate::rollout::{Boundary, Rollout};

/// Settings of fitting and calibrating a probe, as a table of a plan.
///
/// Every boundary in the window is labelled with the outcome of its episode, which the weak policy drove alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitSettings {
    /// Kind of the head.
    pub head: HeadKind,
    /// L2 penalties on the standardised weights to choose from; the loss sums one unit per trajectory.
    pub penalties: Vec<f64>,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// Hidden units of a head that has any.
    pub hidden: usize,
    /// Passes over the trajectories, for a head that is trained iteratively.
    pub epochs: usize,
    /// Seed of such a head's initial weights.
    pub seed: u64,
    /// The fit uses boundaries before this fraction of the horizon; 1 uses all.
    pub window_fraction: f64,
    /// Largest fraction of the episodes won by the weak policy that may raise an alarm.
    pub alpha: f64,
    /// Fraction of the single scores of successful episodes that may lie above the return threshold.
    pub return_alpha: f64,
    /// Early window in which the probe is evaluated, as a fraction of the horizon.
    pub early_fraction: f64,
    /// Number of scores over which the trend rule computes its slope.
    pub trend_window: usize,
}

/// Most folds of a cross-validation.
const FOLDS: usize = 100;
/// Most hidden units of a head, whose number of weights grows with the square.
const HIDDEN: usize = 1_024;
/// Most passes of a fit over its rollouts.
const EPOCHS: usize = 100_000;
/// Most penalties to choose from.
const PENALTIES: usize = 1_000;
/// Most scores of a slope.
const WINDOW: usize = 100_000;

impl FitSettings {
    /// Checks that all numbers are within their upper bounds; the error names the field, the bound and its reason.
    pub fn check_bounds(&self) -> Result<(), (&'static str, String)> {
        for (field, found, most, reason) in [
            ("fit.folds", self.folds, FOLDS, "each is fitted by a thread of its own"),
            ("fit.hidden", self.hidden, HIDDEN, "weights grow with their square"),
            ("fit.epochs", self.epochs, EPOCHS, "each is a pass over all rollouts"),
            ("fit.penalties", self.penalties.len(), PENALTIES, "each costs a cross-validation"),
            ("fit.trend_window", self.trend_window, WINDOW, "no episode has more scores"),
        ] {
            if found > most {
                return Err((field, format!("found {found}; valid is at most {most}, because {reason}")));
            }
        }
        Ok(())
    }

    /// Checks all values; the error names the field and its valid values.
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

    /// Returns the options of a fit at one penalty.
    pub(crate) fn options(&self, penalty: f64) -> FitOptions {
        FitOptions { kind: self.head, penalty, hidden: self.hidden, seed: self.seed, epochs: self.epochs }
    }
}

/// One penalty and its loss on the held-out folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Penalty.
    pub penalty: f64,
    /// Cross-entropy per held-out trajectory; the boundaries of a trajectory have equal weights.
    pub held_out_loss: f64,
}

/// Fitted probe and the choice of its penalty.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Probe, fitted on all discovery rollouts at the chosen penalty.
    pub probe: Probe,
    /// Penalty with the smallest held-out loss; the larger one of equals.
    pub penalty: f64,
    /// All penalties that were compared, in the order of the settings.
    pub candidates: Vec<Candidate>,
}

/// Returns the number of heads that [`fit`] fits: one for each fold at each penalty, and the one that is kept.
pub fn fits(settings: &FitSettings) -> usize {
    choices(settings).len() * settings.folds + 1
}

/// Returns the penalties to compare; empty where there is only one.
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
    choose(&trajectories, discovery.iter().map(|rollout| rollout.key.start), settings, done)
}

/// Chooses the penalty by cross-validation over starts, of which each trajectory has one, and fits the head on all trajectories.
pub(crate) fn choose(
    trajectories: &[Trajectory],
    starts: impl Iterator<Item = Start> + Clone,
    settings: &FitSettings,
    done: &(dyn Fn() + Sync),
) -> Result<Fitted, ProbeError> {
    // Checked before folds are made, so that the index in an error message is an index into `trajectories`.
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    training::check(&all)?;
    let folds = folds(starts, settings.folds);
    let candidates = candidates(trajectories, &folds, settings, done)?;
    let best = candidates
        .iter()
        .min_by(|a, b| a.held_out_loss.total_cmp(&b.held_out_loss).then(b.penalty.total_cmp(&a.penalty)));
    let penalty = best.map_or(settings.penalties[0], |best| best.penalty);
    let probe = training::fit(&all, &settings.options(penalty))?;
    done();
    Ok(Fitted { probe, penalty, candidates })
}

/// Returns the part of a rollout that a fit reads: its boundaries before control step `window`, and always the first
/// one.
pub(crate) fn trajectory(rollout: &Rollout, window: f64) -> Trajectory {
    let within = |boundary: &&Boundary| boundary.step == 0 || f64::from(boundary.step) < window;
    let features = rollout.boundaries.iter().filter(within).map(|boundary| boundary.features.clone());
    Trajectory { features: features.collect(), failed: !rollout.success }
}

/// Returns the fold of each start. The starts of each task are assigned to folds in turn, so that folds share no
/// start and every fold has each task that has as many starts as there are folds.
fn folds(starts: impl Iterator<Item = Start> + Clone, count: usize) -> Vec<usize> {
    let mut by_task: BTreeMap<usize, BTreeSet<Start>> = BTreeMap::new();
    for start in starts.clone() {
        by_task.entry(start.task).or_default().insert(start);
    }
    // Tasks of one start each would all be in the first fold, and leave nothing to fit on: such tasks take folds in turn.
    let has_several = by_task.values().any(|starts| starts.len() > 1);
    let fold: BTreeMap<Start, usize> = by_task
        .values()
        .enumerate()
        .flat_map(|(place, starts)| {
            let first = if has_several { 0 } else { place };
            starts.iter().enumerate().map(move |(index, start)| (*start, (first + index) % count))
        })
        .collect();
    starts.map(|start| fold[&start]).collect()
}

/// Computes the held-out loss of each penalty by cross-validation.
fn candidates(
    trajectories: &[Trajectory],
    folds: &[usize],
    settings: &FitSettings,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Candidate>, ProbeError> {
    let choices = choices(settings);
    // Returns the summed losses of the held-out trajectories at each penalty, and the number of these trajectories.
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
    // Each fold has a thread, since a fit takes seconds. The sums below do not depend on the order in which threads
    // end.
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

/// Returns the cross-entropy of the outcome, averaged over the boundaries of a trajectory.
fn loss(probe: &Probe, trajectory: &Trajectory) -> Result<f64, ProbeError> {
    // Bounds the loss of a score of 0 or 1 that is wrong, which would be infinite.
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
    fn tasks_of_one_start_each_take_folds_in_turn() {
        let starts = |states: usize| {
            (0..6).flat_map(move |task| (0..states).map(move |initial_state| Start { task, initial_state }))
        };
        assert_eq!(folds(starts(1), 4), [0, 1, 2, 3, 0, 1], "no fold leaves nothing to fit on");
        assert_eq!(folds(starts(2), 4), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], "as it has always been");
    }

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
