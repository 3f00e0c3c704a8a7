//! A step trace as a Parquet file, in both of its layouts. Layout 1 has no metadata: rows of steps and nothing else.
//! Layout 2 adds what was read and decided at each boundary, the digest of the state path, and digests of its own columns.

use std::collections::{BTreeMap, HashMap};

use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};

use super::columns::{arrays, digests};
use crate::key::EpisodeKey;
use crate::parquet_file::bytes;

/// The key of the schema metadata that holds [`Notes`] as JSON.
pub(super) const METADATA: &str = "aegis";

/// Layout of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Steps alone.
    One = 1,
    /// Boundaries, state path and digests besides.
    Two = 2,
}

/// A step trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceFile {
    /// What the file says of itself; none in layout 1.
    pub notes: Option<Notes>,
    /// One row for each control step, the arms in their order.
    pub rows: Vec<Row>,
}

/// What a file of layout 2 says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// Version of the layout.
    pub schema: u32,
    /// Whose steps these are.
    pub key: EpisodeKey,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// Every arm in the order in which it ran, those without rows of their own too.
    pub arms: Vec<ArmNotes>,
}

/// What a file says of one arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmNotes {
    /// Its name.
    pub arm: String,
    /// Control steps on the weak path at which it fired before its own rows begin, as a gate that is not obeyed does.
    pub fired_before: Vec<u32>,
    /// SHA-256 over the arm's values of each column, by its name, lower-case hexadecimal.
    pub columns: BTreeMap<String, String>,
}

/// One control step of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The arm.
    pub arm: String,
    /// Control step, from 0.
    pub step: u32,
    /// Whether the strong policy drove.
    pub strong: bool,
    /// Whether the goal held after the step.
    pub success: bool,
    /// The action as sent, `[width]`.
    pub action: Vec<f32>,
    /// Where the end effector was after the step, `[3]`, metres, world frame.
    pub end_effector: [f64; 3],
    /// What was read and decided where a chunk begins with this step; none elsewhere and in layout 1.
    pub boundary: Option<Boundary>,
    /// Digest of the state path up to and with this step; zeros in layout 1.
    pub path: [u8; 16],
}

/// What was read and decided where a chunk begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// Whether the gate spent a fire here.
    pub fired: bool,
    /// Whether the driver changed here.
    pub handed_over: bool,
    /// The score; NaN where it was not a number.
    pub score: f64,
    /// Digest of the state path before the chunk.
    pub prefix: [u8; 16],
}

impl TraceFile {
    /// The layout.
    pub fn layout(&self) -> Layout {
        if self.notes.is_some() { Layout::Two } else { Layout::One }
    }

    /// The same in layout 2.
    pub(super) fn with_notes(self, key: EpisodeKey, chunk_steps: u32, arms: &[(String, Vec<u32>)]) -> Self {
        let notes = arms.iter().map(|(arm, fired_before)| ArmNotes {
            arm: arm.clone(),
            fired_before: fired_before.clone(),
            columns: self.digests(arm),
        });
        let notes = Notes { schema: Layout::Two as u32, key, chunk_steps, arms: notes.collect() };
        Self { notes: Some(notes), ..self }
    }

    /// The digest of each column over an arm's rows.
    pub(super) fn digests(&self, arm: &str) -> BTreeMap<String, String> {
        digests(self.rows.iter().filter(|row| row.arm == arm))
    }

    /// Where two traces differ first, as arm, control step and column; none where no row does.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let named = |row: &Row, column: &str| format!("arm {}, control step {}, {column}", row.arm, row.step);
        for (one, other) in self.rows.iter().zip(&other.rows) {
            if let Some(column) = one.column_that_differs(other) {
                return Some(named(one, column));
            }
        }
        let (count, others) = (self.rows.len(), other.rows.len());
        let longer = if count > others { &self.rows[others..] } else { &other.rows[count..] };
        longer.first().map(|row| named(row, "which one of both has not"))
    }

    /// The file: `arm`, `step`, `strong` (who drove), `success` (after the step), `action` `float32[width]` as sent and
    /// `end_effector` `float64[3]` in metres, world frame, after the step. In layout 2 also `path` (16 bytes, after the
    /// step) and, where a chunk begins, `boundary`, `fired`, `handed_over`, `score` (NaN where there is none) and
    /// `prefix` (16 bytes). Equal traces give equal bytes.
    ///
    /// # Errors
    /// What Arrow or Parquet reports, and a trace without a step.
    pub fn parquet(&self) -> Result<Vec<u8>, String> {
        if self.rows.is_empty() {
            return Err("no control step was recorded".into());
        }
        let columns: Vec<(&str, ArrayRef)> = arrays(&self.rows, self.layout())?;
        let metadata = match &self.notes {
            Some(notes) => {
                let text = serde_json::to_string(notes).map_err(|error| error.to_string())?;
                HashMap::from([(METADATA.to_owned(), text)])
            }
            None => HashMap::new(),
        };
        bytes(columns, metadata)
    }
}

impl Row {
    /// The first column in which two rows differ, bit for bit.
    fn column_that_differs(&self, other: &Self) -> Option<&'static str> {
        let bits = |row: &Self| row.action.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let boundary = |row: &Self| {
            row.boundary.map(|one| (one.fired, one.handed_over, one.score.to_bits(), one.prefix))
        };
        let equal = [
            ("arm", self.arm == other.arm),
            ("step", self.step == other.step),
            ("strong", self.strong == other.strong),
            ("boundary", boundary(self) == boundary(other)),
            ("action", bits(self) == bits(other)),
            ("path", self.path == other.path),
            ("end_effector", self.end_effector.map(f64::to_bits) == other.end_effector.map(f64::to_bits)),
            ("success", self.success == other.success),
        ];
        equal.into_iter().find(|(_, equal)| !equal).map(|(column, _)| column)
    }
}
