//! Rollouts that another program recorded: activations, tasks, steps and outcomes, without a policy's chunks and without a
//! statement of the starts. Read from an `.npz` of NumPy or from a Parquet file; docs/reference/rollouts.md has the layout.

mod episodes;
mod npy;
mod npz;
mod parquet;
mod split;
mod write;

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use split::{Split, split};
pub use write::{ForeignEpisode, write};

use crate::columns::{Complaint, Lists};
use crate::rollout::Rollout;
use crate::rollout_file::RolloutFileError;
use aegis_files::{instead_of, open_file};

/// Columns that are read. `start` may be left out.
const COLUMNS: [&str; 6] = ["task", "episode", "start", "step", "success", "activation"];
/// Column that may be left out.
const OPTIONAL: &str = "start";

/// Returns the valid values of a column, for errors.
fn valid(column: &str) -> &'static str {
    match column {
        "task" => "one task for each row, as a whole number from 0 or as text",
        "episode" => "one episode for each row, as a whole number from 0 or as text",
        "start" => "the start of each row's episode, as a whole number from 0 or as text",
        "step" => "the control step of each row, a whole number from 0",
        "success" => "the outcome of each row's episode, true or false, or 1 or 0",
        _ => "a list of numbers for each row, of one width",
    }
}

/// Control steps of the episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepGrid {
    /// Largest number of control steps of an episode.
    pub horizon_steps: u32,
    /// Control steps from one inference to the next.
    pub chunk_steps: u32,
}

/// Tasks of a file: numbers, or names whose indices are the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// The file numbers its tasks.
    Numbers,
    /// The file names its tasks.
    Names(Vec<String>),
}

/// Rollouts of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRollouts {
    /// Episodes in order of task, start and episode.
    pub rollouts: Vec<Rollout>,
    /// Tasks of the file, and those known from files that were read before.
    pub tasks: Tasks,
    /// Whether the file states the start of each episode. Otherwise each episode counts as a start of its own.
    pub has_starts: bool,
}

/// Record, in a probe file, of the rollouts of another program that the probe was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignRecord {
    /// Digests of all episodes of each file, in the order in which the files were read; see [`crate::rollout::digest`].
    pub files_sha256: Vec<String>,
    /// Names of the tasks, where the files name them; a task's number is its index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_names: Vec<String>,
    /// Division of the episodes of one file; `None` where the thresholds were set on another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Largest number of control steps of an episode.
    pub horizon_steps: u32,
    /// Share of the horizon before which scores were not counted for thresholds, since the gate may not fire there.
    pub guard_fraction: f64,
}

impl ForeignRecord {
    /// Returns the tasks as a reader of a further file needs them.
    pub fn tasks(&self) -> Tasks {
        if self.task_names.is_empty() { Tasks::Numbers } else { Tasks::Names(self.task_names.clone()) }
    }
}

/// Column of numbers or of text.
#[derive(Clone, Debug, PartialEq)]
enum Labels {
    Numbers(Vec<i128>),
    Text(Vec<String>),
}

impl Labels {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
}

/// Columns of a file, each with one entry for each row.
struct Columns {
    task: Labels,
    episode: Labels,
    start: Option<Labels>,
    step: Vec<i128>,
    success: Vec<f64>,
    activation: Lists,
}

/// Reads rollouts. `known` has the tasks of a file that was read before, whose names keep their numbers.
///
/// # Errors
/// A file that cannot be read or is of another kind, and the first invalid column or row: rows count from 0.
pub fn read(path: &Path, grid: StepGrid, known: Option<&Tasks>) -> Result<ForeignRollouts, RolloutFileError> {
    let io = |reason: String| RolloutFileError::unread(path, reason);
    let invalid = |complaint: Complaint| RolloutFileError::invalid(path, complaint);
    let mut first = [0; 4];
    let mut file = open_file(path).map_err(|error| io(error.to_string()))?;
    let begun = file.read(&mut first).map_err(|error| io(error.to_string()))?;
    let columns = match first.get(..begun) {
        Some(b"PK\x03\x04") => npz::columns(path),
        Some(b"PAR1") => parquet::columns(path),
        _ => {
            let found = instead_of(path).unwrap_or_else(|| "found another format".into());
            return Err(io(format!(
                "{found}; valid is an .npz file of numpy.savez or a Parquet file (docs/reference/rollouts.md)"
            )));
        }
    };
    let columns = columns.map_err(|error| match error {
        ColumnsError::Read(reason) => io(reason),
        ColumnsError::Invalid(what) => invalid(what),
    })?;
    episodes::rollouts(&columns, grid, known).map_err(invalid)
}

/// Error of reading the columns of a file.
enum ColumnsError {
    /// The file cannot be read.
    Read(String),
    /// A column is missing or of another kind.
    Invalid(Complaint),
}

impl From<Complaint> for ColumnsError {
    fn from(what: Complaint) -> Self {
        Self::Invalid(what)
    }
}
