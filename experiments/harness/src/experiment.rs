//! A run that can be stopped at any instant: what the store lacks is run, what it has is left alone.
//! A key's trace is on disk before its results are, so results in the store always have their trace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::arm::Arm;
use crate::episode::{EpisodeContext, EpisodeSettings};
use crate::files::{read_any, sha256_of, write_atomically};
use crate::fork::run_twins;
use crate::key::EpisodeKey;
use crate::runner::{Progress, RunError, SetupError, describe, parallel};
use crate::store::{Store, StoreError};
use crate::trace::Trace;

/// Name of the store in an experiment's folder.
pub const STORE: &str = "episodes.sqlite";
/// Folder of the step traces in an experiment's folder.
pub const TRACES: &str = "traces";

/// Which part of the keys a machine runs: `index` of `count`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// How many parts there are.
    pub count: usize,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Reads `i/N`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let valid = || format!("found {text}; valid is I/N with I from 1 to N, for example 2/8");
        let (index, count) = text.split_once('/').ok_or_else(valid)?;
        let shard =
            Self { index: index.parse().map_err(|_| valid())?, count: count.parse().map_err(|_| valid())? };
        if (1..=shard.count).contains(&shard.index) { Ok(shard) } else { Err(valid()) }
    }

    /// Its keys: every `count`-th from the `index`-th on, so that each part meets every task.
    pub fn of(self, keys: &[EpisodeKey]) -> Vec<EpisodeKey> {
        keys.iter().skip(self.index - 1).step_by(self.count).copied().collect()
    }
}

/// Where a key's step trace lies in an experiment's folder.
pub fn trace_path(folder: &Path, key: EpisodeKey) -> PathBuf {
    folder.join(TRACES).join(key.file_name())
}

/// A step trace is not the one that its store speaks of.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It has other bytes.
    #[error("{}: SHA-256 is {found}; the store says {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Digest in the store.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The bytes of a key's trace, held against its digest in the store.
///
/// # Errors
/// [`TraceError`] where they cannot be read or are others.
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

/// An experiment's folder, its open store, and what is run into it.
pub struct Experiment<'a> {
    /// Where traces go, beside the store.
    pub folder: &'a Path,
    /// The results so far.
    pub store: Store,
    /// All keys that the store is to hold.
    pub keys: &'a [EpisodeKey],
    /// The arms, the weak one first.
    pub arms: &'a [Arm],
}

/// Holds that all that ran is there: the store's file, these sets in it, and their traces.
fn check_kept(folder: &Path, store: &Store, ran: &[EpisodeKey]) -> Result<(), RunError> {
    store.check_place()?;
    let stored: BTreeSet<EpisodeKey> = store.traces()?.into_iter().map(|(key, _)| key).collect();
    for key in ran {
        let path = trace_path(folder, *key);
        if !stored.contains(key) {
            return Err(StoreError::Gone { path: folder.join(STORE) }.into());
        }
        if !path.is_file() {
            let reason = "was written and is gone, so what ran cannot be verified; valid is a folder that nothing else \
                          changes while a run goes on";
            return Err(RunError::Trace { path, reason: reason.into() });
        }
    }
    Ok(())
}

/// Runs what the store lacks of these keys; returns how many it ran.
///
/// # Errors
/// [`RunError`]; what was done before it is kept.
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
    parallel(&missing, workers, open, &follow, |parties, key| {
        let mut trace = Trace::default();
        let twins = run_twins(parties, arms, *key, settings, &mut trace)
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
        store.check_place()?;
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
