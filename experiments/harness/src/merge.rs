//! Parts of an experiment that ran on several machines, put together: nothing twice, nothing missing, nothing foreign.
//! The whole appears at its place when all of it is there, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_files::Scratch;

use crate::experiment::{STORE, TRACES, TraceError, read_trace, trace_path};
use crate::key::EpisodeKey;
use crate::precondition;
use crate::runner::describe;
use crate::store::{Part, Store, StoreError};

/// Why parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part's store is of another registration, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two parts hold the same episodes.
    #[error("{what}: is in {} and in {}; valid is one part", first.display(), second.display())]
    Overlap {
        /// Which.
        what: String,
        /// One part.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Episodes of the plan are in no part.
    #[error("{count} sets of twins are in no part, the first is {first}; run the shards that lack them")]
    Gap {
        /// How many.
        count: usize,
        /// The first.
        first: String,
    },
    /// A part holds an episode that the plan does not ask for.
    #[error("{}: {what}: is not of this plan", part.display())]
    Foreign {
        /// The part.
        part: PathBuf,
        /// Which.
        what: String,
    },
    /// Parts that should hold the same do not.
    #[error("{}: holds other episodes than {}; valid is the same in every part", other.display(), first.display())]
    Differs {
        /// A part.
        other: PathBuf,
        /// What it is held against.
        first: PathBuf,
    },
    /// What a part holds is not as it was sealed.
    #[error("{}: {what}; valid is a part as it was run", part.display())]
    Sealed {
        /// The part.
        part: PathBuf,
        /// The first thing that is not.
        what: String,
    },
    /// A trace is not the one that the store speaks of.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// There is something at the place of the whole.
    #[error("{}: is there already; valid is a place where nothing is yet, so choose another --out", out.display())]
    Exists {
        /// The place.
        out: PathBuf,
    },
    /// No folder can be made at the place of the whole.
    #[error("{}: cannot make the folder: {source}", out.display())]
    Folder {
        /// The place.
        out: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

struct Set<'a> {
    part: &'a Path,
    store: &'a Store,
    trace: String,
}

/// Puts the parts of the experiment that `registration_id` names together at `out`, which must not be there, and returns how
/// many sets of twins it holds. `keys` are all of the plan's, `precondition` those that every part has run alike before
/// its own, if the plan has one.
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

/// Puts what the parts hold of `keys` into a new folder; returns how many sets that is.
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

/// How much a part holds and its last seal, which the whole keeps; what was edited since it was sealed is refused.
fn end(part: &Path, store: &Store) -> Result<Part, MergeError> {
    let chain = store.chain()?;
    if let Some(what) = chain.as_ref().and_then(|chain| chain.wrong.first()) {
        return Err(MergeError::Sealed { part: part.to_owned(), what: what.clone() });
    }
    Ok(Part { sets: store.traces()?.len(), seal: chain.map(|chain| chain.head) })
}

/// Refuses folders whose stores hold different results.
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
