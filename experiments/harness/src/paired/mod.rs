//! Paired analysis of episodes that another evaluator ran: its results as rows of task, start, arm and outcome, pairs of equal task
//! and start, and the tests and intervals over these pairs. The file claims that equal names mean equal starts and equal noise;
//! nothing can check this claim.

pub mod analysis;
mod csv;
mod evaluators;
pub mod pairs;
pub mod read;
mod rows;
pub mod view;

use aegis_files::text::clipped;

/// Outcome of one episode of one arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Task, by its name or number.
    pub task: String,
    /// Initial state, where the file names it. Episodes of one task and initial state are one cluster of a bootstrap.
    pub initial_state: Option<String>,
    /// Seed, where the file names it.
    pub seed: Option<String>,
    /// Arm: the policy or the setting that was evaluated.
    pub arm: String,
    /// Whether the episode was won.
    pub success: bool,
    /// File, and line or row, for errors.
    pub place: String,
}

/// Episodes of one file, with remarks for the reader of the analysis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Episodes {
    /// Episodes in the order of the file.
    pub episodes: Vec<Episode>,
    /// Remarks about the file.
    pub notes: Vec<String>,
}

/// Column, place in the file, value found and valid values, as one sentence without the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {column}: found {found}; valid is {valid}")]
pub struct Complaint {
    /// Line, row or key.
    pub place: String,
    /// Name of the column.
    pub column: String,
    /// Value found.
    pub found: String,
    /// Valid values, and what to do.
    pub valid: String,
}

/// Most characters of a found value that a message shows.
const SHOWN: usize = 200;

impl Complaint {
    fn new(
        place: impl Into<String>,
        column: &str,
        found: impl Into<String>,
        valid: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            column: column.into(),
            found: clipped(&found.into(), SHOWN),
            valid: valid.into(),
        }
    }
}
