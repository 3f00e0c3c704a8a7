//! Runs an experiment so that it can be stopped at any instant: only the keys that the store lacks are run. A key's
//! trace is written to disk before its results are stored, so stored results always have their trace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::data::store::{Store, StoreError};
use crate::data::trace::Trace;
use crate::episode::arm::Arm;
use crate::episode::context::{EpisodeContext, EpisodeSettings};
use crate::episode::fork::run_twins;
use crate::run::runner::{Progress, RunError, SetupError, describe, parallel};
use aegis_core::EpisodeKey;
use aegis_files::{Written, read_any, sha256_of, write_atomically};

/// File name of the store in an experiment's folder.
pub const STORE: &str = "episodes.sqlite";
/// Name of the folder of step traces in an experiment's folder.
pub const TRACES: &str = "traces";

/// Part of the keys that one machine runs: part `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the part, from 1.
    pub index: usize,
    /// Number of parts.
    pub count: usize,
}

impl Shard {
    /// Single part with all keys.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Parses `I/N`, with I from 1 to N.
    pub fn parse(text: &str) -> Result<Self, String> {
        let valid = || format!("found {text}; valid is I/N with I from 1 to N, for example 2/8");
        let (index, count) = text.split_once('/').ok_or_else(valid)?;
        let shard =
            Self { index: index.parse().map_err(|_| valid())?, count: count.parse().map_err(|_| valid())? };
        if (1..=shard.count).contains(&shard.index) { Ok(shard) } else { Err(valid()) }
    }

    /// Returns the keys of this part: every `count`-th from the `index`-th on, so that each part covers every task.
    pub fn of(self, keys: &[EpisodeKey]) -> Vec<EpisodeKey> {
        keys.iter().skip(self.index - 1).step_by(self.count).copied().collect()
    }
}

/// Returns the path of a key's step trace in an experiment's folder.
pub fn trace_path(folder: &Path, key: EpisodeKey) -> PathBuf {
    folder.join(TRACES).join(key.file_name())
}

/// Error about a step trace that does not match its store.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file's SHA-256 differs from the one in the store.
    #[error("{}: SHA-256: found {found}; valid is {expected}, that in the store", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Digest in the store.
        expected: String,
        /// Digest of the file.
        found: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

/// Reads a key's trace and checks its bytes against the digest in the store.
///
/// # Errors
/// [`TraceError`] where the file cannot be read or its digest differs.
pub fn read_trace(folder: &Path, key: EpisodeKey, expected: &str) -> Result<Vec<u8>, TraceError> {
    let path = trace_path(folder, key);
    let bytes = match read_any(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(TraceError::Read { path, source }),
    };
    let found = sha256_of(&bytes);
    if found == expected {
        return Ok(bytes);
    }
    Err(TraceError::Digest { path, expected: expected.to_owned(), found })
}

/// An experiment: its folder, its open store, its keys and its arms.
pub struct Experiment<'a> {
    /// Folder of the store and of the traces.
    pub folder: &'a Path,
    /// Store of the results.
    pub store: Store,
    /// All keys that the store is to contain in the end.
    pub keys: &'a [EpisodeKey],
    /// The arms, the weak one first.
    pub arms: &'a [Arm],
}

/// Checks that everything that ran was kept: the store's file, these sets in it, and their traces.
fn check_kept(folder: &Path, store: &Store, ran: &[EpisodeKey]) -> Result<(), RunError> {
    store.check_not_replaced()?;
    let stored: BTreeSet<EpisodeKey> = store.traces()?.into_iter().map(|(key, _)| key).collect();
    for key in ran {
        let path = trace_path(folder, *key);
        if !stored.contains(key) {
            return Err(StoreError::Gone { path: folder.join(STORE) }.into());
        }
        if !path.is_file() {
            let reason = "was written and is missing, so the run cannot be verified; valid is a folder that nothing else \
                          changes during a run";
            return Err(RunError::Trace { path, reason: reason.into() });
        }
    }
    Ok(())
}

/// Runs the keys that the store lacks and returns how many were run.
///
/// # Errors
/// [`RunError`]. Sets that were finished before the error are kept.
pub fn run(
    experiment: Experiment<'_>,
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<usize, RunError> {
    let Experiment { folder, store, keys, arms } = experiment;
    let done: BTreeSet<EpisodeKey> = store.traces()?.into_iter().map(|(key, _)| key).collect();
    let missing: Vec<EpisodeKey> = keys.iter().filter(|key| !done.contains(key)).copied().collect();
    for path in missing.iter().map(|key| trace_path(folder, *key)) {
        // A killed run may leave a trace without a result in the store, which is written again; any other file stays.
        let refused = |error: std::io::Error| error.to_string();
        if let Err(reason) = Written::Parquet.check(&path, &[]).map_err(refused) {
            return Err(RunError::Trace { path, reason });
        }
    }
    let layout = store.trace_layout();
    let store = Mutex::new(store);
    let noted: Mutex<Option<StoreError>> = Mutex::new(None);
    let follow = |said: Progress<'_>| {
        if let (Progress::Interrupted { what, reason }, Ok(mut store)) = (said, store.lock())
            && let (Err(error), Ok(mut noted)) = (store.interrupted(what, reason), noted.lock())
        {
            noted.get_or_insert(error);
        }
        progress(said);
    };
    parallel(&missing, workers, open, &follow, |context, key| {
        let mut trace = Trace::default();
        let twins = run_twins(context, arms, *key, settings, &mut trace)
            .map_err(|source| RunError::Job { what: describe(*key, "twins"), source })?;
        let results: Vec<_> = twins.into_iter().map(|(result, _)| result).collect();
        let path = trace_path(folder, *key);
        let failed = |reason: String| RunError::Trace {
            path: path.clone(),
            reason: format!("cannot write: {reason}"),
        };
        let bytes = trace.file(layout, *key, settings.gate.chunk_steps).parquet().map_err(failed)?;
        write_atomically(&path, &bytes).map_err(|error| failed(error.to_string()))?;
        let mut store = store.lock().map_err(|_| RunError::Worker)?;
        store.check_not_replaced()?;
        store.insert(&results, &sha256_of(&bytes))?;
        Ok(())
    })?;
    let store = store.into_inner().map_err(|_| RunError::Worker)?;
    check_kept(folder, &store, &missing)?;
    match noted.into_inner().map_err(|_| RunError::Worker)? {
        Some(error) => Err(error.into()),
        None => Ok(missing.len()),
    }
}
