//! Range of initial states with replicates: the unit in which plans and statements of origin name episodes.

use aegis_core::{EpisodeKey, Start};
use serde::{Deserialize, Serialize};

/// Most episodes of one task in one range, whose keys are listed in memory.
const EPISODES: u64 = 100_000;
/// Largest end of a range, since rollout files store initial states in 32 bits.
const INITIAL_STATES: usize = u32::MAX as usize;

/// Range of initial states and the number of episodes from each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRange {
    /// First initial state.
    pub first: usize,
    /// One past the last.
    pub end: usize,
    /// Episodes per initial state, which differ in their noise.
    pub replicates: u64,
}

impl StateRange {
    /// Returns the key of every episode of the range over these tasks. Tasks vary fastest, so that any prefix covers
    /// all tasks.
    pub fn keys(&self, tasks: impl IntoIterator<Item = usize>) -> Vec<EpisodeKey> {
        let Self { first, end, replicates } = *self;
        let tasks: Vec<usize> = tasks.into_iter().collect();
        let starts = (0..replicates).flat_map(|replicate| (first..end).map(move |state| (replicate, state)));
        let keys = starts.flat_map(|(replicate, initial_state)| {
            let key =
                move |task: &usize| EpisodeKey { start: Start { task: *task, initial_state }, replicate };
            tasks.iter().map(key)
        });
        keys.collect()
    }

    /// Checks that the range is not empty and that its episodes can be listed in memory.
    ///
    /// # Errors
    /// Values found and the valid ones.
    pub fn validate(&self) -> Result<(), String> {
        let Self { first, end, replicates } = *self;
        let found = format!("found first {first}, end {end}, replicates {replicates}");
        if first >= end || replicates == 0 {
            return Err(format!("{found}; valid is first < end and replicates ≥ 1"));
        }
        if end > INITIAL_STATES {
            return Err(format!(
                "{found}; valid is an end of at most {INITIAL_STATES}, because initial states have 32 bits"
            ));
        }
        let states = (end - first) as u64;
        if states.checked_mul(replicates).is_none_or(|episodes| episodes > EPISODES) {
            let reason = "their keys are listed in memory, and more would take days at one episode a second";
            return Err(format!(
                "{found}; valid is at most {EPISODES} episodes of each task, because {reason}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_tasks_first() {
        let keys = StateRange { first: 3, end: 5, replicates: 2 }.keys(0..2);
        let flat: Vec<_> =
            keys.iter().map(|key| (key.replicate, key.start.initial_state, key.start.task)).collect();
        assert_eq!(flat[..4], [(0, 3, 0), (0, 3, 1), (0, 4, 0), (0, 4, 1)]);
        assert_eq!(flat.len(), 8);
    }
}
