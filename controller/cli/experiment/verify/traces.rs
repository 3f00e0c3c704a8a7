//! Stores held against their own seals and against their step traces, for `aegis experiment verify`.
//! Says what was held and what could not be; returns what is wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aegis_core::GateLimits;
use aegis_experiments::Arm;
use aegis_experiments::experiment::{TRACES, read_trace, trace_path};
use aegis_experiments::ran_under::RanUnder;
use aegis_experiments::registration::Lock;
use aegis_experiments::store::{Chain, Store, StoredSet};
use aegis_experiments::trace::{Layout, TraceFile, verify};

use crate::exit::say;
use crate::experiment::store_path;

/// One store of a study: its own, or that of its precondition.
pub struct Kept {
    /// Where it lies.
    pub folder: PathBuf,
    /// The arms that ran into it, in their order.
    pub arms: Vec<Arm>,
    /// What of the report rests on it.
    pub covers: &'static str,
    /// The store.
    pub store: Store,
    /// What it holds.
    pub sets: Vec<StoredSet>,
}

/// Makes the chain of seals again.
pub fn check_seals(kept: &Kept) -> Vec<String> {
    let (folder, covers) = (kept.folder.display(), kept.covers);
    match kept.store.chain() {
        Err(error) => vec![error.to_string()],
        Ok(None) => {
            say!(
                "{folder}: the store carries no seals, for an older version made it: an edit before its report was made is \
                 found by traces and by --rerun alone"
            );
            Vec::new()
        }
        Ok(Some(Chain { head, seals, parts, wrong })) => {
            say!("{folder}: {seals} seals were made again, the last is {head}: covers \"{covers}\"");
            for (index, part) in parts.iter().enumerate() {
                let seal = part.seal.as_deref().unwrap_or("missing, for an older version made it");
                say!("{folder}: part {} had {} sets, its last seal was {seal}", index + 1, part.sets);
            }
            wrong.into_iter().map(|reason| format!("{folder}: {reason}")).collect()
        }
    }
}

/// Holds what the sets say of the plan under which they ran against the lock.
pub fn check_locks(kept: &Kept, lock: &Lock, wrong: &mut Vec<String>) -> RanUnder {
    let found = RanUnder::of(lock, &kept.sets);
    if found.known > 0 {
        say!(
            "{}: the plan under which {} sets ran was compared with the registration: covers \"What this belongs to\"",
            kept.folder.display(),
            found.known
        );
    }
    let path = store_path(&kept.folder);
    wrong.extend(found.wrong.iter().map(|line| format!("{}: {line}", path.display())));
    found
}

/// Says that traces are left out, and how their figures can be had.
pub fn say_without(kept: &Kept) {
    let there = kept.folder.join(TRACES).is_dir();
    say!(
        "{}: step traces {}, their {} digests are in the store: `--rerun N` runs N sets again, `--rerun all` every one, and \
         compares figures and digests",
        kept.folder.display(),
        if there { "were left out" } else { "are not here" },
        kept.sets.len()
    );
}

/// Holds every stored set against its step trace.
pub fn check_traces(kept: &Kept, gate: &GateLimits) -> Vec<String> {
    let folder = &kept.folder;
    if !folder.join(TRACES).is_dir() {
        let valid = "valid is the folder of the study's traces; where only stores and report were kept, pass \
                     --without-traces, and --rerun N to hold sets that are run again";
        return vec![format!("{}: found no step traces; {valid}", folder.join(TRACES).display())];
    }
    let layouts = Layouts::of(&kept.store);
    let mut wrong = Vec::new();
    let (mut held, mut old, mut unchecked) = (0, 0, BTreeSet::new());
    for set in &kept.sets {
        match read(folder, set, layouts) {
            Ok(trace) => {
                let found = verify(set, &trace, &kept.arms, gate);
                held += 1;
                old += usize::from(trace.layout() == Layout::One);
                unchecked.extend(found.unchecked);
                wrong.extend(found.wrong);
            }
            Err(reason) => wrong.push(reason),
        }
    }
    say!(
        "{held} step traces were compared with the store, and every stored figure with what its trace gives: covers \"{}\"",
        kept.covers
    );
    if old > 0 {
        let unchecked = unchecked.into_iter().collect::<Vec<_>>().join("; ");
        say!(
            "{old} of them are of layout 1, against which could not be held: {not_held}; `--rerun` holds these too"
        );
    }
    wrong
}

/// Which layouts the traces of a store may have.
#[derive(Clone, Copy)]
struct Layouts {
    one: bool,
    two: bool,
}

impl Layouts {
    /// A store without seals has traces of layout 1; one with seals those of layout 2, and what unsealed parts brought.
    fn of(store: &Store) -> Self {
        match store.chain() {
            Ok(Some(chain)) => Self { one: chain.parts.iter().any(|part| part.seal.is_none()), two: true },
            _ => Self { one: true, two: false },
        }
    }
}

/// The trace of a set, held against its digest in the store.
fn read(folder: &Path, set: &StoredSet, layouts: Layouts) -> Result<TraceFile, String> {
    let path = trace_path(folder, set.key);
    let Some(expected) = &set.trace else {
        return Err(format!("{}: the store has no digest of it", path.display()));
    };
    let bytes = read_trace(folder, set.key, expected).map_err(|error| error.to_string())?;
    let trace = TraceFile::read(bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let fits = match trace.layout() {
        Layout::One => layouts.one,
        Layout::Two => layouts.two,
    };
    if fits {
        return Ok(trace);
    }
    let (found, valid) = match trace.layout() {
        Layout::One => ("1", "2, which a store with seals has"),
        Layout::Two => ("2", "1, which a store without seals has"),
    };
    Err(format!("{}: layout: found {found}; valid is {valid}", path.display()))
}
