//! Rollouts as a Parquet file, with one row for each boundary. The schema's metadata names the models, the tensor and
//! the settings of the run. `pandas.read_parquet` reads the file, and files written by pandas and pyarrow are read.

mod episodes;
mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::Chunk;
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, StringArray, UInt32Array, UInt64Array,
};
use serde::{Deserialize, Serialize};

pub use read::read;

use crate::columns::Complaint;
use crate::disturbances::DisturbanceSettings;
use crate::origin::{Origin, Starts};
use crate::parquet_file::{bytes, list};
use crate::rollout::{Boundary, Chunks, Rollout, digest};
use crate::sensor::SensorNoise;
use aegis_files::write_atomically;

/// Version of the file's layout.
pub const SCHEMA: u32 = 2;
/// Previous version of the layout, which does not state the starts of its rows; it is read, and the starts are taken
/// from the rows.
const SCHEMA_WITHOUT_ORIGINS: u32 = 1;
/// Key of the schema metadata that contains [`Provenance`] as JSON.
const METADATA: &str = "aegis";
/// Column with each episode's disturbance as JSON, empty for none. Only files whose provenance has disturbances have it.
const DISTURBANCE: &str = "disturbance";
/// Metadata key beside those of [`Provenance`], with the [`digest`] of the rows' values. It shows on reading whether
/// values were changed since by a disk error or by hand. Files from other programs need not have it.
const VALUES: &str = "values_sha256";

/// Provenance of rollouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the layout.
    pub schema: u32,
    /// Benchmark suite.
    pub suite: String,
    /// Digest of the suite's scenes, independent of the suite's name; `None` in a file that was written before it was
    /// recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_sha256: Option<String>,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the sampled initial states, where there are any.
    pub sample_seed: Option<u64>,
    /// Range of the plan: `discovery`, `calibration`, `tuning` or `confirmation`.
    pub range: String,
    /// Starts of the rows, which are checked against the rows when the file is read; taken from the rows for a file of
    /// layout 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// SHA-256 of the weak policy's model.
    pub weak_sha256: String,
    /// SHA-256 of the strong policy's model.
    pub strong_sha256: String,
    /// Graph output that the activation comes from, mean-pooled over tokens.
    pub tensor: String,
    /// Control steps per episode.
    pub horizon_steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// Number of values in an action.
    pub action_width: usize,
    /// Sensor noise; `None` in a file that was written before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorNoise>,
    /// Control steps of the null action before the first counted control step; `None` in a file that was written before
    /// this was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_steps: Option<u32>,
    /// Disturbances of the episodes; `None` for episodes without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbances: Option<DisturbanceSettings>,
}

impl Provenance {
    /// Returns the origin of rollouts with this provenance.
    pub fn origin(&self, rollouts: &[Rollout]) -> Origin {
        Origin {
            suite: self.suite.clone(),
            suite_sha256: self.suite_sha256.clone(),
            starts: Starts::of(rollouts.iter().map(|rollout| rollout.key)),
            master_seed: self.master_seed,
            sample_seed: self.sample_seed,
            weak_sha256: Some(self.weak_sha256.clone()),
            strong_sha256: Some(self.strong_sha256.clone()),
            sensor: self.sensor,
            settle_steps: self.settle_steps,
            disturbances: self.disturbances,
        }
    }
}

/// Error of reading or writing a file of rollouts or of their forks.
#[derive(Debug, thiserror::Error)]
pub enum RolloutFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system or of the format.
        reason: String,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {reason}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system or of the format.
        reason: String,
    },
    /// The file is not a file of rollouts, or does not match its metadata.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Name of the column or key.
        field: String,
        /// Value found.
        found: String,
        /// Description of the valid values.
        valid: String,
    },
}

impl RolloutFileError {
    pub(crate) fn unread(path: &Path, reason: String) -> Self {
        Self::Read { path: path.to_owned(), reason }
    }

    pub(crate) fn invalid(path: &Path, (field, found, valid): Complaint) -> Self {
        Self::Invalid { path: path.to_owned(), field, found, valid }
    }
}

/// Writes the rollouts atomically.
pub fn write(path: &Path, provenance: &Provenance, rollouts: &[Rollout]) -> Result<(), RolloutFileError> {
    let io = |reason: String| RolloutFileError::Write { path: path.to_owned(), reason };
    let bytes = file(provenance, rollouts).map_err(&io)?;
    write_atomically(path, &bytes).map_err(|error| io(error.to_string()))
}

fn file(provenance: &Provenance, rollouts: &[Rollout]) -> Result<Vec<u8>, String> {
    let rows = || {
        rollouts.iter().flat_map(|rollout| rollout.boundaries.iter().map(move |boundary| (rollout, boundary)))
    };
    let unsigned = |value: &dyn Fn(&Rollout, &Boundary) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows().map(|(rollout, boundary)| value(rollout, boundary))))
    };
    let first = rows().next().ok_or("found no rollout with a boundary; valid is one or more")?.1;
    let both: Vec<&Chunks> = rows()
        .map(|(_, boundary)| boundary.chunks.as_ref())
        .collect::<Option<_>>()
        .ok_or("a boundary has no chunks, which every row of this layout has")?;
    let [weak_width, strong_width] = both
        .first()
        .map_or([0; 2], |chunks| [&chunks.weak, &chunks.strong].map(|chunk| chunk.values().len()));
    let features: Vec<f64> = rows().flat_map(|(_, boundary)| boundary.features.iter().copied()).collect();
    let chunks = |which: fn(&Chunks) -> &Chunk| -> ArrayRef {
        let values = both.iter().flat_map(|chunks| which(chunks).values().iter().copied());
        Arc::new(Float32Array::from(values.collect::<Vec<f32>>()))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("task", unsigned(&|rollout, _| rollout.key.start.task as u32)),
        ("initial_state", unsigned(&|rollout, _| rollout.key.start.initial_state as u32)),
        (
            "replicate",
            Arc::new(UInt64Array::from_iter_values(rows().map(|(rollout, _)| rollout.key.replicate))),
        ),
        ("success", Arc::new(rows().map(|(rollout, _)| Some(rollout.success)).collect::<BooleanArray>())),
        ("episode_steps", unsigned(&|rollout, _| rollout.steps)),
        ("step", unsigned(&|_, boundary| boundary.step)),
        ("activation", list(Arc::new(Float64Array::from(features)), first.features.len())?),
        ("weak_chunk", list(chunks(|chunks| &chunks.weak), weak_width)?),
        ("strong_chunk", list(chunks(|chunks| &chunks.strong), strong_width)?),
    ];
    if provenance.disturbances.is_some() {
        let said = |rollout: &Rollout| {
            let text = rollout.disturbance.as_ref().map(serde_json::to_string).transpose();
            text.map(Option::unwrap_or_default).map_err(|error| error.to_string())
        };
        let said: Vec<String> = rows().map(|(rollout, _)| said(rollout)).collect::<Result<_, _>>()?;
        columns.push((DISTURBANCE, Arc::new(StringArray::from(said))));
    }
    let mut about = serde_json::to_value(provenance).map_err(|error| error.to_string())?;
    about[VALUES] = digest(rollouts).into();
    bytes(columns, HashMap::from([(METADATA.to_owned(), about.to_string())]))
}
