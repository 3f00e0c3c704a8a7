//! Key of an episode, the same in every arm. Twins have equal keys, and random streams are derived from keys.

use serde::{Deserialize, Serialize};

use crate::Start;

/// Key of an episode: start and replicate, which all twins share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EpisodeKey {
    /// Task and initial state.
    pub start: Start,
    /// Index that separates episodes from the same start.
    pub replicate: u64,
}

impl EpisodeKey {
    /// Returns the file name of a Parquet file of this episode, or of its twins.
    pub fn file_name(self) -> String {
        let Self { start, replicate } = self;
        format!("task{:02}-state{:04}-replicate{replicate}.parquet", start.task, start.initial_state)
    }
}
