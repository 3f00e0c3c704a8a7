//! What names an episode, whatever arm it is run in.
//! Twins have equal keys, and random streams hang off them.

use aegis_core::Start;
use serde::{Deserialize, Serialize};

/// What the twins of all arms share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EpisodeKey {
    /// Task and initial state.
    pub start: Start,
    /// Tells apart episodes from the same start.
    pub replicate: u64,
}

impl EpisodeKey {
    /// The name of a Parquet file of this episode, or of its twins.
    pub fn file_name(self) -> String {
        let Self { start, replicate } = self;
        format!("task{:02}-state{:04}-replicate{replicate}.parquet", start.task, start.initial_state)
    }
}
