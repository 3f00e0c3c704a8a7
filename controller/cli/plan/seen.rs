//! How many episodes of a plan's confirmation range are stored: what an amendment says had been seen.
//! Counts rows of `.jsonl` files that have an episode's key, and rollouts of `aegis collect confirmation`.

use std::path::{Path, PathBuf};

use aegis_experiments::EpisodeKey;
use aegis_experiments::files::below;
use aegis_experiments::plan::Share;
use aegis_experiments::rollout_file;
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
}
