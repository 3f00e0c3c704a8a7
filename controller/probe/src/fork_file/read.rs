//! Reads forks, and checks each row against the metadata and the other rows of its episode. Errors name column and row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use aegis_core::{EpisodeKey, Start};
use aegis_files::same_digest;
use arrow::array::{Array, AsArray, RecordBatch};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ForkProvenance, METADATA, SCHEMA, VALUES, WITHOUT_ROWS, WithoutRows};
use crate::columns::{Complaint, column, complaint, integers, numbers};
use crate::forks::{Branch, EpisodeForks, Fork, digest};
use crate::origin::Starts;
use crate::parquet_file::{DAMAGED, batches, open};
use crate::rollout_file::RolloutFileError;

/// Columns of whole numbers.
const COUNTS: [&str; 9] = [
    "task",
    "initial_state",
    "replicate",
    "step",
    "weak_steps",
    "hold_steps",
    "hold_strong_steps",
    "take_over_steps",
    "take_over_strong_steps",
];
/// Columns of booleans.
const FLAGS: [&str; 3] = ["weak_success", "hold_success", "take_over_success"];
/// Columns of numbers; the last one only where the metadata name a probe.
const NUMBERS: [&str; 2] = ["inclusion", "risk"];

/// Reads the provenance and the forks of all episodes, sorted by task, initial state and replicate.
///
/// # Errors
/// A file that cannot be read or is not a file of forks, and the first invalid column, row or metadata key.
pub fn read(path: &Path) -> Result<(ForkProvenance, Vec<EpisodeForks>), RolloutFileError> {
    let io = |reason: String| RolloutFileError::unread(path, reason);
    let invalid = |complaint: Complaint| RolloutFileError::invalid(path, complaint);
    let builder = open(path).map_err(io)?;
    let about = About::of(builder.schema().metadata()).map_err(invalid)?;
    let mut episodes: BTreeMap<EpisodeKey, EpisodeForks> = BTreeMap::new();
    for WithoutRows { key, success, steps } in about.without {
        episodes.insert(key, EpisodeForks { key, success, steps, forks: Vec::new() });
    }
    let wanted: Vec<&str> = [&COUNTS[..], &FLAGS, &NUMBERS].concat();
    let mut first = 0;
    for batch in batches(path, &wanted).map_err(io)? {
        let batch = batch.map_err(|error| io(format!("{DAMAGED} ({error})")))?;
        let rows = Rows::of(&batch, about.provenance.probe_sha256.is_some(), first).map_err(invalid)?;
        for row in 0..batch.num_rows() {
            let (episode, fork) = rows.row(row).map_err(invalid)?;
            add(&mut episodes, episode, fork, &about.provenance).map_err(|(field, found, valid)| {
                invalid((field, format!("row {}: {found}", first + row), valid))
            })?;
        }
        first += batch.num_rows();
    }
    let episodes: Vec<EpisodeForks> = episodes.into_values().collect();
    let starts = Starts::of(episodes.iter().map(|episode| episode.key));
    if about.provenance.rollouts.starts.as_ref().is_none_or(|said| *said != starts) {
        let text = |starts: &Starts| format!("{starts} (SHA-256 {})", starts.sha256);
        let valid = about.provenance.rollouts.starts.as_ref().map_or("starts in the metadata".into(), text);
        return Err(invalid(complaint(
            "rows",
            text(&starts),
            format!("{valid}, metadata.{METADATA}.rollouts.starts"),
        )));
    }
    let found = digest(&episodes);
    if !same_digest(&about.values, &found) {
        let valid = format!(
            "{}, metadata.{METADATA}.{VALUES}: the file is damaged or was changed, so collect or copy it again",
            about.values
        );
        return Err(invalid(complaint("rows", format!("values of SHA-256 {found}"), valid)));
    }
    Ok((about.provenance, episodes))
}

/// Adds one row to its episode.
fn add(
    episodes: &mut BTreeMap<EpisodeKey, EpisodeForks>,
    weak: EpisodeForks,
    fork: Fork,
    about: &ForkProvenance,
) -> Result<(), Complaint> {
    let (chunk, horizon) = (about.gate.chunk_steps, about.gate.horizon_steps);
    let unless = |is_valid: bool, field: &str, found: String, valid: String| {
        if is_valid { Ok(()) } else { Err(complaint(field, found, valid)) }
    };
    let (step, steps) = (fork.step, weak.steps);
    unless(steps <= horizon, "weak_steps", steps.to_string(), format!("at most {horizon}, the horizon"))?;
    let grid = format!("a multiple of {chunk}, gate.chunk_steps, below {steps}, the episode's end");
    unless(step.is_multiple_of(chunk.max(1)) && step < steps, "step", step.to_string(), grid)?;
    let inclusion = fork.inclusion;
    unless(
        inclusion > 0.0 && inclusion <= 1.0,
        "inclusion",
        inclusion.to_string(),
        "above 0, at most 1".into(),
    )?;
    for (name, branch) in [("hold", fork.hold), ("take_over", fork.take_over)] {
        let Branch { steps, strong_steps, .. } = branch;
        let valid = format!("above {step}, the boundary, and at most {horizon}, the horizon");
        unless(steps > step && steps <= horizon, &format!("{name}_steps"), steps.to_string(), valid)?;
        let valid = format!("1 to {}, the control steps after the boundary", steps - step);
        let is_valid = (1..=steps - step).contains(&strong_steps);
        unless(is_valid, &format!("{name}_strong_steps"), strong_steps.to_string(), valid)?;
    }
    let there = episodes.entry(weak.key).or_insert_with(|| weak.clone());
    let one_outcome = (there.success, there.steps) == (weak.success, weak.steps);
    let found = format!("success {}, {steps} steps", weak.success);
    unless(one_outcome, "weak_success", found, "one outcome of the weak episode in all of its rows".into())?;
    let last = there.forks.last().map(|last| last.step);
    let valid = "the rows of an episode sorted by step, each boundary once";
    unless(last.is_none_or(|last| last < step), "step", step.to_string(), valid.into())?;
    there.forks.push(fork);
    Ok(())
}

/// Metadata of a file.
struct About {
    provenance: ForkProvenance,
    without: Vec<WithoutRows>,
    values: String,
}

impl About {
    fn of(metadata: &HashMap<String, String>) -> Result<Self, Complaint> {
        let field = format!("metadata.{METADATA}");
        let refused = |found: String| {
            let valid =
                "what `aegis collect RANGE --forks` writes beside the rollouts; see docs/reference/forks.md";
            complaint(&field, found, valid)
        };
        let text = metadata.get(METADATA).ok_or_else(|| refused("no such key".into()))?;
        let mut about: Map<String, Value> = parsed(text).map_err(refused)?;
        let schema = about.get("schema").cloned().unwrap_or_default();
        if schema != SCHEMA {
            return Err(complaint(&format!("{field}.schema"), schema.to_string(), SCHEMA.to_string()));
        }
        let mut part = |name: &str| about.remove(name).unwrap_or_default().to_string();
        let without = parsed(&part(WITHOUT_ROWS)).map_err(refused)?;
        let values = parsed(&part(VALUES)).map_err(refused)?;
        let provenance = parsed(&Value::Object(about).to_string()).map_err(refused)?;
        Ok(Self { provenance, without, values })
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Columns of one record batch, by name.
struct Rows {
    /// Index of the batch's first row in the file.
    first: usize,
    counts: HashMap<&'static str, Vec<i128>>,
    flags: HashMap<&'static str, Vec<bool>>,
    numbers: HashMap<&'static str, Vec<f64>>,
}

impl Rows {
    fn of(batch: &RecordBatch, is_scored: bool, first: usize) -> Result<Self, Complaint> {
        fn all<T>(
            batch: &RecordBatch,
            names: &[&'static str],
            (first, valid): (usize, &str),
            read: impl Fn(&dyn Array) -> Option<Vec<T>>,
        ) -> Result<HashMap<&'static str, Vec<T>>, Complaint> {
            let one = |name: &&'static str| {
                let found = column(batch, name, valid, first)?;
                let values =
                    read(found).ok_or_else(|| complaint(name, found.data_type().to_string(), valid))?;
                Ok((*name, values))
            };
            names.iter().map(one).collect()
        }
        let booleans =
            |found: &dyn Array| Some(found.as_boolean_opt()?.values().iter().collect::<Vec<bool>>());
        let named = if is_scored { &NUMBERS[..] } else { &NUMBERS[..1] };
        Ok(Self {
            first,
            counts: all(batch, &COUNTS, (first, "a column of whole numbers from 0"), integers)?,
            flags: all(batch, &FLAGS, (first, "a column of booleans"), booleans)?,
            numbers: all(batch, named, (first, "a column of numbers"), numbers)?,
        })
    }

    /// Returns a row as its weak episode, without forks, and its fork.
    fn row(&self, row: usize) -> Result<(EpisodeForks, Fork), Complaint> {
        let flag =
            |name: &str| self.flags.get(name).and_then(|values| values.get(row)).copied().unwrap_or_default();
        let number = |name: &str| self.numbers.get(name).and_then(|values| values.get(row)).copied();
        let small = |name: &str| self.count::<u32>(name, row);
        let branch = |success: &str, steps: &str, strong_steps: &str| {
            Ok::<_, Complaint>(Branch {
                success: flag(success),
                steps: small(steps)?,
                strong_steps: small(strong_steps)?,
            })
        };
        let start = Start { task: small("task")? as usize, initial_state: small("initial_state")? as usize };
        let key = EpisodeKey { start, replicate: self.count("replicate", row)? };
        let fork = Fork {
            step: small("step")?,
            risk: number("risk").filter(|risk| !risk.is_nan()),
            inclusion: number("inclusion").unwrap_or_default(),
            hold: branch("hold_success", "hold_steps", "hold_strong_steps")?,
            take_over: branch("take_over_success", "take_over_steps", "take_over_strong_steps")?,
        };
        let (success, steps) = (flag("weak_success"), small("weak_steps")?);
        Ok((EpisodeForks { key, success, steps, forks: Vec::new() }, fork))
    }

    fn count<T: TryFrom<i128>>(&self, name: &str, row: usize) -> Result<T, Complaint> {
        let value = self.counts.get(name).and_then(|values| values.get(row)).copied().unwrap_or_default();
        let found = format!("row {}: {value}", self.first + row);
        T::try_from(value).map_err(|_| complaint(name, found, "a whole number from 0 that fits its type"))
    }
}
