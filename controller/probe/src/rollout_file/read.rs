//! Reads rollouts from Parquet files that were written by `aegis collect` or another program: columns in any order with
//! other columns between them, integers and floats of any width, lists of any kind, any codec. Errors name column and
//! row.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::path::Path;

use aegis_core::{Chunk, Disturbance, Start};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use serde_json::Value;

use super::episodes::{Episode, EpisodeRows};
use super::{DISTURBANCE, METADATA, Provenance, RolloutFileError, SCHEMA, SCHEMA_WITHOUT_ORIGINS, VALUES};
use crate::columns::{Complaint, Lists, column, complaint, integers, lists};
use crate::origin::{Starts, difference};
use crate::parquet_file::{DAMAGED, batches, open};
use crate::rollout::{Boundary, Chunks, Rollout, digest};
use aegis_core::EpisodeKey;
use aegis_files::same_digest;

/// Metadata key under which pandas stores the attributes of a data frame, as JSON.
const PANDAS: &str = "PANDAS_ATTRS";

/// Columns that are read.
const COLUMNS: [&str; 9] = [
    "task",
    "initial_state",
    "replicate",
    "success",
    "episode_steps",
    "step",
    "activation",
    "weak_chunk",
    "strong_chunk",
];

/// Reads rollouts and their provenance.
///
/// # Errors
/// A file that cannot be read or is not a Parquet file, and the first invalid column, row or metadata key.
pub fn read(path: &Path) -> Result<(Provenance, Vec<Rollout>), RolloutFileError> {
    let io = |reason: String| RolloutFileError::unread(path, reason);
    let invalid = |complaint: Complaint| RolloutFileError::invalid(path, complaint);
    let damaged = |what: String| io(format!("{DAMAGED} ({what})"));
    let builder = open(path).map_err(io)?;
    let names: Vec<&String> = builder.schema().fields().iter().map(|field| field.name()).collect();
    if let Some(name) = COLUMNS.iter().find(|name| names.iter().filter(|found| found == name).count() > 1) {
        let found = format!("more than one among {names:?}");
        return Err(invalid(complaint(name, found, "one column of this name")));
    }
    let (mut provenance, values) = provenance(builder.schema().metadata()).map_err(&invalid)?;
    let mut taken = EpisodeRows::new(provenance.horizon_steps, provenance.chunk_steps).map_err(&invalid)?;
    let disturbed = provenance.disturbances.is_some();
    let columns: Vec<&str> = COLUMNS.into_iter().chain(disturbed.then_some(DISTURBANCE)).collect();
    for batch in batches(path, &columns).map_err(io)? {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let rows = Rows::of(&batch, taken.rows, disturbed).map_err(&invalid)?;
        for row in 0..batch.num_rows() {
            let boundary = rows.boundary(row, provenance.action_width).map_err(&invalid)?;
            taken.add(rows.episode(row).map_err(&invalid)?, boundary).map_err(&invalid)?;
        }
    }
    let rollouts = taken.whole().map_err(&invalid)?;
    let starts = Starts::of(rollouts.iter().map(|rollout| rollout.key));
    match &provenance.starts {
        Some(said) if *said == starts => {}
        None if provenance.schema == SCHEMA_WITHOUT_ORIGINS => provenance.starts = Some(starts),
        said => return Err(invalid(other_starts(&rollouts, &starts, said.as_ref()))),
    }
    let found = digest(&rollouts);
    if let Some(values) = values.filter(|values| !same_digest(values, &found)) {
        let valid = format!(
            "{values}, metadata.aegis.{VALUES}: the file is damaged, so collect or copy it again; leave the key out where the values \
             were changed on purpose (docs/reference/rollouts.md)"
        );
        return Err(invalid(complaint("rows", format!("values of SHA-256 {found}"), valid)));
    }
    Ok((provenance, rollouts))
}

/// Returns the error for rows whose starts differ from those in the metadata.
fn other_starts(rollouts: &[Rollout], starts: &Starts, said: Option<&Starts>) -> Complaint {
    let text = |starts: &Starts| format!("{starts} (SHA-256 {})", starts.sha256);
    let Some(said) = said else {
        return complaint("rows", text(starts), "starts in metadata.aegis.starts");
    };
    let keys: BTreeSet<EpisodeKey> = rollouts.iter().map(|rollout| rollout.key).collect();
    let listed = said.listed().map(|all| format!("; {}", difference(&keys, &all.into_iter().collect())));
    let valid = format!("{}, as in metadata.aegis.starts{}", text(said), listed.unwrap_or_default());
    complaint("rows", text(starts), valid)
}

/// Parses the provenance and, where present, the digest of the values, from the schema's metadata or from the
/// attributes of a pandas data frame.
fn provenance(metadata: &HashMap<String, String>) -> Result<(Provenance, Option<String>), Complaint> {
    let refused = |found: String| {
        complaint("metadata.aegis", found, "what `aegis collect` writes; see docs/reference/rollouts.md")
    };
    let parse = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| refused(error.to_string()));
    let in_pandas = || -> Result<Option<Value>, Complaint> {
        let Some(attributes) = metadata.get(PANDAS) else { return Ok(None) };
        Ok(parse(attributes)?.get(METADATA).cloned())
    };
    let value = match metadata.get(METADATA) {
        Some(text) => Some(parse(text)?),
        None => in_pandas()?,
    };
    let mut value = match value {
        // A data frame's attribute may be the JSON text itself.
        Some(Value::String(text)) => parse(&text)?,
        Some(value) => value,
        None => return Err(refused("no such key and no attribute `aegis` of a data frame".into())),
    };
    let schema = value.get("schema").cloned().unwrap_or_default();
    if schema != SCHEMA && schema != SCHEMA_WITHOUT_ORIGINS {
        let valid = format!("{SCHEMA}, or {SCHEMA_WITHOUT_ORIGINS}, which does not name its starts");
        return Err(complaint("metadata.aegis.schema", schema.to_string(), valid));
    }
    let values =
        value.as_object_mut().and_then(|about| about.remove(VALUES)).filter(|values| !values.is_null());
    let values: Option<String> = values.map(serde_json::from_value).transpose().map_err(|error| {
        complaint(&format!("metadata.aegis.{VALUES}"), error.to_string(), "a SHA-256, as text")
    })?;
    let provenance = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
    Ok((provenance, values))
}

/// Columns of one record batch.
struct Rows {
    /// Index of the batch's first row in the file.
    first: usize,
    task: Vec<i128>,
    initial_state: Vec<i128>,
    replicate: Vec<i128>,
    success: BooleanArray,
    episode_steps: Vec<i128>,
    step: Vec<i128>,
    activation: Lists,
    weak: Lists,
    strong: Lists,
    /// Disturbances; empty in a file without any.
    disturbances: Vec<Option<Disturbance>>,
}

impl Rows {
    fn of(batch: &RecordBatch, first: usize, disturbed: bool) -> Result<Self, Complaint> {
        const FLAGS: &str = "a column of booleans";
        let whole = |name| {
            const VALID: &str = "a column of whole numbers from 0";
            let found = column(batch, name, VALID, first)?;
            integers(found).ok_or_else(|| complaint(name, found.data_type().to_string(), VALID))
        };
        let success = column(batch, "success", FLAGS, first)?;
        let success = success
            .as_boolean_opt()
            .ok_or_else(|| complaint("success", success.data_type().to_string(), FLAGS))?;
        Ok(Self {
            first,
            task: whole("task")?,
            initial_state: whole("initial_state")?,
            replicate: whole("replicate")?,
            success: success.clone(),
            episode_steps: whole("episode_steps")?,
            step: whole("step")?,
            activation: lists(batch, "activation", first)?,
            weak: lists(batch, "weak_chunk", first)?,
            strong: lists(batch, "strong_chunk", first)?,
            disturbances: if disturbed { disturbances(batch, first)? } else { Vec::new() },
        })
    }

    fn episode(&self, row: usize) -> Result<Episode, Complaint> {
        let start = Start {
            task: self.number::<u32>("task", &self.task, row, u32::MAX)? as usize,
            initial_state: self.number::<u32>("initial_state", &self.initial_state, row, u32::MAX)? as usize,
        };
        let key = EpisodeKey { start, replicate: self.number("replicate", &self.replicate, row, u64::MAX)? };
        let steps = self.number("episode_steps", &self.episode_steps, row, u32::MAX)?;
        let disturbance = self.disturbances.get(row).copied().flatten();
        Ok((key, self.success.value(row), steps, disturbance))
    }

    fn boundary(&self, row: usize, action_width: usize) -> Result<Boundary, Complaint> {
        let chunk = |field: &str, lists: &Lists| {
            let values: Vec<f32> = lists.row(row).iter().map(|value| *value as f32).collect();
            let found = format!("row {}: {} values", self.first + row, values.len());
            let valid = format!("one or more actions of {action_width} finite values");
            Chunk::new(action_width, values).map_err(|_| complaint(field, found, valid))
        };
        Ok(Boundary {
            step: self.number("step", &self.step, row, u32::MAX)?,
            features: self.activation.row(row).to_vec(),
            chunks: Some(Chunks {
                weak: chunk("weak_chunk", &self.weak)?,
                strong: chunk("strong_chunk", &self.strong)?,
            }),
        })
    }

    /// Returns an integer of a row, checked to be from 0 to `largest`.
    fn number<T: TryFrom<i128> + Display>(
        &self,
        name: &str,
        column: &[i128],
        row: usize,
        largest: T,
    ) -> Result<T, Complaint> {
        let value = column.get(row).copied().unwrap_or_default();
        let found = || format!("row {}: {value}", self.first + row);
        T::try_from(value).map_err(|_| complaint(name, found(), format!("0 to {largest}")))
    }
}

/// Reads the column of disturbances: JSON, or an empty text for none.
fn disturbances(batch: &RecordBatch, first: usize) -> Result<Vec<Option<Disturbance>>, Complaint> {
    const VALID: &str = "a column of texts, each a disturbance as JSON, or empty for none";
    let found = column(batch, DISTURBANCE, VALID, first)?;
    // pandas writes texts with 64-bit offsets.
    let texts: Vec<&str> = match (found.as_string_opt::<i32>(), found.as_string_opt::<i64>()) {
        (Some(texts), _) => texts.iter().map(Option::unwrap_or_default).collect(),
        (None, Some(texts)) => texts.iter().map(Option::unwrap_or_default).collect(),
        (None, None) => return Err(complaint(DISTURBANCE, found.data_type().to_string(), VALID)),
    };
    let one = |(row, text): (usize, &str)| {
        let read = (!text.is_empty()).then(|| serde_json::from_str(text)).transpose();
        read.map_err(|error| complaint(DISTURBANCE, format!("row {}: {text}: {error}", first + row), VALID))
    };
    texts.into_iter().enumerate().map(one).collect()
}
