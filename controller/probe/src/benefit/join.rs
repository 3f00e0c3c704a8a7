//! Joins forks to the rollouts of the same episodes, so that each forked boundary has its activation. Files that do not belong together
//! are refused.

use std::collections::BTreeMap;

use aegis_core::{EpisodeKey, GateLimits, Start};

use super::ForkData;
use crate::forks::{EpisodeForks, Fork, digest};
use crate::rollout::{Boundary, Rollout};

/// Statement of a file that another one contradicts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: found {found}; valid is {valid}")]
pub struct Contradiction {
    /// Column or key.
    pub field: String,
    /// Value that was found.
    pub found: String,
    /// Valid value, and what to do.
    pub valid: String,
}

/// Boundary of a weak episode from which branches began.
#[derive(Clone, Copy, Debug)]
pub struct ForkedBoundary<'a> {
    /// Weak episode.
    pub rollout: &'a Rollout,
    /// Index of the episode among the rollouts.
    pub episode: usize,
    /// Index of the boundary within the episode.
    pub index: usize,
    /// Boundary.
    pub boundary: &'a Boundary,
    /// Ends of its branches.
    pub fork: &'a Fork,
}

impl ForkedBoundary<'_> {
    /// Returns the start of the episode.
    pub fn start(&self) -> Start {
        self.rollout.key.start
    }

    /// Returns whether the episode fails without and with a hold from this boundary on.
    pub fn failures(&self) -> [bool; 2] {
        [!self.rollout.success, !self.fork.hold.success]
    }

    /// Returns the benefit of a hold: success with it minus success without it, −1, 0 or 1.
    pub fn benefit(&self) -> f64 {
        let [without, with] = self.failures();
        f64::from(u8::from(without)) - f64::from(u8::from(with))
    }
}

/// Rollouts joined with their forks.
#[derive(Clone, Debug)]
pub struct Forked<'a> {
    /// Boundaries with a fork, in the order of the rollouts.
    pub boundaries: Vec<ForkedBoundary<'a>>,
    /// Identity of the forks.
    pub data: ForkData,
    /// Whether every boundary at which a gate may fire has its fork, for each rollout.
    pub complete: Vec<bool>,
}

impl<'a> Forked<'a> {
    /// Joins rollouts with the forks of the same episodes, by key and control step.
    ///
    /// # Errors
    /// An episode that only one of them has, an episode with two outcomes, and a fork at a control step without a boundary. The field is
    /// a column of the file of forks.
    pub fn join(rollouts: &'a [Rollout], forks: &'a [EpisodeForks]) -> Result<Self, Contradiction> {
        let by_key: BTreeMap<EpisodeKey, &EpisodeForks> =
            forks.iter().map(|episode| (episode.key, episode)).collect();
        let known: BTreeMap<EpisodeKey, &Rollout> =
            rollouts.iter().map(|rollout| (rollout.key, rollout)).collect();
        let wrong = |field: &str, found: String, valid: String| {
            let valid = format!("{valid}: give the files that one call of `aegis collect --forks` wrote");
            Err(Contradiction { field: field.into(), found, valid })
        };
        if let Some(extra) = forks.iter().find(|episode| !known.contains_key(&episode.key)) {
            return wrong("rows", words(extra.key), "episodes of the rollouts".into());
        }
        let (mut boundaries, mut complete) = (Vec::new(), Vec::new());
        for (place, rollout) in rollouts.iter().enumerate() {
            let Some(episode) = by_key.get(&rollout.key) else {
                let found = format!("no forks of {}", words(rollout.key));
                return wrong("rows", found, "every episode of the rollouts".into());
            };
            for (field, found, valid) in [
                ("weak_success", episode.success.to_string(), rollout.success.to_string()),
                ("weak_steps", episode.steps.to_string(), rollout.steps.to_string()),
            ] {
                if found != valid {
                    let found = format!("{found} of {}", words(rollout.key));
                    return wrong(field, found, format!("{valid}, as in the rollouts"));
                }
            }
            for fork in &episode.forks {
                let at = rollout.boundaries.binary_search_by_key(&fork.step, |boundary| boundary.step);
                let Some((index, boundary)) = at.ok().and_then(|at| Some((at, rollout.boundaries.get(at)?)))
                else {
                    let found = format!("{} of {}", fork.step, words(rollout.key));
                    return wrong("step", found, "a boundary of the rollout".into());
                };
                boundaries.push(ForkedBoundary { rollout, episode: place, index, boundary, fork });
            }
            complete.push(episode.is_complete());
        }
        let data = ForkData { sha256: digest(forks), episodes: rollouts.len(), forks: boundaries.len() };
        Ok(Self { boundaries, data, complete })
    }
}

/// Checks that forks were made under the gate of this plan: boundaries at which a gate may fire begin and lie as in the plan, and a hold
/// is as long.
///
/// # Errors
/// The first limit that differs, as a key of the metadata.
pub fn check_gate(made: &GateLimits, plan: &GateLimits) -> Result<(), Contradiction> {
    for (name, found, valid) in [
        ("hold_chunks", f64::from(made.hold_chunks), f64::from(plan.hold_chunks)),
        ("chunk_steps", f64::from(made.chunk_steps), f64::from(plan.chunk_steps)),
        ("horizon_steps", f64::from(made.horizon_steps), f64::from(plan.horizon_steps)),
        ("guard_fraction", made.guard_fraction, plan.guard_fraction),
    ] {
        if found != valid {
            return Err(Contradiction {
                field: format!("metadata.aegis_forks.gate.{name}"),
                found: found.to_string(),
                valid: format!("{valid}, gate.{name} of the plan: collect the forks again under this plan"),
            });
        }
    }
    Ok(())
}

fn words(EpisodeKey { start, replicate }: EpisodeKey) -> String {
    format!("task {}, initial state {}, replicate {replicate}", start.task, start.initial_state)
}
