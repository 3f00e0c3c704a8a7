//! How many episodes of a plan's confirmation range are stored: what an amendment says had been seen.
//! Counts what stores of runs hold, rows of `.jsonl` files that have an episode's key, and rollouts of `aegis collect`.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_experiments::EpisodeKey;
use aegis_experiments::arm::WEAK;
use aegis_experiments::experiment::STORE;
use aegis_experiments::files::below;
use aegis_experiments::plan::Share;
use aegis_experiments::rollout_file;
use aegis_experiments::store::stored_episodes;
use serde::Deserialize;

use crate::exit::{Exit, Failure, failure};

/// What of a stored row says which episode it is.
#[derive(Deserialize)]
struct Row {
    key: EpisodeKey,
    #[serde(default)]
    arm: String,
}

/// An episode that was seen: of which study or file, what twins share, and the arm.
type Seen = (String, EpisodeKey, String);

/// Where results lie when nothing is said: `runs` beside the plan, wherever the verb is called from.
pub fn default_results(plan: &Path) -> PathBuf {
    plan.with_file_name("runs")
}

/// Counts over folders and files. A file that links lead to twice counts once, and an episode that is both in a part and
/// in the whole that was merged from it counts once.
///
/// # Errors
/// A place that is not there: from a mistyped one nothing would be counted.
pub fn episodes(results: &[PathBuf], confirmation: Share) -> Result<u64, Failure> {
    let mut files = BTreeSet::new();
    for place in results {
        let named = |error| match std::fs::symlink_metadata(place) {
            Err(missing) if missing.kind() == ErrorKind::NotFound => {
                let valid = "valid is a folder or file of results: name it by --results, or say --nothing-ran where no \
                             episode of the confirmation range was ever run";
                failure(Exit::Input, format!("{}: found nothing; {valid}", place.display()))
            }
            _ => failure(Exit::Input, format!("{}: cannot read: {error}", place.display())),
        };
        let real = place.canonicalize().map_err(named)?;
        if !real.is_dir() {
            files.insert(real);
            continue;
        }
        for file in below(&real).map_err(named)?.into_values() {
            files.insert(file.canonicalize().map_err(named)?);
        }
    }
    let mut seen = BTreeSet::new();
    for file in files {
        seen.extend(episodes_in(&file, confirmation)?);
    }
    Ok(seen.len() as u64)
}

fn episodes_in(file: &Path, confirmation: Share) -> Result<BTreeSet<Seen>, Failure> {
    let counts = |key: &EpisodeKey| (confirmation.first..confirmation.end).contains(&key.start.initial_state);
    let named = |error: String| failure(Exit::Input, format!("{}: {error}", file.display()));
    if file.file_name().is_some_and(|name| name == STORE) {
        return stored_episodes(file, confirmation.first..confirmation.end)
            .map_err(|error| failure(Exit::Input, error));
    }
    let of = |key: EpisodeKey, arm: String| (file.display().to_string(), key, arm);
    Ok(match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            let text =
                aegis_files::read_text(file).map_err(|error| named(format!("cannot read: {error}")))?;
            let rows = text.lines().filter_map(|line| serde_json::from_str::<Row>(line).ok());
            rows.filter(|row| counts(&row.key)).map(|row| of(row.key, row.arm)).collect()
        }
        Some("parquet") => match rollout_file::read(file) {
            Ok((_, rollouts)) => {
                let keys = rollouts.into_iter().map(|rollout| rollout.key).filter(counts);
                keys.map(|key| of(key, WEAK.to_owned())).collect()
            }
            // Parquet of something else holds no episodes.
            Err(_) => BTreeSet::new(),
        },
        _ => BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use aegis_experiments::store::Store;

    use super::*;

    #[test]
    fn rows_of_the_range_are_counted_wherever_they_lie() {
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
        let share = Share { first: 500, end: 540, replicates: 1 };
        let found = episodes(std::slice::from_ref(&folder), share).expect("counted");
        let file = episodes(&[folder.join("deeper/episodes.jsonl")], share).expect("counted");
        // By a link, or named twice, it is the same file.
        std::os::unix::fs::symlink("deeper", folder.join("latest")).expect("a link");
        let places = [folder.clone(), folder.join("latest"), folder.join("deeper/episodes.jsonl")];
        let once = episodes(&places, share).expect("counted");
        let nowhere = episodes(&[folder.join("nowhere")], share).expect_err("nothing there").to_string();
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((found, file, once), (2, 2, 2));
        assert!(nowhere.contains("nowhere: found nothing") && nowhere.contains("--nothing-ran"), "{nowhere}");
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
        let share = Share { first: 500, end: 540, replicates: 1 };
        // While it is being written, too.
        let running = episodes(std::slice::from_ref(&folder), share).expect("counted");
        drop(open);
        // A part of the same study, kept beside what was merged from it.
        std::fs::create_dir(folder.join("part-1")).expect("a folder");
        std::fs::copy(&store, folder.join("part-1").join(STORE)).expect("copied");
        let closed = episodes(std::slice::from_ref(&folder), share).expect("counted");
        std::fs::write(&store, "no database, but long enough to be read as one").expect("written");
        let broken = episodes(std::slice::from_ref(&folder), share);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((running, closed), (2, 2));
        assert!(broken.expect_err("no store").to_string().contains(STORE));
    }
}
