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
