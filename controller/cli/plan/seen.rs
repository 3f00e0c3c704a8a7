//! How many episodes of a plan's confirmation range are stored: what an amendment says had been seen.
//! Counts what stores of runs hold, rows of `.jsonl` files that have an episode's key, and rollouts of `aegis collect`.

use std::path::{Path, PathBuf};

use aegis_experiments::EpisodeKey;
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
}

/// Counts over folders and files; one that is not there holds none.
pub fn episodes(results: &[PathBuf], confirmation: Share) -> Result<u64, Failure> {
    let mut count = 0;
    for place in results.iter().filter(|place| place.exists()) {
        let named = |error| failure(Exit::Input, format!("{}: cannot read: {error}", place.display()));
        let files = if place.is_dir() {
            below(place).map_err(named)?.into_values().collect()
        } else {
            vec![place.clone()]
        };
        for file in files {
            count += episodes_in(&file, confirmation)?;
        }
    }
    Ok(count)
}

fn episodes_in(file: &Path, confirmation: Share) -> Result<u64, Failure> {
    let counts = |key: &EpisodeKey| (confirmation.first..confirmation.end).contains(&key.start.initial_state);
    let named = |error: String| failure(Exit::Input, format!("{}: {error}", file.display()));
    if file.file_name().is_some_and(|name| name == STORE) {
        return stored_episodes(file, confirmation.first..confirmation.end)
            .map_err(|error| failure(Exit::Input, error));
    }
    let found = match file.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            let text =
                std::fs::read_to_string(file).map_err(|error| named(format!("cannot read: {error}")))?;
            let rows = text.lines().filter_map(|line| serde_json::from_str::<Row>(line).ok());
            rows.filter(|row| counts(&row.key)).count()
        }
        Some("parquet") => match rollout_file::read(file) {
            Ok((_, rollouts)) => rollouts.iter().filter(|rollout| counts(&rollout.key)).count(),
            // Parquet of something else holds no episodes.
            Err(_) => 0,
        },
        _ => 0,
    };
    Ok(found as u64)
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
        let found = episodes(&[folder.clone(), folder.join("nowhere")], share).expect("counted");
        let file = episodes(&[folder.join("deeper/episodes.jsonl")], share).expect("counted");
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((found, file), (2, 2));
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
        let closed = episodes(std::slice::from_ref(&folder), share).expect("counted");
        std::fs::write(&store, "no database, but long enough to be read as one").expect("written");
        let broken = episodes(std::slice::from_ref(&folder), share);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!((running, closed), (2, 2));
        assert!(broken.expect_err("no store").to_string().contains(STORE));
    }
}
