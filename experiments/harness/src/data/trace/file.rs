//! Step trace as a Parquet file, in two layouts. Layout 1 has one row for each control step and no metadata. Layout 2
//! adds the score and the gate's decision at each boundary, the digest of the state path, and digests of its own
//! columns.

use std::collections::{BTreeMap, HashMap};

use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};

use super::columns::{arrays, digests};
use super::row::{Layout, Row};
use aegis_core::EpisodeKey;
use aegis_probe::parquet_file::bytes;

/// Key of the schema metadata that contains [`Notes`] as JSON.
pub(super) const METADATA: &str = "aegis";

/// Step trace of the arms of one set.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceFile {
    /// Metadata of the file; `None` in layout 1.
    pub notes: Option<Notes>,
    /// One row for each control step, the arms in their order.
    pub rows: Vec<Row>,
}

/// Metadata of a file of layout 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// Version of the layout.
    pub schema: u32,
    /// Key: start and replicate of the set.
    pub key: EpisodeKey,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// All arms in the order in which they ran, including those without rows of their own.
    pub arms: Vec<ArmNotes>,
}

/// Metadata of one arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmNotes {
    /// Name.
    pub arm: String,
    /// Control steps on the weak trajectory at which the arm fired before its own rows begin, as a gate that is not
    /// obeyed does.
    pub fired_before: Vec<u32>,
    /// SHA-256 over the arm's values of each column, by column name, in lower-case hexadecimal.
    pub columns: BTreeMap<String, String>,
}

impl TraceFile {
    /// Returns the layout.
    pub fn layout(&self) -> Layout {
        if self.notes.is_some() { Layout::Two } else { Layout::One }
    }

    /// Returns the trace in layout 2, with its metadata.
    pub(super) fn with_notes(self, key: EpisodeKey, chunk_steps: u32, arms: &[(String, Vec<u32>)]) -> Self {
        let notes = arms.iter().map(|(arm, fired_before)| ArmNotes {
            arm: arm.clone(),
            fired_before: fired_before.clone(),
            columns: self.digests(arm),
        });
        let notes = Notes { schema: Layout::Two as u32, key, chunk_steps, arms: notes.collect() };
        Self { notes: Some(notes), ..self }
    }

    /// Returns the digest of each column over an arm's rows.
    pub(super) fn digests(&self, arm: &str) -> BTreeMap<String, String> {
        digests(self.rows.iter().filter(|row| row.arm == arm))
    }

    /// Returns the first difference of two traces as arm, control step and column; `None` where all rows are equal.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let named = |row: &Row, column: &str| format!("arm {}, control step {}, {column}", row.arm, row.step);
        for (one, other) in self.rows.iter().zip(&other.rows) {
            if let Some(column) = one.column_that_differs(other) {
                return Some(named(one, column));
            }
        }
        let (count, others) = (self.rows.len(), other.rows.len());
        let longer = if count > others { &self.rows[others..] } else { &other.rows[count..] };
        longer.first().map(|row| named(row, "which only one of the two has"))
    }

    /// Encodes the trace as Parquet. Columns: `arm`, `step`, `strong` (whether the strong policy drove), `success`
    /// (after the step), `action` `float32[width]` as sent and `end_effector` `float64[3]` in metres, world frame,
    /// after the step. Layout 2 adds `path` (16 bytes, after the step) and, where a chunk begins, `boundary`, `fired`,
    /// `handed_over`, `score` (NaN where the probe gave no number) and `prefix` (16 bytes). Equal traces give equal
    /// bytes.
    ///
    /// # Errors
    /// Errors of Arrow or Parquet, and a trace without control steps.
    pub fn parquet(&self) -> Result<Vec<u8>, String> {
        if self.rows.is_empty() {
            return Err("found no recorded control step; valid is one or more".into());
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
