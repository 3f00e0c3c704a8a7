//! Rollouts on disk: Parquet, one row per chunk boundary, the models and the tensor that they belong to beside them.
//! `pandas.read_parquet` reads it; the schema's own metadata says what was run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::{Chunk, Start};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, RecordBatch,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use crate::files::{instead_of, write_atomically};
use crate::key::EpisodeKey;
use crate::parquet_file::{bytes, list};
use crate::rollouts::{Boundary, Rollout};

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;
/// The key of the schema metadata that holds [`Provenance`] as JSON.
const METADATA: &str = "aegis";

/// What the rollouts are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the layout.
    pub schema: u32,
    /// Benchmark suite.
    pub suite: String,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the sampled initial states, where there are any.
    pub sample_seed: Option<u64>,
    /// The plan's range: `discovery`, `calibration`, `tuning` or `confirmation`.
    pub range: String,
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
    let metadata = serde_json::to_string(provenance).map_err(|error| error.to_string())?;
    bytes(columns, HashMap::from([(METADATA.to_owned(), metadata)]))
}

/// Reads rollouts and what they are of.
pub fn read(path: &Path) -> Result<(Provenance, Vec<Rollout>), RolloutFileError> {
    let io = |reason: String| RolloutFileError::Read { path: path.to_owned(), reason };
    let invalid = |field: &str, found: String, valid: &str| RolloutFileError::Invalid {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        valid: valid.to_owned(),
    };
    let file = std::fs::File::open(path).map_err(|error| io(error.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| {
        io(format!("no Parquet file: {}", instead_of(path).unwrap_or_else(|| error.to_string())))
    })?;
    let provenance =
        builder.schema().metadata().get(METADATA).ok_or_else(|| {
            invalid("metadata", "no key `aegis`".into(), "a file that `aegis collect` wrote")
        })?;
    let provenance: Provenance = serde_json::from_str(provenance)
        .map_err(|error| invalid("metadata.aegis", error.to_string(), "what `aegis collect` writes"))?;
    if provenance.schema != SCHEMA {
        return Err(invalid("metadata.aegis.schema", provenance.schema.to_string(), &SCHEMA.to_string()));
    }
    let mut rollouts: Vec<Rollout> = Vec::new();
    for batch in builder.build().map_err(|error| io(error.to_string()))? {
        let batch = batch.map_err(|error| io(error.to_string()))?;
        let rows = Rows::of(&batch, provenance.action_width)
            .map_err(|(field, found, valid)| invalid(field, found, valid))?;
        for row in 0..batch.num_rows() {
            rows.append(row, &mut rollouts).map_err(|(field, found, valid)| invalid(field, found, valid))?;
        }
    }
    if rollouts.is_empty() {
        return Err(invalid("rows", "none".into(), "one for each chunk boundary"));
    }
    Ok((provenance, rollouts))
}

type Complaint = (&'static str, String, &'static str);

/// The columns of one batch, by type.
struct Rows<'a> {
    task: &'a UInt32Array,
    initial_state: &'a UInt32Array,
    replicate: &'a UInt64Array,
    success: &'a BooleanArray,
    episode_steps: &'a UInt32Array,
    step: &'a UInt32Array,
    activation: &'a FixedSizeListArray,
    weak: &'a FixedSizeListArray,
    strong: &'a FixedSizeListArray,
    action_width: usize,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, action_width: usize) -> Result<Self, Complaint> {
        let column = |name: &'static str, valid: &'static str, ok: &dyn Fn(&DataType) -> bool| {
            let found =
                batch.column_by_name(name).ok_or_else(|| (name, "no such column".to_owned(), valid))?;
            if ok(found.data_type()) && found.null_count() == 0 {
                return Ok(found);
            }
            Err((name, format!("{} with {} nulls", found.data_type(), found.null_count()), valid))
        };
        let unsigned = |name| {
            let found = column(name, "uint32 without nulls", &|found| *found == DataType::UInt32)?;
            Ok(found.as_primitive::<UInt32Type>())
        };
        let list = |name, item: DataType, valid| {
            let found = column(
                name,
                valid,
                &|found| matches!(found, DataType::FixedSizeList(field, _) if *field.data_type() == item),
            )?;
            Ok(found.as_fixed_size_list())
        };
        Ok(Self {
            task: unsigned("task")?,
            initial_state: unsigned("initial_state")?,
            replicate: column("replicate", "uint64 without nulls", &|found| *found == DataType::UInt64)?
                .as_primitive::<UInt64Type>(),
            success: column("success", "boolean without nulls", &|found| *found == DataType::Boolean)?
                .as_boolean(),
            episode_steps: unsigned("episode_steps")?,
            step: unsigned("step")?,
            activation: list("activation", DataType::Float64, "a fixed-size list of float64")?,
            weak: list("weak_chunk", DataType::Float32, "a fixed-size list of float32")?,
            strong: list("strong_chunk", DataType::Float32, "a fixed-size list of float32")?,
            action_width,
        })
    }

    /// Adds one row to the last rollout, or begins the next.
    fn append(&self, row: usize, rollouts: &mut Vec<Rollout>) -> Result<(), Complaint> {
        let key = EpisodeKey {
            start: Start {
                task: self.task.value(row) as usize,
                initial_state: self.initial_state.value(row) as usize,
            },
            replicate: self.replicate.value(row),
        };
        let chunk = |field, column: &FixedSizeListArray| {
            let values = column.value(row).as_primitive::<Float32Type>().values().to_vec();
            let found = format!("row {row}: {} values", values.len());
            Chunk::new(self.action_width, values)
                .map_err(|_| (field, found, "whole actions of finite values"))
        };
        let boundary = Boundary {
            step: self.step.value(row),
            features: self.activation.value(row).as_primitive::<Float64Type>().values().to_vec(),
            weak: chunk("weak_chunk", self.weak)?,
            strong: chunk("strong_chunk", self.strong)?,
        };
        let success = self.success.value(row);
        let steps = self.episode_steps.value(row);
        match rollouts.last_mut().filter(|last| last.key == key) {
            Some(last) => {
                let after = last.boundaries.last().map_or(0, |previous| previous.step);
                if boundary.step <= after || (success, steps) != (last.success, last.steps) {
                    let found =
                        format!("step {} after {after}, success {success}, {steps} steps", boundary.step);
                    return Err(("step", found, "one episode's rows together, steps ascending, one outcome"));
                }
                last.boundaries.push(boundary);
            }
            None => rollouts.push(Rollout { key, success, steps, boundaries: vec![boundary] }),
        }
        Ok(())
    }
}
