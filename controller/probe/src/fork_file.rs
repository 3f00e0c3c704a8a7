//! Forks as a Parquet file, with one row for each boundary from which branches began. The schema's metadata names the plan, the
//! gate's limits, the number of boundaries that were drawn, and everything that the weak episodes depend on.

mod read;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use aegis_core::{EpisodeKey, GateLimits};
use aegis_files::write_atomically;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, UInt32Array, UInt64Array};
use serde::{Deserialize, Serialize};

pub use read::read;

use crate::forks::{EpisodeForks, Fork, digest};
use crate::parquet_file::bytes;
use crate::rollout_file::{Provenance, RolloutFileError};

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;
/// Key of the schema metadata that contains [`ForkProvenance`] as JSON.
const METADATA: &str = "aegis_forks";
/// Metadata key beside those of [`ForkProvenance`], with the [`digest`] of all values.
const VALUES: &str = "values_sha256";
/// Metadata key beside those of [`ForkProvenance`], with the episodes that have no row.
const WITHOUT_ROWS: &str = "episodes_without_rows";

/// Provenance of forks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkProvenance {
    /// Version of the layout.
    pub schema: u32,
    /// SHA-256 of the plan's canonical form.
    pub plan_sha256: String,
    /// Provenance of the weak episodes: range, seeds, starts, models.
    pub rollouts: Provenance,
    /// Limits of the plan's gate: its guard, hold and chunk decide where branches begin and how long a hold is.
    pub gate: GateLimits,
    /// Most boundaries that were drawn in an episode; `None` where every boundary has its fork.
    pub boundaries_per_episode: Option<u32>,
    /// SHA-256 of the probe that read the risk; `None` without a probe.
    pub probe_sha256: Option<String>,
}

/// Weak episode that has no row, because it ends before a gate may fire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithoutRows {
    key: EpisodeKey,
    success: bool,
    steps: u32,
}

/// Writes the forks atomically. Rows are sorted by task, initial state, replicate and step.
///
/// # Errors
/// [`RolloutFileError::Write`].
pub fn write(
    path: &Path,
    provenance: &ForkProvenance,
    episodes: &[EpisodeForks],
) -> Result<(), RolloutFileError> {
    let io = |reason: String| RolloutFileError::Write { path: path.to_owned(), reason };
    let bytes = file(provenance, episodes).map_err(&io)?;
    write_atomically(path, &bytes).map_err(|error| io(error.to_string()))
}

fn file(provenance: &ForkProvenance, episodes: &[EpisodeForks]) -> Result<Vec<u8>, String> {
    let mut episodes = episodes.to_vec();
    episodes.sort_by_key(|episode| episode.key);
    let rows = || episodes.iter().flat_map(|episode| episode.forks.iter().map(move |fork| (episode, fork)));
    let counts = |value: fn(&EpisodeForks, &Fork) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows().map(|(episode, fork)| value(episode, fork))))
    };
    let flags = |value: fn(&EpisodeForks, &Fork) -> bool| -> ArrayRef {
        Arc::new(rows().map(|(episode, fork)| Some(value(episode, fork))).collect::<BooleanArray>())
    };
    let numbers = |value: fn(&Fork) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows().map(|(_, fork)| value(fork))))
    };
    let replicates = UInt64Array::from_iter_values(rows().map(|(episode, _)| episode.key.replicate));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("task", counts(|episode, _| episode.key.start.task as u32)),
        ("initial_state", counts(|episode, _| episode.key.start.initial_state as u32)),
        ("replicate", Arc::new(replicates)),
        ("step", counts(|_, fork| fork.step)),
        ("inclusion", numbers(|fork| fork.inclusion)),
        ("weak_success", flags(|episode, _| episode.success)),
        ("weak_steps", counts(|episode, _| episode.steps)),
        ("hold_success", flags(|_, fork| fork.hold.success)),
        ("hold_steps", counts(|_, fork| fork.hold.steps)),
        ("hold_strong_steps", counts(|_, fork| fork.hold.strong_steps)),
        ("take_over_success", flags(|_, fork| fork.take_over.success)),
        ("take_over_steps", counts(|_, fork| fork.take_over.steps)),
        ("take_over_strong_steps", counts(|_, fork| fork.take_over.strong_steps)),
    ];
    if provenance.probe_sha256.is_some() {
        columns.push(("risk", numbers(|fork| fork.risk.unwrap_or(f64::NAN))));
    }
    let without = episodes.iter().filter(|episode| episode.forks.is_empty());
    let without: Vec<WithoutRows> = without
        .map(|EpisodeForks { key, success, steps, .. }| WithoutRows {
            key: *key,
            success: *success,
            steps: *steps,
        })
        .collect();
    let json = |value: Result<serde_json::Value, serde_json::Error>| value.map_err(|error| error.to_string());
    let mut about = json(serde_json::to_value(provenance))?;
    about[WITHOUT_ROWS] = json(serde_json::to_value(without))?;
    about[VALUES] = digest(&episodes).into();
    bytes(columns, HashMap::from([(METADATA.to_owned(), about.to_string())]))
}
