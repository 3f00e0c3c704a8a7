//! `aegis export lerobot`: one LeRobotDataset of runs and of a study's stored episodes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aegis_core::EpisodeKey;
use aegis_dataset::{Export, Finished, Selection};
use aegis_experiments::episode::arm::AEGIS;
use aegis_files::shown;
use clap::Args;

use super::{of_dataset, stored_rows};
use crate::commands::experiment::{Registered, store_path};
use crate::commands::replay::episode::key;
use crate::commands::sim::size;
use crate::exit::{Exit, Failure, end_signal, failure, say, tell};
use crate::host::HostArguments;

/// Arguments of `aegis export lerobot`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis export lerobot runs/robot/2026-11-27T12-00-00 --out runs/dataset\n  \
                        aegis export lerobot runs/robot/* --only-interventions --only-successful --out runs/corrections\n  \
                        aegis export lerobot runs/study --plan experiments/study.toml --pictures 128x128 --out runs/episodes\n\n\
                        A run needs record_observations = true in its robot file. A study's episode is simulated again, and \
                        refused where its result differs by a bit from the stored one. docs/reference/dataset.md describes the \
                        columns. Exit code 5: a signal ended it, and nothing of it is kept."
)]
pub struct LerobotArguments {
    /// Folders of runs, and of studies with stored episodes
    #[arg(value_name = "RUN", required = true)]
    sources: Vec<PathBuf>,
    /// Folder of the data set; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Episodes to write: numbers and ranges of a run, as 1,4-6, or starts of a study, as 3/641; all when left out
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    episodes: Vec<Chosen>,
    /// Write only what lies between a fire and its hand-back, each such part as an episode of its own
    #[arg(long)]
    only_interventions: bool,
    /// Write only episodes that reached their goal
    #[arg(long)]
    only_successful: bool,
    #[command(flatten)]
    registered: Registered,
    /// Arm of a study's episodes; aegis when left out
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,
    /// Draw both cameras of a study's episodes in this height and width, where its policies read no pictures
    #[arg(long, value_name = "HxW", value_parser = size)]
    pictures: Option<[u32; 2]>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// One entry of `--episodes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    /// Episodes of a run, by their numbers.
    Numbers(u64, u64),
    /// An episode of a study.
    Key(EpisodeKey),
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return key(text).map(Self::Key);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last && last - first < 1 << 20 => {
                Ok(Self::Numbers(first, last))
            }
            _ => {
                Err("valid are numbers from 1 and ranges of a run, as 1,4-6, or starts of a study, as 3/641"
                    .into())
            }
        }
    }
}

/// Runs `aegis export lerobot`.
pub fn run(arguments: &LerobotArguments) -> Result<(), Failure> {
    check_apart(&arguments.sources, &arguments.out)?;
    check_used(arguments)?;
    let mut export = Export::new(&arguments.out, crate::VERSION).map_err(of_dataset)?;
    export.end_when(end_signal()?);
    let (mut numbers, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for chosen in &arguments.episodes {
        match chosen {
            Chosen::Numbers(first, last) => numbers.extend(*first..=*last),
            Chosen::Key(key) => drop(keys.insert(*key)),
        }
    }
    let (only_interventions, only_successful) = (arguments.only_interventions, arguments.only_successful);
    let selection = Selection { episodes: numbers, only_interventions, only_successful };
    for source in &arguments.sources {
        let wrong = |reason: &str| failure(Exit::Input, format!("{}: {reason}", source.display()));
        let notes = if store_path(source).is_file() {
            if !selection.episodes.is_empty() {
                return Err(wrong(
                    "--episodes: found numbers of a run; valid for a study are starts, as 3/641",
                ));
            }
            let chosen = stored_rows::Chosen {
                registered: &arguments.registered,
                arm: arguments.arm.as_deref().unwrap_or(AEGIS),
                keys: &keys,
                selection: &selection,
                pictures: arguments.pictures,
                host: &arguments.host,
            };
            stored_rows::export(source, &chosen, &mut export)?
        } else if is_run(source) {
            if !keys.is_empty() {
                return Err(wrong(
                    "--episodes: found starts of a study; valid for a run are numbers, as 1,4-6",
                ));
            }
            aegis_dataset::run::export(source, &selection, &mut export).map_err(of_dataset)?
        } else {
            return Err(wrong(
                "found neither run nor study; valid is a folder with run.aegis or episodes.sqlite",
            ));
        };
        notes.iter().for_each(|note| tell!("{}: {note}", source.display()));
    }
    let finished = export.finish().map_err(of_dataset)?;
    print(&arguments.out, finished, arguments.json);
    Ok(())
}

/// Returns whether a folder is a run's.
fn is_run(source: &Path) -> bool {
    source.join(aegis_dataset::run::RUN_FILE).is_file()
}

/// Refuses a data set within one of its sources, whose files are what was recorded and nothing else.
fn check_apart(sources: &[PathBuf], out: &Path) -> Result<(), Failure> {
    let Some(around) = real_ancestor(out) else { return Ok(()) };
    let is_source = |source: &Path| is_run(source) || store_path(source).is_file();
    let is_within = |source: &&PathBuf| {
        is_source(source) && source.canonicalize().is_ok_and(|source| around.starts_with(source))
    };
    match sources.iter().find(is_within) {
        None => Ok(()),
        Some(source) => {
            let (out, source) = (out.display(), source.display());
            let reason = format!(
                "--out: {out}: found a place within the source {source}; valid is one outside of all sources"
            );
            Err(failure(Exit::Input, reason))
        }
    }
}

/// Returns the nearest folder around a new path that exists, without links and `..`.
fn real_ancestor(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok())
}

/// Refuses arguments of studies where every source is a run, which would not obey them.
fn check_used(arguments: &LerobotArguments) -> Result<(), Failure> {
    if arguments.sources.iter().any(|source| !is_run(source)) {
        return Ok(());
    }
    let given = [
        ("--arm", arguments.arm.is_some()),
        ("--pictures", arguments.pictures.is_some()),
        ("--plan or --lock", arguments.registered.is_given()),
        ("--provider, --device-id, --threads or --deadline-ms", arguments.host != HostArguments::default()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => {
            let reason =
                "found for runs alone, which do not use it; valid only where a source is a study's folder";
            Err(failure(Exit::Input, format!("{name}: {reason}")))
        }
    }
}

fn print(out: &Path, Finished { episodes, rows }: Finished, as_json: bool) {
    if as_json {
        say!("{}", serde_json::json!({ "folder": shown(out), "episodes": episodes, "rows": rows }));
    } else {
        say!("{}: {episodes} episodes, {rows} rows", out.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_are_numbers_ranges_or_starts() {
        assert_eq!("4-6".parse(), Ok(Chosen::Numbers(4, 6)));
        assert_eq!("7".parse(), Ok(Chosen::Numbers(7, 7)));
        assert!(matches!("3/641".parse(), Ok(Chosen::Key(key)) if key.start.initial_state == 641));
        for text in ["0", "", "6-4", "a", "1-", "1-99999999", "3/x"] {
            assert!(text.parse::<Chosen>().unwrap_err().contains("valid"), "{text}");
        }
    }
}
