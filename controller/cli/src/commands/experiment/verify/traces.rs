//! Checks stores against their own seals and against their step traces, for `aegis experiment verify`. Prints what was checked and
//! what could not be checked; returns the faults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aegis_experiments::Arm;
use aegis_experiments::data::store::{Chain, Store, StoredSet};
use aegis_experiments::data::trace::{Layout, TraceFile, verify};
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::run::experiment::{TRACES, read_trace, trace_path};
use aegis_experiments::run::ran_under::RanUnder;

use crate::commands::experiment::store_path;
use crate::exit::say;

/// One store of a study: the study's own, or that of its precondition.
pub struct Kept {
    /// Folder of the store.
    pub folder: PathBuf,
    /// The arms whose results are in the store, in the order in which they ran.
    pub arms: Vec<Arm>,
    /// The sections of the report that are computed from the store.
    pub covers: &'static str,
    /// The store.
    pub store: Store,
    /// The sets in the store.
    pub sets: Vec<StoredSet>,
}

/// Computes the store's chain of seals again. Returns each seal and set that differs, and each item of the database that is not a
/// table of a store.
pub fn check_seals(kept: &Kept) -> Vec<String> {
    let folder = kept.folder.display();
    let additions = match kept.store.additions() {
        Err(error) => return vec![error.to_string()],
        Ok(found) => found.into_iter().map(|found| {
            format!("{folder}: found {found} in the store; valid are only the tables that `aegis experiment run` makes")
        }),
    };
    let mut wrong: Vec<String> = additions.collect();
    wrong.extend(changed_seals(kept));
    wrong
}

fn changed_seals(kept: &Kept) -> Vec<String> {
    let (folder, covers) = (kept.folder.display(), kept.covers);
    match kept.store.chain() {
        Err(error) => vec![error.to_string()],
        Ok(None) => {
            say!(
                "{folder}: the store has no seals, because an older version made it: an edit before its report was made is \
                 found only by traces and by --rerun"
            );
            Vec::new()
        }
        Ok(Some(Chain { head, seals, parts, wrong })) => {
            say!("{folder}: {seals} seals were computed again, the last is {head}: covers \"{covers}\"");
            for (index, part) in parts.iter().enumerate() {
                let seal = part.seal.as_deref().unwrap_or("missing, because an older version made it");
                say!("{folder}: part {} had {} sets, its last seal was {seal}", index + 1, part.sets);
            }
            wrong.into_iter().map(|reason| format!("{folder}: {reason}")).collect()
        }
    }
}

/// Checks the plan under which the sets ran, as their seals record it, against the lock. Adds the faults to `wrong`.
pub fn check_locks(kept: &Kept, lock: &Lock, wrong: &mut Vec<String>) -> RanUnder {
    let found = RanUnder::of(lock, &kept.sets);
    if found.known > 0 {
        say!(
            "{}: the plan under which {} sets ran was compared with the registration: covers \"Registration\"",
            kept.folder.display(),
            found.known
        );
    }
    let path = store_path(&kept.folder);
    wrong.extend(found.wrong.iter().map(|line| format!("{}: {line}", path.display())));
    found
}

/// Prints that the step traces are not checked, and how their figures can be checked by running sets again.
pub fn say_without(kept: &Kept) {
    let there = kept.folder.join(TRACES).is_dir();
    say!(
        "{}: step traces {}, their {} digests are in the store: `--rerun N` runs N sets again, `--rerun all` every one, and \
         compares figures and digests",
        kept.folder.display(),
        if there { "were not checked" } else { "are missing" },
        kept.sets.len()
    );
}

/// Checks every stored set against its step trace. Returns the faults.
pub fn check_traces(kept: &Kept, plan: &Plan) -> Vec<String> {
    let folder = &kept.folder;
    if !folder.join(TRACES).is_dir() {
        let valid = "valid is the folder of the study's traces; where only stores and report were kept, pass \
                     --without-traces, and --rerun N to compare sets that are run again";
        return vec![format!("{}: found no step traces; {valid}", folder.join(TRACES).display())];
    }
    let layouts = Layouts::of(&kept.store);
    let mut wrong = Vec::new();
    let (mut held, mut old, mut unchecked) = (0, 0, BTreeSet::new());
    for set in &kept.sets {
        match read(folder, set, layouts) {
            Ok(trace) => {
                let found = verify(set, &trace, &kept.arms, &plan.gate, plan.disturbance(set.key));
                held += 1;
                old += usize::from(trace.layout() == Layout::One);
                unchecked.extend(found.unchecked);
                wrong.extend(found.wrong);
            }
            Err(reason) => wrong.push(reason),
        }
    }
    say!(
        "{held} step traces were compared with the store, and every stored figure with that of its trace: covers \"{}\"",
        kept.covers
    );
    if old > 0 {
        let unchecked = unchecked.into_iter().collect::<Vec<_>>().join("; ");
        say!(
            "{old} of them are of layout 1, which does not determine: {unchecked}; `--rerun` checks these too"
        );
    }
    wrong
}

/// The layouts that the traces of a store may have.
#[derive(Clone, Copy)]
struct Layouts {
    one: bool,
    two: bool,
}

impl Layouts {
    /// Returns the layouts for a store: without seals layout 1; with seals layout 2, and layout 1 for parts without seals
    /// that were merged into it.
    fn of(store: &Store) -> Self {
        match store.chain() {
            Ok(Some(chain)) => Self { one: chain.parts.iter().any(|part| part.seal.is_none()), two: true },
            _ => Self { one: true, two: false },
        }
    }
}

/// Reads the trace of a set, and checks its digest against the store, and its layout.
fn read(folder: &Path, set: &StoredSet, layouts: Layouts) -> Result<TraceFile, String> {
    let path = trace_path(folder, set.key);
    let Some(expected) = &set.trace else {
        return Err(format!("{}: found no digest of this trace in the store", path.display()));
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
