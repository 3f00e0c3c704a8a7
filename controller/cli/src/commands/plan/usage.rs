//! Counts the stored episodes of a plan's confirmation range, which an amendment records as seen. Counts episodes in
//! stores, in step traces without a store, in rows of `.jsonl` files that have an episode's key, and in rollouts and forks of
//! `aegis collect`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_experiments::data::store::stored_episodes;
use aegis_experiments::data::trace::TraceFile;
use aegis_experiments::episode::arm::WEAK;
use aegis_experiments::run::experiment::STORE;
use aegis_files::below;
use aegis_probe::{StateRange, fork_file, rollout_file};
use serde::Deserialize;

use crate::exit::{Exit, Failure, failure};

/// The fields of a stored row that identify an episode.
#[derive(Deserialize)]
struct Row {
    key: EpisodeKey,
    #[serde(default)]
    arm: String,
}

/// An episode that was seen: its study or file, the key that its twins share, and its arm.
type Seen = (String, EpisodeKey, String);

/// Returns the default folder of results: `runs` beside the plan, independent of the working directory.
pub fn default_results(plan: &Path) -> PathBuf {
    plan.with_file_name("runs")
}

/// Counts the episodes of the range `confirmation` in folders and files. A file that is reached twice, by links, counts
/// once. An episode that is both in a part and in the store that was merged from the part counts once.
///
/// # Errors
/// A path that does not exist or that has no known results: from a mistyped path nothing would be counted.
pub fn episodes(results: &[PathBuf], confirmation: StateRange) -> Result<u64, Failure> {
    let mut read: BTreeMap<PathBuf, Option<BTreeSet<Seen>>> = BTreeMap::new();
    for place in results {
        let named = |error| match std::fs::symlink_metadata(place) {
            Err(missing) if missing.kind() == ErrorKind::NotFound => nothing_in(place, "nothing"),
            _ => failure(Exit::Input, format!("{}: cannot read: {error}", place.display())),
        };
        let real = place.canonicalize().map_err(named)?;
        let files = match real.is_dir() {
            true => below(&real).map_err(named)?.into_values().collect(),
            false => vec![real.clone()],
        };
        let mut known = false;
        for file in files {
            let file = file.canonicalize().map_err(named)?;
            let found = match read.entry(file) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(free) => {
                    let found = episodes_in(free.key(), *free.key() == real, confirmation)?;
                    free.insert(found)
                }
            };
            known |= found.is_some();
        }
        if !known {
            return Err(nothing_in(place, "no results"));
        }
    }
    let seen: BTreeSet<Seen> = read.into_values().flatten().flatten().collect();
    Ok(seen.len() as u64)
}

fn nothing_in(place: &Path, found: &str) -> Failure {
    let valid = "valid is a store of `aegis experiment run`, its step traces, rollouts of `aegis collect`, JSON lines with the \
                 key of an episode, or a folder with any of them: name it by --results, or pass --nothing-ran where no \
                 episode of the confirmation range was ever run";
    failure(Exit::Input, format!("{}: found {found}; {valid}", place.display()))
}

/// Returns the episodes of the range in a file; `None` where the file has no results of any kind. A file that was `named` itself is
/// read as a store under any name.
fn episodes_in(
    file: &Path,
    named: bool,
    confirmation: StateRange,
) -> Result<Option<BTreeSet<Seen>>, Failure> {
    let counts = |key: &EpisodeKey| (confirmation.first..confirmation.end).contains(&key.start.initial_state);
    let unread = |error: String| failure(Exit::Input, format!("{}: cannot read: {error}", file.display()));
    let of = |key: EpisodeKey, arm: String| (file.display().to_string(), key, arm);
    if file.file_name().is_some_and(|name| name == STORE) || named && is_database(file) {
        return stored_episodes(file, confirmation.first..confirmation.end)
            .map(Some)
            .map_err(|error| failure(Exit::Input, error));
    }
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            let text = aegis_files::read_rows(file).map_err(|error| unread(error.to_string()))?;
            let rows = text.lines().filter_map(|line| serde_json::from_str::<Row>(line).ok());
            let rows: Vec<Row> = rows.collect();
            let counted = rows.iter().filter(|row| counts(&row.key)).map(|row| of(row.key, row.arm.clone()));
            Ok((!rows.is_empty()).then(|| counted.collect()))
        }
        Some("parquet") => {
            if let Ok((_, rollouts)) = rollout_file::read(file) {
                let keys = rollouts.into_iter().map(|rollout| rollout.key).filter(counts);
                return Ok(Some(keys.map(|key| of(key, WEAK.to_owned())).collect()));
            }
            if let Ok((_, episodes)) = fork_file::read(file) {
                let keys = episodes.into_iter().map(|episode| episode.key).filter(counts);
                return Ok(Some(keys.map(|key| of(key, "forks".to_owned())).collect()));
            }
            let bytes = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
            // A Parquet file of another kind has no episodes.
            let Ok(trace) = TraceFile::read(bytes) else { return Ok(None) };
            // A trace beside a store is of episodes that are counted in the store.
            let beside = file.parent().and_then(Path::parent).map(|folder| folder.join(STORE));
            let notes =
                trace.notes.filter(|notes| counts(&notes.key) && !beside.is_some_and(|file| file.exists()));
            let arms = notes
                .into_iter()
                .flat_map(|notes| notes.arms.into_iter().map(move |arm| (notes.key, arm.arm)));
            Ok(Some(arms.map(|(key, arm)| of(key, arm)).collect()))
        }
        _ => Ok(None),
    }
}

/// Returns whether a file begins as an SQLite database does.
fn is_database(file: &Path) -> bool {
    let mut begin = [0; 16];
    File::open(file).and_then(|mut file| file.read_exact(&mut begin)).is_ok()
        && begin == *b"SQLite format 3\0"
}

#[cfg(test)]
mod tests {
    use aegis_experiments::data::store::Store;
    use aegis_probe::forks::EpisodeForks;

    use super::*;

    #[test]
    fn rows_of_the_range_are_counted_in_every_kind_of_file() {
        let folder = std::env::temp_dir().join(format!("aegis-seen-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("deeper")).expect("a folder");
        let row = |state| {
            format!(
                r#"{{"arm":"weak","key":{{"start":{{"task":0,"initial_state":{state}}},"replicate":0}}}}"#
            )
        };
        let lines = [row(499), row(500), row(539), row(540), "{}".into(), "cut sh".into()].join("\n");
        std::fs::write(folder.join("deeper/episodes.jsonl"), lines).expect("written");
        std::fs::write(folder.join("other.parquet"), "PAR1").expect("written");
        let share = StateRange { first: 500, end: 540, replicates: 1 };
        let found = episodes(std::slice::from_ref(&folder), share).expect("counted");
        let file = episodes(&[folder.join("deeper/episodes.jsonl")], share).expect("counted");
        // A file that is reached by a link or named twice is the same file.
        std::os::unix::fs::symlink("deeper", folder.join("latest")).expect("a link");
        let places = [folder.clone(), folder.join("latest"), folder.join("deeper/episodes.jsonl")];
        let once = episodes(&places, share).expect("counted");
        // A path without results of any kind is refused, whatever its name is.
        std::fs::create_dir(folder.join("empty")).expect("a folder");
        for place in ["empty", "other.parquet"] {
            let refused = episodes(&[folder.join("deeper"), folder.join(place)], share);
            let refused = refused.expect_err(place).to_string();
            assert!(refused.contains(&format!("{place}: found no results; valid is a store")), "{refused}");
        }
        let nowhere = episodes(&[folder.join("nowhere")], share).expect_err("nothing there").to_string();
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((found, file, once), (2, 2, 2));
        assert!(nowhere.contains("nowhere: found nothing") && nowhere.contains("--nothing-ran"), "{nowhere}");
    }

    /// Forks of an episode that has no row, from each of these initial states.
    fn forks(file: &Path, states: &[usize]) {
        let episodes: Vec<EpisodeForks> = states
            .iter()
            .map(|state| {
                let start = aegis_core::Start { task: 0, initial_state: *state };
                let key = EpisodeKey { start, replicate: 0 };
                EpisodeForks { key, success: true, steps: 10, forks: Vec::new() }
            })
            .collect();
        let starts = aegis_probe::origin::Starts::of(episodes.iter().map(|episode| episode.key));
        let provenance: fork_file::ForkProvenance = serde_json::from_value(serde_json::json!({
            "schema": fork_file::SCHEMA, "plan_sha256": "plan", "boundaries_per_episode": null, "probe_sha256": null,
            "rollouts": {
                "schema": rollout_file::SCHEMA, "suite": "line", "master_seed": 1, "sample_seed": null, "range": "confirmation",
                "starts": starts, "weak_sha256": "weak", "strong_sha256": "strong", "tensor": "tokens", "horizon_steps": 40,
                "chunk_steps": 2, "action_width": 1
            },
            "gate": {
                "return_chunks": 0, "guard_fraction": 0.5, "budget_fraction": 0.5, "budget_unit": "chunks", "duty_cap": 0.5,
                "hold_chunks": 1, "horizon_steps": 40, "chunk_steps": 2
            }
        }))
        .expect("provenance");
        fork_file::write(file, &provenance, &episodes).expect("written");
    }

    #[test]
    fn forks_of_the_range_are_counted() {
        let folder = aegis_files::Scratch::within(&std::env::temp_dir()).expect("a folder");
        let file = folder.path().join("confirmation.forks.parquet");
        forks(&file, &[499, 500, 539, 540]);
        let share = StateRange { first: 500, end: 540, replicates: 1 };
        assert_eq!(episodes(&[file], share).expect("counted"), 2);
    }

    #[test]
    fn a_store_is_counted_and_a_broken_one_is_an_error() {
        let folder = std::env::temp_dir().join(format!("aegis-seen-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = folder.join(STORE);
        let twins = |state: usize| {
            let text = format!(
                r#"{{"arm":"weak","key":{{"start":{{"task":1,"initial_state":{state}}},"replicate":0}},"success":true,
                "steps":1,"chunk_steps":1,"fires":0,"strong_steps":0,"hand_overs":[],"scores":[0.5],"prefixes":["a"],
                "path":"b"}}"#
            );
            [serde_json::from_str(&text).expect("a result")]
        };
        let mut open = Store::open(&store, "some experiment").expect("a store");
        for state in [499, 500, 539, 540] {
            open.insert(&twins(state), "c").expect("kept");
        }
        let share = StateRange { first: 500, end: 540, replicates: 1 };
        // A store is also counted while it is being written.
        let running = episodes(std::slice::from_ref(&folder), share).expect("counted");
        drop(open);
        // A part of the same study, beside the store that was merged from it.
        std::fs::create_dir(folder.join("part-1")).expect("a folder");
        std::fs::copy(&store, folder.join("part-1").join(STORE)).expect("copied");
        let closed = episodes(std::slice::from_ref(&folder), share).expect("counted");
        // A store that is named itself may have any name.
        std::fs::copy(&store, folder.join("backup")).expect("copied");
        assert_eq!(episodes(&[folder.join("backup")], share).expect("counted"), 2);
        std::fs::write(&store, "no database, but long enough to be read as one").expect("written");
        let broken = episodes(std::slice::from_ref(&folder), share);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((running, closed), (2, 2));
        assert!(broken.expect_err("no store").to_string().contains(STORE));
    }
}
