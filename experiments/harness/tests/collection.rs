//! Rollouts collected in several runs: kept rollouts are not run again, and the result equals that of a single run.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Breaking, KEYS, open, provenance, settings};
use aegis_core::EpisodeKey;
use aegis_core::PlantError;
use aegis_experiments::EpisodeContext;
use aegis_experiments::run::collection::{Collection, CollectionError};
use aegis_experiments::run::rollouts::rollouts;
use aegis_experiments::run::runner::{RunError, SetupError};
use aegis_files::Scratch;
use aegis_probe::rollout::Rollout;
use aegis_probe::rollout_file;
use serde_json::{Map, json};

fn about(seed: u64) -> Map<String, serde_json::Value> {
    Map::from_iter([("master_seed".to_owned(), json!(seed)), ("suite".to_owned(), json!("line"))])
}

fn begin(folder: &Path) -> Result<Collection, CollectionError> {
    Collection::open(folder, &about(1), provenance())
}

/// Collects the missing rollouts; returns how many were kept in this call.
fn collect(
    collection: &Collection,
    keys: &[EpisodeKey],
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
) -> Result<usize, RunError> {
    let landed = AtomicUsize::new(0);
    let keep = |rollout: &Rollout| {
        landed.fetch_add(1, Ordering::Relaxed);
        Ok(collection.keep(rollout)?)
    };
    rollouts(&collection.missing(keys), 1, &settings(), open, &|_| {}, &keep)?;
    Ok(landed.into_inner())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_collection_continues_after_a_failure_with_the_same_result() {
    let around = Scratch::within(&std::env::temp_dir()).unwrap();
    let place = |name: &str| around.path().join(name);
    let keys = KEYS.keys(0..1);
    let whole = rollouts(&keys, 2, &settings(), &|_| Ok(open()), &|_| {}, &|_| Ok(())).unwrap();
    let out = place("whole.parquet");
    rollout_file::write(&out, &provenance(), &whole).unwrap();

    let folder = Collection::place(&place("pieces.parquet"));
    assert_eq!(folder, place("pieces.parquet.collecting"));
    let breaks = |_| {
        let plant = Box::new(Breaking::after(7, || PlantError::Backend("it broke".into())));
        Ok(EpisodeContext { plant, ..open() })
    };
    collect(&begin(&folder).unwrap(), &keys, &breaks).unwrap_err();
    let collection = begin(&folder).unwrap();
    assert_eq!(collection.missing(&keys).len(), 13);
    assert!(collection.all(&keys).is_err(), "a missing rollout is an error");
    assert_eq!(collect(&collection, &keys, &|_| Ok(open())).unwrap(), 13);
    let pieces = place("pieces.parquet");
    rollout_file::write(&pieces, &provenance(), &collection.all(&keys).unwrap()).unwrap();
    assert!(std::fs::read(&pieces).unwrap() == std::fs::read(&out).unwrap(), "to the byte");
    // A file that the collection did not make stays, and so does the folder.
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    collection.remove(&keys, &[]).unwrap();
    assert_eq!(names(&folder), ["notes.txt"]);
}

#[test]
fn a_flipped_byte_is_detected() {
    let around = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = around.path().join("flipped.parquet");
    let rollouts = rollouts(&KEYS.keys(0..1), 2, &settings(), &|_| Ok(open()), &|_| {}, &|_| Ok(())).unwrap();
    rollout_file::write(&path, &provenance(), &rollouts).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for place in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        match rollout_file::read(&path) {
            Ok((_, read)) => assert_eq!(read, rollouts, "byte {place}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > whole.len() / 20, "{refused} of {}", whole.len() / 5);
}

#[test]
fn a_folder_of_something_else_is_named_and_left_alone() {
    let around = Scratch::within(&std::env::temp_dir()).unwrap();
    let place = |name: &str| -> PathBuf { around.path().join(name) };
    let folder = place("one.collecting");
    begin(&folder).unwrap();
    let error = Collection::open(&folder, &about(2), provenance()).err().unwrap().to_string();
    assert!(error.contains("master_seed was 1, is 2") && !error.contains("suite was"), "{error}");

    let others = place("others.collecting");
    std::fs::create_dir(&others).unwrap();
    std::fs::write(others.join("thesis.txt"), "years").unwrap();
    let error = begin(&others).err().unwrap().to_string();
    assert!(error.contains("collection.json") && error.contains("another --out"), "{error}");
    assert_eq!(names(&others), ["thesis.txt"]);
    assert_eq!(names(around.path()), ["one.collecting", "others.collecting"]);
}
