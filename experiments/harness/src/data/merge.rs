//! Merges the parts of an experiment that ran on several machines, and refuses duplicate, missing and foreign sets. The
//! merged folder appears only when it is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_files::Scratch;

use crate::data::store::{Part, Store, StoreError};
use crate::run::experiment::{STORE, TRACES, TraceError, read_trace, trace_path};
use crate::run::precondition;
use crate::run::runner::describe;
use aegis_core::EpisodeKey;

/// Error of merging parts.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part's store belongs to another registration, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two parts contain the same episodes.
    #[error("{what}: is in {} and in {}; valid is one part", first.display(), second.display())]
    Overlap {
        /// Name of the set.
        what: String,
        /// First part.
        first: PathBuf,
        /// Second part.
        second: PathBuf,
    },
    /// Sets of the plan are in no part.
    #[error("{count} sets of twins are in no part, the first is {first}; run the shards that have them")]
    Gap {
        /// Number of missing sets.
        count: usize,
        /// Name of the first missing set.
        first: String,
    },
    /// A part contains a set that is not in the plan.
    #[error("{}: found {what}, which is not of this plan; valid is a part that was run under it", part.display())]
    Foreign {
        /// The part.
        part: PathBuf,
        /// Name of the set.
        what: String,
    },
    /// Parts contain different results for the precondition, which every part runs alike.
    #[error("{}: found other episodes than in {}; valid is the same precondition in every part", other.display(), first.display())]
    Differs {
        /// Part that differs.
        other: PathBuf,
        /// Part that it is compared with.
        first: PathBuf,
    },
    /// A part's contents differ from their seals.
    #[error("{}: {what}; valid is a part that was not edited since it was run", part.display())]
    Sealed {
        /// The part.
        part: PathBuf,
        /// First entry that differs.
        what: String,
    },
    /// A trace does not match its digest in the store.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The output path exists already.
    #[error("{}: found an existing file or folder; valid is a new path: choose another --out", out.display())]
    Exists {
        /// Output path.
        out: PathBuf,
    },
    /// The output folder cannot be created.
    #[error("{}: cannot make the folder: {source}", out.display())]
    Folder {
        /// Output path.
        out: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

struct Set<'a> {
    part: &'a Path,
    store: &'a Store,
    trace: String,
}

/// Merges the parts of the experiment with `registration_id` into the new folder `out` and returns the number of sets.
/// `keys` are all keys of the plan; `precondition` are the keys of the plan's precondition, if it has one, which every
/// part has run alike before its own keys.
pub fn merge(
    out: &Path,
    parts: &[PathBuf],
    registration_id: &str,
    keys: &[EpisodeKey],
    precondition: Option<&[EpisodeKey]>,
) -> Result<usize, MergeError> {
    let at_place = |source: std::io::Error| {
        let out = out.to_owned();
        match source.kind() {
            ErrorKind::AlreadyExists => MergeError::Exists { out },
            _ => MergeError::Folder { out, source },
        }
    };
    let half = Scratch::beside(out).map_err(at_place)?;
    let before: Vec<PathBuf> = parts.iter().map(|part| part.join(precondition::FOLDER)).collect();
    if precondition.is_some() {
        check_alike(&before, registration_id)?;
    }
    let sets = fill(half.path(), parts, registration_id, keys)?;
    if let Some(keys) = precondition {
        fill(
            &half.path().join(precondition::FOLDER),
            before.get(..1).unwrap_or_default(),
            registration_id,
            keys,
        )?;
    }
    half.become_folder(out).map_err(at_place)?;
    Ok(sets)
}

fn write(path: &Path) -> impl FnOnce(std::io::Error) -> MergeError {
    let path = path.to_owned();
    move |source| MergeError::Write { path, source }
}

/// Merges the sets of `keys` from the parts into a new folder and returns the number of sets.
fn fill(
    folder: &Path,
    parts: &[PathBuf],
    registration_id: &str,
    keys: &[EpisodeKey],
) -> Result<usize, MergeError> {
    let stores = parts
        .iter()
        .map(|part| Store::read(&part.join(STORE), registration_id))
        .collect::<Result<Vec<_>, _>>()?;
    let (sets, interruptions) = gather(parts, &stores, keys)?;
    let ends =
        parts.iter().zip(&stores).map(|(part, store)| end(part, store)).collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(folder.join(TRACES)).map_err(write(folder))?;
    let mut store = Store::open_of(&folder.join(STORE), registration_id, &ends)?;
    for (key, set) in &sets {
        let bytes = read_trace(set.part, *key, &set.trace)?;
        let to = trace_path(folder, *key);
        std::fs::write(&to, bytes).map_err(write(&to))?;
        store.copy(set.store, *key, &set.trace)?;
    }
    for (what, reason) in interruptions {
        store.interrupted(&what, &reason)?;
    }
    Ok(sets.len())
}

/// Returns a part's number of sets and last seal, which the merged store keeps; refuses a part that was edited since it
/// was sealed.
fn end(part: &Path, store: &Store) -> Result<Part, MergeError> {
    let chain = store.chain()?;
    if let Some(what) = chain.as_ref().and_then(|chain| chain.wrong.first()) {
        return Err(MergeError::Sealed { part: part.to_owned(), what: what.clone() });
    }
    Ok(Part { sets: store.traces()?.len(), seal: chain.map(|chain| chain.head) })
}

/// Checks that the stores of all folders contain the same results.
fn check_alike(folders: &[PathBuf], registration_id: &str) -> Result<(), MergeError> {
    let digest = |folder: &Path| Store::read(&folder.join(STORE), registration_id)?.sha256();
    let Some((first, others)) = folders.split_first() else { return Ok(()) };
    let expected = digest(first)?;
    for other in others {
        if digest(other)? != expected {
            return Err(MergeError::Differs { other: other.clone(), first: first.clone() });
        }
    }
    Ok(())
}

type Gathered<'a> = (BTreeMap<EpisodeKey, Set<'a>>, Vec<(String, String)>);

fn gather<'a>(
    parts: &'a [PathBuf],
    stores: &'a [Store],
    keys: &[EpisodeKey],
) -> Result<Gathered<'a>, MergeError> {
    let asked: BTreeSet<EpisodeKey> = keys.iter().copied().collect();
    let mut sets: BTreeMap<EpisodeKey, Set<'_>> = BTreeMap::new();
    let mut interruptions = Vec::new();
    for (part, store) in parts.iter().zip(stores) {
        for (key, trace) in store.traces()? {
            let what = describe(key, "twins");
            if !asked.contains(&key) {
                return Err(MergeError::Foreign { part: part.clone(), what });
            }
            let set = Set { part, store, trace };
            if let Some(other) = sets.insert(key, set) {
                return Err(MergeError::Overlap { what, first: other.part.to_owned(), second: part.clone() });
            }
        }
        interruptions.extend(store.interruptions()?);
    }
    let mut missing = asked.iter().filter(|key| !sets.contains_key(key));
    if let Some(first) = missing.next() {
        return Err(MergeError::Gap { count: 1 + missing.count(), first: describe(*first, "twins") });
    }
    Ok((sets, interruptions))
}
