//! Runs that are stopped and continued, on a one-dimensional plant.
//! Stored episodes are not run again, and the store's contents do not depend on where a run stopped.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{self, KEYS, gated, open, settings};
use aegis_core::EpisodeKey;
use aegis_core::PlantError;
use aegis_experiments::data::merge::merge;
use aegis_experiments::data::store::{Store, StoreError};
use aegis_experiments::run::experiment::{self, Experiment, STORE, Shard, trace_path};
use aegis_experiments::run::precondition;
use aegis_experiments::run::runner::{Progress, RunError, SetupError};
use aegis_experiments::{Arm, Drive, EpisodeContext, EpisodeResult, EpisodeSettings};

const BELONGS: &str = "registration of a test";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn arms() -> Vec<Arm> {
    let random = Arm { name: "random".into(), drive: Drive::Yoked("aegis".into()) };
    vec![Arm::weak(), gated(), random, Arm::strong()]
}

fn keys() -> Vec<EpisodeKey> {
    KEYS.keys(0..1)
}

fn run_with(
    folder: &Path,
    keys: &[EpisodeKey],
    workers: usize,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
) -> Result<usize, RunError> {
    let store = Store::open(&folder.join(STORE), BELONGS)?;
    let settings = EpisodeSettings { fork: true, ..settings() };
    experiment::run(
        Experiment { folder, store, keys, arms: &arms() },
        workers,
        &settings,
        open,
        &|_: Progress<'_>| {},
    )
}

fn run(folder: &Path, keys: &[EpisodeKey], workers: usize) -> usize {
    run_with(folder, keys, workers, &|_| Ok(open())).unwrap()
}

/// Returns the results and the bytes of every trace.
fn outcome(folder: &Path) -> (Vec<EpisodeResult>, Vec<Vec<u8>>) {
    let store = Store::read(&folder.join(STORE), BELONGS).unwrap();
    let traces = store.traces().unwrap();
    let bytes = traces.iter().map(|(key, _)| std::fs::read(trace_path(folder, *key)).unwrap()).collect();
    (store.results().unwrap(), bytes)
}

#[test]
fn a_run_in_pieces_ends_as_one_that_was_not_stopped() {
    let (whole, pieces) = (folder("whole"), folder("pieces"));
    assert_eq!(run(&whole, &keys(), 1), 20);
    let all = outcome(&whole);
    assert_eq!(all.0.len(), 20 * arms().len());

    assert_eq!(run(&pieces, &keys()[15..], 3), 5);
    assert_eq!(run(&pieces, &keys()[..3], 2), 3);
    assert_eq!(run(&pieces, &keys(), 4), 12, "only missing sets");
    assert_eq!(run(&pieces, &keys(), 4), 0);
    assert_eq!(outcome(&pieces), all);
}

#[test]
fn results_before_a_failure_are_kept() {
    let folder = folder("failure");
    let fails_later = |_| {
        let plant = Box::new(support::Breaking::after(6, || PlantError::Backend("it broke".into())));
        Ok(EpisodeContext { plant, ..open() })
    };
    let error = run_with(&folder, &keys(), 1, &fails_later).unwrap_err();
    assert!(error.to_string().contains("it broke"), "{error}");
    let store = Store::read(&folder.join(STORE), BELONGS).unwrap();
    let kept = store.results().unwrap();
    assert!(!kept.is_empty() && kept.len().is_multiple_of(arms().len()), "{} results", kept.len());
    drop(store);
    let done = kept.len() / arms().len();
    assert_eq!(run(&folder, &keys(), 1), 20 - done);
    let whole = self::folder("failure-whole");
    run(&whole, &keys(), 1);
    assert_eq!(outcome(&folder), outcome(&whole));
}

#[test]
fn a_lost_plant_is_recorded_and_its_episode_run_again() {
    let folder = folder("lost");
    let opened = AtomicUsize::new(0);
    let lost_once = |_| {
        let first = opened.fetch_add(1, Ordering::Relaxed) == 0;
        let after = if first { 4 } else { usize::MAX };
        let plant = Box::new(support::Breaking::after(after, || PlantError::Lost("unplugged".into())));
        Ok(EpisodeContext { plant, ..open() })
    };
    assert_eq!(run_with(&folder, &keys(), 1, &lost_once).unwrap(), 20);
    let noted = Store::read(&folder.join(STORE), BELONGS).unwrap().interruptions().unwrap();
    assert_eq!(noted.len(), 1);
    assert!(noted[0].0.contains("task 0") && noted[0].1.contains("unplugged"), "{noted:?}");
    let whole = self::folder("lost-whole");
    run(&whole, &keys(), 1);
    assert_eq!(outcome(&folder), outcome(&whole));
}

#[test]
fn a_file_removed_during_a_run_is_an_error() {
    // Calls `take` after the first set of a run with more sets.
    let taken = |name: &str, take: fn(&Path)| {
        let folder = folder(&format!("taken-{name}"));
        let store = Store::open(&folder.join(STORE), BELONGS).unwrap();
        let done = AtomicUsize::new(0);
        let progress = |_: Progress<'_>| {
            if done.fetch_add(1, Ordering::Relaxed) == 0 {
                take(&folder);
            }
        };
        let experiment = Experiment { folder: &folder, store, keys: &keys(), arms: &arms() };
        let settings = EpisodeSettings { fork: true, ..settings() };
        experiment::run(experiment, 1, &settings, &|_| Ok(open()), &progress).expect_err(name).to_string()
    };
    let gone = "episodes.sqlite: was removed or replaced while it was written";
    let removed = taken("store", |folder| std::fs::remove_file(folder.join(STORE)).unwrap());
    assert!(removed.contains(gone), "{removed}");
    let moved = taken("folder", |folder| {
        let away = folder.with_extension("away");
        let _ = std::fs::remove_dir_all(&away);
        std::fs::rename(folder, away).unwrap();
        std::fs::create_dir(folder).unwrap();
    });
    assert!(moved.contains(gone), "{moved}");
    let copied = taken("copy", |folder| {
        std::fs::copy(folder.join(STORE), folder.join("copy")).unwrap();
        std::fs::rename(folder.join("copy"), folder.join(STORE)).unwrap();
    });
    assert!(copied.contains(gone), "{copied}");
    let traces = taken("traces", |folder| std::fs::remove_dir_all(folder.join("traces")).unwrap());
    assert!(traces.contains("replicate0.parquet: was written and is missing"), "{traces}");
}

#[test]
fn shards_are_disjoint_and_make_the_whole() {
    let keys = keys();
    let mut all: Vec<EpisodeKey> = (1..=3).flat_map(|index| Shard { index, count: 3 }.of(&keys)).collect();
    all.sort();
    assert_eq!(all, keys);
    assert_eq!(Shard::WHOLE.of(&keys), keys);
    assert_eq!(Shard::parse("2/8"), Ok(Shard { index: 2, count: 8 }));
    for text in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
        assert!(Shard::parse(text).unwrap_err().contains("valid is I/N"), "{text}");
    }
}

#[test]
fn merged_shards_are_the_whole_and_nothing_else() {
    let whole = folder("merge-whole");
    run(&whole, &keys(), 2);
    let parts: Vec<PathBuf> = (1..=3)
        .map(|index| {
            let part = folder(&format!("merge-{index}"));
            run(&part, &Shard { index, count: 3 }.of(&keys()), 1);
            part
        })
        .collect();
    let out = folder("merge-out").join("all");
    assert_eq!(merge(&out, &parts, BELONGS, &keys(), None).unwrap(), 20);
    assert_eq!(outcome(&out), outcome(&whole));

    let refused = |parts: &[PathBuf], keys: &[EpisodeKey]| {
        let out = folder("merge-refused").join("all");
        let error = merge(&out, parts, BELONGS, keys, None).unwrap_err();
        assert!(!out.exists());
        error.to_string()
    };
    let gap = refused(&parts[..2], &keys());
    assert!(gap.contains("6 sets of twins are in no part") && gap.contains("initial state 2"), "{gap}");
    let overlap = refused(&[parts.clone(), vec![parts[0].clone()]].concat(), &keys());
    assert!(overlap.contains("initial state 0") && overlap.contains("valid is one part"), "{overlap}");
    assert!(refused(&parts, &keys()[..19]).contains("which is not of this plan"));
    let error = merge(&out.with_file_name("other"), &parts, "another", &keys(), None).unwrap_err();
    assert!(error.to_string().contains("belongs"), "{error}");
    assert!(merge(&out, &parts, BELONGS, &keys(), None).is_err(), "nothing is overwritten");

    // Every part has to have the same precondition episodes.
    for part in &parts {
        let before = part.join(precondition::FOLDER);
        std::fs::create_dir_all(&before).unwrap();
        run(&before, &keys()[..2], 1);
    }
    let before = &keys()[..2];
    let again = folder("merge-again").join("all");
    merge(&again, &parts, BELONGS, &keys(), Some(before)).unwrap();
    assert_eq!(outcome(&again.join(precondition::FOLDER)).0.len(), 2 * arms().len());
    run(&parts[2].join(precondition::FOLDER), &keys()[..3], 1);
    let error = merge(&again.with_file_name("more"), &parts, BELONGS, &keys(), Some(before)).unwrap_err();
    assert!(error.to_string().contains("valid is the same precondition in every part"), "{error}");

    let trace = trace_path(&parts[1], Shard { index: 2, count: 3 }.of(&keys())[0]);
    let mut bytes = std::fs::read(&trace).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&trace, bytes).unwrap();
    assert!(refused(&parts, &keys()).contains("that in the store"));
}

#[test]
fn merging_removes_nothing_that_it_did_not_make() {
    let place = folder("merge-names");
    let (part, stranger) = (place.join("X.part"), place.join("v1.part"));
    for folder in [&part, &stranger] {
        std::fs::create_dir(folder).unwrap();
    }
    run(&part, &keys(), 2);
    std::fs::write(stranger.join("thesis.txt"), "years").unwrap();
    let there = || {
        let mut names: Vec<String> = std::fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let parts = [part.clone()];
    // The merge is refused after it began, and removes what it wrote.
    let twice = [part.clone(), part.clone()];
    merge(&place.join("X"), &twice, BELONGS, &keys(), None).unwrap_err();
    assert_eq!(there(), ["X.part", "v1.part"]);
    merge(&place.join("X"), &parts, BELONGS, &keys(), None).unwrap();
    merge(&place.join("v1.0"), &parts, BELONGS, &keys(), None).unwrap();
    assert_eq!(there(), ["X", "X.part", "v1.0", "v1.part"]);
    assert_eq!(outcome(&place.join("X")), outcome(&part));
    assert_eq!(std::fs::read_to_string(stranger.join("thesis.txt")).unwrap(), "years");
    // A file or folder at the output path is never replaced.
    for (name, make) in [("file", true), ("empty", false)] {
        let out = place.join(name);
        if make { std::fs::write(&out, "kept") } else { std::fs::create_dir(&out) }.unwrap();
        let error = merge(&out, &parts, BELONGS, &keys(), None).unwrap_err().to_string();
        assert!(error.contains("choose another --out") && out.exists(), "{error}");
    }
}

#[test]
fn a_store_of_something_else_or_damaged_is_refused() {
    let folder = folder("refused");
    run(&folder, &keys()[..2], 1);
    let path = folder.join(STORE);
    let error = Store::open(&path, "another registration").err().unwrap().to_string();
    assert!(
        error.contains("belongs: found registration of a test; valid is another registration"),
        "{error}"
    );
    assert!(matches!(Store::read(&folder.join("none.sqlite"), BELONGS), Err(StoreError::None { .. })));
    std::fs::write(folder.join("text.sqlite"), "no database at all, but long enough to be looked at")
        .unwrap();
    let error = Store::open(&folder.join("text.sqlite"), BELONGS).err().unwrap().to_string();
    assert!(error.contains("text.sqlite") && error.contains("found text"), "{error}");

    // Inserting the same set again is refused and leaves the store unchanged.
    let mut store = Store::open(&path, BELONGS).unwrap();
    let before = store.results().unwrap();
    assert!(store.insert(&before[..arms().len()], "digest").is_err());
    assert_eq!(store.results().unwrap(), before);

    // A different result with the same key and arm is not in the store.
    let held: Vec<bool> = before.iter().map(|result| store.holds(result).unwrap()).collect();
    assert!(held.contains(&true));
    let mut other = before[0].clone();
    other.steps += 1;
    assert!(!store.holds(&other).unwrap());
}
