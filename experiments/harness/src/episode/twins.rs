//! Check of twins: an arm must equal the weak arm until its first hand-over. A pair that differs earlier is void,
//! regardless of its results.

use crate::episode::outcome::EpisodeResult;

/// Error of two episodes that are not twins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// The episodes have different keys.
    #[error("the episodes do not share task, initial state and replicate")]
    Key,
    /// The episodes have different disturbances.
    #[error("task {task}, initial state {initial_state}: the twins have different disturbances")]
    Disturbance {
        /// Task of the pair.
        task: usize,
        /// Initial state of the pair.
        initial_state: usize,
    },
    /// The state paths differ before the first hand-over.
    #[error(
        "task {task}, initial state {initial_state}: the twins differ before control step {step}, where control was first handed over"
    )]
    Prefix {
        /// Task of the pair.
        task: usize,
        /// Initial state of the pair.
        initial_state: usize,
        /// First hand-over, or the end of the episode.
        step: u32,
    },
}

/// Checks that `other` is bitwise equal to its `weak` twin until the strong policy first drives, or to the end where
/// the strong policy never drives.
pub fn check(weak: &EpisodeResult, other: &EpisodeResult) -> Result<(), TwinError> {
    if weak.key != other.key {
        return Err(TwinError::Key);
    }
    if weak.disturbance != other.disturbance {
        let aegis_core::Start { task, initial_state } = weak.key.start;
        return Err(TwinError::Disturbance { task, initial_state });
    }
    let differs = |step| TwinError::Prefix {
        task: weak.key.start.task,
        initial_state: weak.key.start.initial_state,
        step,
    };
    // A strong policy that drives from the start has no hand-over.
    let from_start = (other.strong_steps > 0 && other.hand_overs.is_empty()).then_some(&0);
    match other.hand_overs.first().or(from_start) {
        None if weak.path == other.path && weak.success == other.success => Ok(()),
        None => Err(differs(other.steps)),
        Some(&step) => {
            // The digest at the hand-over's own boundary covers every step before it.
            let boundary = (step / other.chunk_steps) as usize;
            let common = weak.prefixes.get(..=boundary).zip(other.prefixes.get(..=boundary));
            match common {
                Some((weak, other)) if weak == other => Ok(()),
                _ => Err(differs(step)),
            }
        }
    }
}
