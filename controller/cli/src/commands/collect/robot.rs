//! `aegis collect --robot`: rollouts of the weak policy in real time, on the robot that the probe is to watch. Episodes are kept
//! one by one beside the output, so that a collection may take days.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use aegis_core::Start;
use aegis_files::{Written, shown};
use aegis_probe::foreign::{ForeignEpisode, write};
use aegis_robot::collect::{CollectedEpisode, EpisodeCollector};
use aegis_robot::{Robot, Run, RunOptions, Watchers};
use serde::{Deserialize, Serialize};

use crate::commands::run::logging::{self, LogSink};
use crate::commands::run::open_link;
use crate::exit::{Exit, Failure, OrExit, end_signal, failure, say, tell};
use crate::files;
use crate::outlet;
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis collect` on a robot.
#[derive(clap::Args)]
pub struct RobotArguments {
    /// Collect on the robot of this robot file, in real time, one rollout for each of its starts; its rule and its probe are not used
    #[arg(long, value_name = "FILE", conflicts_with = "range")]
    robot: Option<PathBuf>,
    /// Ask after each episode whether it succeeded, for a robot that does not say it
    #[arg(long, requires = "robot")]
    ask: bool,
    /// Begin each episode without waiting for `aegis operate start`: for simulators
    #[arg(long, requires = "robot")]
    auto_start: bool,
}

impl RobotArguments {
    /// Returns the robot file.
    pub fn robot(&self) -> Option<&Path> {
        self.robot.as_deref()
    }
}

/// What a collection is of; all parts of it have to agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    weak_sha256: String,
    tensor: String,
    horizon_steps: u32,
    chunk_steps: u32,
    starts: Vec<Start>,
}

/// One kept episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptEpisode {
    /// Place of its start in the robot file.
    start: usize,
    success: bool,
    activations: Vec<Vec<f64>>,
}

/// Episodes of a collection that is not complete, one line of JSON each behind a line that says what they are of.
struct Kept {
    path: PathBuf,
    file: File,
    episodes: BTreeMap<usize, KeptEpisode>,
}

impl Kept {
    /// Opens the episodes that wait beside `out`, or begins the file.
    ///
    /// # Errors
    /// A file that cannot be used, or that is of another collection, with what differs.
    fn open(out: &Path, about: &About) -> Result<Self, Failure> {
        let mut path = out.as_os_str().to_owned();
        path.push(".collecting");
        let path = PathBuf::from(path);
        let io = |error: std::io::Error| failure(Exit::Failed, format!("{}: {error}", path.display()));
        let options = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let text = if path.exists() { std::fs::read_to_string(&path).map_err(io)? } else { String::new() };
        // A process that was killed may have left a part of a line.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].lines().enumerate();
        let wrong = |line: usize, reason: String| {
            let advice =
                "valid is what an earlier call of this command wrote: move the file away to begin anew";
            failure(Exit::Input, format!("{}: line {}: {reason}; {advice}", path.display(), line + 1))
        };
        let mut file = options().map_err(io)?;
        let mut episodes = BTreeMap::new();
        match lines.next() {
            None => {
                file.set_len(0).map_err(io)?;
                writeln!(file, "{}", serde_json::to_string(about).or_exit(Exit::Failed)?).map_err(io)?;
            }
            Some((line, text)) => {
                let found: About =
                    serde_json::from_str(text).map_err(|error| wrong(line, error.to_string()))?;
                if let Some(difference) = difference(&found, about) {
                    return Err(wrong(line, difference));
                }
                for (line, text) in lines {
                    let episode: KeptEpisode =
                        serde_json::from_str(text).map_err(|error| wrong(line, error.to_string()))?;
                    if episode.start >= about.starts.len() {
                        return Err(wrong(line, format!("start: found {}", episode.start)));
                    }
                    episodes.insert(episode.start, episode);
                }
                file.set_len(whole as u64).map_err(io)?;
                std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(io)?;
            }
        }
        Ok(Self { path, file, episodes })
    }

    fn keep(&mut self, episode: KeptEpisode) -> std::io::Result<()> {
        let line = serde_json::to_string(&episode).map_err(std::io::Error::other)?;
        writeln!(self.file, "{line}")?;
        self.file.sync_data()?;
        self.episodes.insert(episode.start, episode);
        Ok(())
    }
}

fn difference(found: &About, now: &About) -> Option<String> {
    let differs = |field: &str, found: String, now: String| {
        (found != now).then(|| format!("{field}: found {found}, and the robot file has {now}"))
    };
    differs("weak_sha256", found.weak_sha256.clone(), now.weak_sha256.clone())
        .or_else(|| differs("tensor", found.tensor.clone(), now.tensor.clone()))
        .or_else(|| {
            differs("gate.horizon_steps", found.horizon_steps.to_string(), now.horizon_steps.to_string())
        })
        .or_else(|| differs("gate.chunk_steps", found.chunk_steps.to_string(), now.chunk_steps.to_string()))
        .or_else(|| {
            (found.starts != now.starts).then(|| "starts: found others than the robot file has".into())
        })
}

/// Collects a rollout of the weak policy for each start of a robot file that has none yet, and writes `out` once all are there.
pub fn run(path: &Path, arguments: &RobotArguments, out: &Path, as_json: bool) -> Result<(), Failure> {
    files::check_place("--out", out, Written::Parquet, &[path])?;
    outlet::begin().or_exit(Exit::Failed)?;
    let mut robot = Robot::load_to_collect(path)?;
    let about = About {
        weak_sha256: robot.digests.get("weak").cloned().unwrap_or_default(),
        tensor: robot.tensor.clone(),
        horizon_steps: robot.file.gate.horizon_steps,
        chunk_steps: robot.file.gate.chunk_steps,
        starts: robot.file.starts.clone(),
    };
    let mut kept = Kept::open(out, &about)?;
    let missing: Vec<usize> =
        (0..about.starts.len()).filter(|start| !kept.episodes.contains_key(start)).collect();
    let mut verdict = Ok(());
    if !missing.is_empty() {
        if missing.len() < about.starts.len() {
            let there = about.starts.len() - missing.len();
            tell!("{there} of {} episodes are there from an earlier call", about.starts.len());
        }
        robot.file.starts = missing.iter().map(|start| about.starts[*start]).collect();
        let signal = end_signal()?;
        let session = open_link(&robot, false)?;
        let (sender, finished) = channel();
        let mut collector = EpisodeCollector::new(robot.tap());
        let periods = move |event: &aegis_robot::events::TickEvent<'_>| {
            if let Some(episode) = collector.take(event.period, event.before) {
                // The receiver is gone only where its thread has panicked, which it has printed.
                let _ = sender.send(episode);
            }
        };
        let sink = if as_json { LogSink::Errors } else { LogSink::Output };
        let watchers = Watchers {
            periods: Box::new(periods),
            begin_log: Box::new(|folder| logging::begin(sink, folder)),
            viewer: None,
        };
        let options = RunOptions { auto_start: arguments.auto_start, ..RunOptions::new(crate::VERSION) };
        let starts = about.starts.clone();
        let ask = arguments.ask;
        let keeper = std::thread::spawn(move || {
            let result = receive(&finished, &mut kept, &missing, &starts, ask);
            (kept, result)
        });
        let mut run = Run::open(&robot, &onnx_runtime()?, session, signal, options, watchers)?;
        let outcome = run.episodes();
        let ended = run.end(outcome)?;
        let (returned, result) =
            keeper.join().map_err(|_| failure(Exit::Failed, "the thread that keeps episodes stopped"))?;
        kept = returned;
        result?;
        verdict = ended.verdict;
    }
    let left = about.starts.len() - kept.episodes.len();
    if left > 0 {
        let (there, all) = (kept.episodes.len(), about.starts.len());
        tell!(
            "{there} of {all} episodes are kept in {}; the same call collects the other {left}",
            kept.path.display()
        );
        return verdict
            .and_then(|()| Err(failure(Exit::Stopped, format!("{left} of {all} episodes are missing"))));
    }
    finish(out, &kept, &about, &robot, as_json)
}

/// Keeps each episode that ends, until the run is over. With `ask`, a person says how it ended.
fn receive(
    finished: &Receiver<CollectedEpisode>,
    kept: &mut Kept,
    missing: &[usize],
    starts: &[Start],
    ask: bool,
) -> Result<(), Failure> {
    for CollectedEpisode { index, outcome, activations } in finished {
        let Some(start) = missing.get(index).copied() else { continue };
        let Start { task, initial_state } = starts[start];
        let name = format!("starts[{start}], task {task}, initial state {initial_state}");
        let outcome = match outcome {
            Ok(success) if !ask => Ok(success),
            Ok(_) => asked(&name),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(success) => {
                kept.keep(KeptEpisode { start, success, activations }).map_err(|error| {
                    failure(Exit::Failed, format!("{}: cannot write: {error}", kept.path.display()))
                })?;
                tell!("{name}: kept, {}", if success { "won" } else { "lost" });
            }
            Err(reason) => tell!("{name}: not kept, because {reason}; the same call collects it again"),
        }
    }
    Ok(())
}

/// Asks a person on the terminal whether an episode succeeded.
fn asked(name: &str) -> Result<bool, &'static str> {
    let input = std::io::stdin();
    loop {
        tell!("{name}: did it succeed? y, n, or r to repeat it");
        let mut line = String::new();
        match input.lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Err("no outcome was entered"),
            Ok(_) => {}
        }
        match line.trim() {
            "y" => return Ok(true),
            "n" => return Ok(false),
            "r" => return Err("a person asked to repeat it"),
            _ => {}
        }
    }
}

/// Writes the rollouts and removes the file of those that waited.
fn finish(out: &Path, kept: &Kept, about: &About, robot: &Robot, as_json: bool) -> Result<(), Failure> {
    let number = |value: usize| u32::try_from(value).or_exit(Exit::Input);
    let episodes: Vec<ForeignEpisode> = kept
        .episodes
        .values()
        .map(|episode| {
            let Start { task, initial_state } = about.starts[episode.start];
            Ok(ForeignEpisode {
                task: number(task)?,
                start: number(initial_state)?,
                episode: number(episode.start)?,
                success: episode.success,
                activations: episode.activations.clone(),
            })
        })
        .collect::<Result<_, Failure>>()?;
    write(out, &episodes, about.chunk_steps).or_exit(Exit::Failed)?;
    std::fs::remove_file(&kept.path)
        .map_err(|error| failure(Exit::Failed, format!("{}: cannot remove: {error}", kept.path.display())))?;
    let lost = episodes.iter().filter(|episode| !episode.success).count();
    if as_json {
        say!("{}", serde_json::json!({ "file": shown(out), "episodes": episodes.len(), "lost": lost }));
    } else {
        say!("{}: {} episodes, weak lost {lost}", out.display(), episodes.len());
        say!(
            "next: aegis probe fit --rollouts {} --model {} --horizon {} --chunk-steps {} --out {}",
            out.display(),
            robot.file.models.weak.display(),
            about.horizon_steps,
            about.chunk_steps,
            robot.file.models.probe.display()
        );
    }
    Ok(())
}
