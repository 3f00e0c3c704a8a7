//! Division of the episodes of one file into those that a probe is fitted on and those that its thresholds are set on.

use std::collections::{BTreeMap, BTreeSet};

use aegis_core::Start;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::rollout::Rollout;

/// Settings of a division.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Share of the starts whose episodes the thresholds are set on, above 0 and below 1.
    pub calibration_share: f64,
    /// Seed of the choice.
    pub seed: u64,
}

/// Divides rollouts into those to fit on and those to calibrate on, in that order. Episodes of one start stay together, and each
/// task's lost and won starts are divided by the same share. Equal rollouts and settings give equal divisions.
pub fn split(rollouts: Vec<Rollout>, settings: Split) -> (Vec<Rollout>, Vec<Rollout>) {
    let mut starts: BTreeMap<Start, bool> = BTreeMap::new();
    for rollout in &rollouts {
        *starts.entry(rollout.key.start).or_default() |= !rollout.success;
    }
    // Sorted by task and outcome, in random order within each.
    let mut order: Vec<(usize, bool, [u8; 32], Start)> = starts
        .into_iter()
        .map(|(start, lost)| (start.task, lost, draw(settings.seed, start), start))
        .collect();
    order.sort();
    let share = settings.calibration_share;
    let before = |count: usize| (count as f64 * share + 0.5).floor();
    let held: BTreeSet<Start> = order
        .into_iter()
        .enumerate()
        .filter(|(index, _)| before(index + 1) > before(*index))
        .map(|(_, (_, _, _, start))| start)
        .collect();
    let (calibration, discovery) =
        rollouts.into_iter().partition(|rollout| held.contains(&rollout.key.start));
    (discovery, calibration)
}

/// Draws the sort key of a start among those of its task and outcome.
fn draw(seed: u64, start: Start) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"aegis-split-v1");
    for part in [seed, start.task as u64, start.initial_state as u64] {
        hasher.update(part.to_le_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::EpisodeKey;

    fn rollouts() -> Vec<Rollout> {
        let one = |task, initial_state, replicate, success| Rollout {
            key: EpisodeKey { start: Start { task, initial_state }, replicate },
            success,
            steps: 1,
            disturbance: None,
            boundaries: Vec::new(),
        };
        (0..4)
            .flat_map(|task| {
                (0_usize..20).flat_map(move |state| {
                    (0..2).map(move |replicate| one(task, state, replicate, state.is_multiple_of(2)))
                })
            })
            .collect()
    }

    #[test]
    fn starts_stay_together_and_tasks_and_outcomes_are_divided_alike() {
        for (calibration_share, expected) in [(0.5, 5), (0.2, 2)] {
            let (fit, held) = split(rollouts(), Split { calibration_share, seed: 7 });
            assert_eq!(fit.len() + held.len(), 160);
            for task in 0..4 {
                for success in [true, false] {
                    let of = |part: &[Rollout]| -> BTreeSet<Start> {
                        let kept =
                            part.iter().filter(|one| one.key.start.task == task && one.success == success);
                        kept.map(|one| one.key.start).collect()
                    };
                    let (fit, held) = (of(&fit), of(&held));
                    assert!(fit.is_disjoint(&held));
                    assert_eq!(held.len(), expected, "task {task}, success {success}");
                }
            }
        }
    }

    #[test]
    fn the_division_depends_on_the_seed_alone() {
        let by = |seed| split(rollouts(), Split { calibration_share: 0.5, seed });
        assert_eq!(by(1), by(1));
        assert_ne!(by(1).1, by(2).1);
    }
}
