//! Rollouts on disk: Parquet, one row per chunk boundary, the models and the tensor that they belong to beside them.
//! `pandas.read_parquet` reads it, and what pandas and pyarrow write is read; the schema's own metadata says what was run.

mod episodes;
mod read;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, UInt32Array, UInt64Array};
use serde::{Deserialize, Serialize};

pub use read::read;

use crate::files::write_atomically;
use crate::origin::{Origin, Starts};
use crate::parquet_file::{bytes, list};
use crate::rollouts::{Boundary, Rollout, digest};
use crate::sensor::SensorNoise;

/// Version of the file's layout.
pub const SCHEMA: u32 = 2;
/// The layout before it, which does not say what starts its rows are of; it is read, and its rows say it.
const SILENT: u32 = 1;
/// The key of the schema metadata that holds [`Provenance`] as JSON.
const METADATA: &str = "aegis";
/// The key beside those of [`Provenance`] that names the values of the rows, by [`digest`]: what was changed since, by a disk
/// or by a person, is found when it is read. Files of others do without.
const VALUES: &str = "values_sha256";

/// What the rollouts are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the layout.
    pub schema: u32,
    /// Benchmark suite.
    pub suite: String,
    /// Digest of the suite's scenes, whatever they are called; none in a file of before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_sha256: Option<String>,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the sampled initial states, where there are any.
    pub sample_seed: Option<u64>,
    /// The plan's range: `discovery`, `calibration`, `tuning` or `confirmation`.
    pub range: String,
    /// The starts of the rows, which are held against it when they are read; what the rows say in a file of layout 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// SHA-256 of the weak policy's model.
    pub weak_sha256: String,
    /// SHA-256 of the strong policy's model.
    pub strong_sha256: String,
    /// The graph output that the activation is, mean-pooled over tokens.
    pub tensor: String,
    /// Control steps per episode.
    pub horizon_steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// Values per action of a chunk.
    pub action_width: usize,
    /// What policies saw; none in a file of before it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorNoise>,
    /// Control steps of the null action before an episode counts; none in a file of before it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_steps: Option<u32>,
}

impl Provenance {
    /// Where rollouts of it came from.
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
        }
    }
}

/// Why a file of rollouts is refused or not written.
#[derive(Debug, thiserror::Error)]
pub enum RolloutFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the format said.
        reason: String,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {reason}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the format said.
        reason: String,
    },
    /// The file is something else, or belongs to something else.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Column or key.
        field: String,
        /// What it holds.
        found: String,
        /// What would do.
        valid: String,
    },
}

/// Writes the rollouts, whole or not at all.
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
    let first = rows().next().ok_or("no rollout has a boundary, so there is nothing to write")?.1;
    let features: Vec<f64> = rows().flat_map(|(_, boundary)| boundary.features.iter().copied()).collect();
    let chunks = |which: &dyn Fn(&Boundary) -> Vec<f32>| -> ArrayRef {
        Arc::new(Float32Array::from(rows().flat_map(|(_, boundary)| which(boundary)).collect::<Vec<f32>>()))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
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
        ("weak_chunk", list(chunks(&|boundary| boundary.weak.values().to_vec()), first.weak.values().len())?),
        (
            "strong_chunk",
            list(chunks(&|boundary| boundary.strong.values().to_vec()), first.strong.values().len())?,
        ),
    ];
    let mut about = serde_json::to_value(provenance).map_err(|error| error.to_string())?;
    about[VALUES] = digest(rollouts).into();
    bytes(columns, HashMap::from([(METADATA.to_owned(), about.to_string())]))
}
