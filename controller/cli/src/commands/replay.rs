//! `aegis replay`: checks a robot's run, or shows a run or a study's episode in Rerun.
//! An episode is run again and its result checked against the stored one, so that the shown episode is the counted one.

pub mod check;
pub mod episode;
mod folder;
pub mod stored;

use std::path::{Path, PathBuf};

use aegis_files::Written;
use aegis_recorder::pictures::{PICTURE_FILE, PictureReader};
use aegis_recorder::run_log::RunReader;
use aegis_recorder::snapshots::{SNAPSHOT_FILE, SnapshotReader};
use aegis_recorder::{Sink, Target, run_view};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::check_place;
use crate::scene_resolver::Libero;

/// Arguments of `aegis replay`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis replay runs/robot/2026-11-27T12-00-00 --check\n  \
                        aegis replay runs/robot/2026-11-27T12-00-00 --rrd run.rrd\n  \
                        aegis replay runs/study --plan experiments/study.toml --spawn\n  \
                        aegis replay runs/study --episode 3/641 --rrd episode.rrd\n\n\
                        A viewer of the same version: pip install rerun-sdk==0.36.3. A black box that begins in the \
                        middle of a run is shown, and checked only for damage. --check of a folder checks each file in \
                        it as far as possible, and prints how far. Exit code 1: a decision or a command differs, or a \
                        file is cut, damaged, in another order or missing; the message names the place.")]
pub struct ReplayArguments {
    /// A run's folder or file, or a study's folder
    #[arg(value_name = "DIR|FILE")]
    target: PathBuf,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    episode: episode::EpisodeArguments,
}

/// Outputs for the run or the episode.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Feed a run back through its controller and compare every decision and every command
    #[arg(long)]
    check: bool,
    /// Write a Rerun recording
    #[arg(long, value_name = "FILE")]
    rrd: Option<PathBuf>,
    /// Start a viewer and show it there
    #[arg(long)]
    spawn: bool,
    /// Show it in the viewer at this address, such as rerun+http://127.0.0.1:9876/proxy
    #[arg(long, value_name = "URL")]
    connect: Option<String>,
}

impl To {
    /// Returns the target that shows the run or the episode; `None` for a check.
    fn target(&self) -> Option<Target> {
        match (&self.rrd, &self.connect) {
            (Some(path), _) => Some(Target::File(path.clone())),
            (None, Some(url)) => Some(Target::Connect(url.clone())),
            (None, None) => self.spawn.then_some(Target::Spawn),
        }
    }
}

/// Returns the folders of runs below a folder, as a collection on a robot and a trial make them, in the order of their names.
fn runs_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = entries.filter(|path| path.join("run.aegis").is_file()).collect();
    runs.sort();
    runs
}

/// Runs `aegis replay`.
pub fn run(arguments: &ReplayArguments) -> Result<(), Failure> {
    let target = arguments.target.as_path();
    let is_study = target.join(aegis_experiments::run::experiment::STORE).is_file();
    let path = if target.is_dir() { target.join("run.aegis") } else { target.to_owned() };
    if !is_study && !path.is_file() {
        let valid = "valid is a run's folder or file, or a study's folder";
        let below = match &runs_below(target)[..] {
            [] => String::new(),
            [run] => format!(", such as {}", run.display()),
            [first, .., last] => {
                format!(", such as those below it, {} to {}", first.display(), last.display())
            }
        };
        let message = format!("{}: found neither a run nor a study; {valid}{below}", target.display());
        return Err(failure(Exit::Input, message));
    }
    if let Some(recording) = &arguments.to.rrd {
        check_place("--rrd", recording, Written::Recording, &[&path])?;
    }
    match arguments.to.target() {
        None if is_study => {
            let reason = "--check: found a study; valid is a run: check the figures of a study with `aegis experiment verify`";
            Err(failure(Exit::Input, format!("{}: {reason}", target.display())))
        }
        None if target.is_dir() => folder::check(target),
        None => check_file(&path),
        Some(to) if is_study => episode::show(target, &arguments.episode, to),
        Some(to) => show_run(&path, to),
    }
}

/// Checks one file of a run, without the files beside it.
fn check_file(path: &Path) -> Result<(), Failure> {
    let checked = check::check(path)?;
    let wrong = |reason: String| failure(Exit::Failed, format!("{}: {reason}", path.display()));
    if checked.first > 0 {
        if let Some(fault) = checked.fault {
            return Err(wrong(fault));
        }
        let (first, periods) = (checked.first, checked.periods);
        let found = format!("found {periods} undamaged periods from period {first} on");
        let valid = "a comparison needs a run from period 0 on";
        return Err(failure(Exit::Input, format!("{}: {found}; {valid}", path.display())));
    }
    say!("{}: {checked}", path.display());
    checked.fault.map_or(Ok(()), |fault| Err(wrong(fault)))
}

fn show_run(path: &Path, to: Target) -> Result<(), Failure> {
    let reader = RunReader::open(path).or_exit(Exit::Input)?;
    let sink = Sink::open(to.clone()).or_exit(Exit::Failed)?;
    let seen = path.with_file_name(SNAPSHOT_FILE);
    let sights = seen.is_file().then(|| SnapshotReader::open(&seen)).transpose().or_exit(Exit::Input)?;
    let read = path.with_file_name(PICTURE_FILE);
    let pictures = read.is_file().then(|| PictureReader::open(&read)).transpose().or_exit(Exit::Input)?;
    let periods = run_view::draw(reader, (sights, pictures), Box::new(Libero::default()), sink);
    let periods = periods.map_err(|error| failure(Exit::Failed, format!("{}: {error}", path.display())))?;
    say!("{}: {periods} control periods{}", path.display(), shown(&to));
    Ok(())
}

/// Returns the end of a message on a shown run: how to open it, or where it is shown.
fn shown(to: &Target) -> String {
    match to {
        Target::File(path) => format!("; open them with: rerun --bind 127.0.0.1 {}", path.display()),
        Target::Spawn | Target::Connect(_) => " in the viewer".into(),
    }
}
