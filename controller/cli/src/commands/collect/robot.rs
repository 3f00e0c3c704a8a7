//! `aegis collect --robot`: rollouts of the weak policy in real time, on the robot that the probe is to watch. Episodes are kept
//! one by one beside the output, so that a collection may take days.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use aegis_core::Start;
use aegis_files::{Written, shown};
use aegis_policies::OnnxRuntime;
use aegis_probe::foreign::{ForeignEpisode, write};
use aegis_robot::collect::{CollectedEpisode, EpisodeCollector};
use aegis_robot::{Robot, Run, RunOptions, Watchers};
use clap::Args;

use super::kept::{About, Kept, KeptEpisode};
use crate::commands::person::{Answer, Person, stopping_for};
use crate::commands::run::logging::{self, LogSink};
use crate::commands::run::open_link;
use crate::exit::{Exit, Failure, OrExit, end_signal, failure, say, suspend_signal, tell};
use crate::files::{self, digest, text};
use crate::outlet;
use crate::study_loader::onnx_runtime;

/// Keys of a robot file that may differ between two calls of one collection.
const MAY_DIFFER: [&str; 6] = ["starts", "record", "connect", "keys", "metrics", "real_time"];

/// Arguments of `aegis collect` on a robot.
#[derive(Args)]
pub struct RobotArguments {
    /// Collect on the robot of this robot file, in real time, one rollout for each of its starts; its rule and its probe are not used
    #[arg(long, value_name = "FILE", conflicts_with_all = ["range", "plan", "workers"])]
    robot: Option<PathBuf>,
    /// Ask after each episode whether it succeeded, for a robot that does not say it; the next one waits for the answer
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

/// Collects a rollout of the weak policy for each start of a robot file that has none yet, and writes `out` once all are there.
pub fn run(path: &Path, arguments: &RobotArguments, out: &Path, as_json: bool) -> Result<(), Failure> {
    files::check_place("--out", out, Written::Parquet, &[path])?;
    if out.exists() && !Kept::place(out).exists() {
        let valid = "valid is a new file, so that no robot is driven again for what is collected: choose another --out, or move it away";
        return Err(failure(Exit::Input, format!("--out: {}: is there already; {valid}", out.display())));
    }
    outlet::begin().or_exit(Exit::Failed)?;
    let robot = Robot::load_to_collect(path)?;
    let starts = robot.file.starts.clone();
    let mut kept = Kept::open(out, &about(path, &robot)?)?;
    let missing = kept.missing(&starts)?;
    let mut verdict = Ok(());
    if !missing.is_empty() {
        if missing.len() < starts.len() {
            tell!(
                "{} of {} episodes are there from an earlier call",
                starts.len() - missing.len(),
                starts.len()
            );
        }
        verdict = Site::open(robot, arguments, as_json).and_then(|mut site| {
            missing.iter().try_for_each(|index| site.episode(*index, starts[*index], &mut kept))
        });
    }
    let left = starts.len() - kept.episodes.len();
    if left > 0 {
        let (there, all) = (kept.episodes.len(), starts.len());
        let path = kept.path.display();
        tell!("{there} of {all} episodes are kept in {path}; the same call collects the other {left}");
        return verdict
            .and_then(|()| Err(failure(Exit::Failed, format!("{left} of {all} episodes are missing"))));
    }
    finish(out, kept, path, as_json)
}

/// Returns what a collection with this robot file is of.
fn about(path: &Path, robot: &Robot) -> Result<About, Failure> {
    let wrong = |error: String| failure(Exit::Input, format!("{}: {error}", path.display()));
    let mut table: toml::Table = toml::from_str(&text(path)?).map_err(|error| wrong(error.to_string()))?;
    MAY_DIFFER.iter().for_each(|key| drop(table.remove(*key)));
    let mut digests = robot.digests.clone();
    let models = &robot.file.models;
    for (role, card) in [("weak card", Some(&models.weak)), ("strong card", models.strong.card())] {
        if let Some(card) = card {
            digests.insert(role.into(), digest(card)?);
        }
    }
    let robot_file = serde_json::to_value(table).or_exit(Exit::Input)?;
    Ok(About { digests, tensor: robot.tensor.clone(), robot: robot_file })
}

/// Where and with what the episodes run.
struct Site<'a> {
    robot: Robot,
    arguments: &'a RobotArguments,
    session: zenoh::Session,
    runtime: OnnxRuntime,
    signal: Arc<AtomicBool>,
    /// Set by SIGTSTP.
    suspended: Arc<AtomicBool>,
    person: Option<Person>,
    /// Folder of the records of this call.
    records: PathBuf,
    as_json: bool,
}

impl<'a> Site<'a> {
    fn open(robot: Robot, arguments: &'a RobotArguments, as_json: bool) -> Result<Self, Failure> {
        let (signal, suspended) = (end_signal()?, suspend_signal()?);
        let session = open_link(&robot, false)?;
        let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string();
        let records = robot.file.record.join(now);
        let person = arguments.ask.then(|| Person::at_the_terminal(Arc::clone(&suspended)));
        Ok(Self {
            robot,
            arguments,
            session,
            runtime: onnx_runtime()?,
            signal,
            suspended,
            person,
            records,
            as_json,
        })
    }

    /// Runs one episode and keeps it.
    ///
    /// # Errors
    /// A robot that cannot be driven; an episode that the weak policy did not drive alone; a signal.
    fn episode(&mut self, index: usize, start: Start, kept: &mut Kept) -> Result<(), Failure> {
        let Start { task, initial_state } = start;
        let name = format!("starts[{index}], task {task}, initial state {initial_state}");
        let (collected, driven) = self.drive(index, start)?;
        let Some(CollectedEpisode { outcome, activations, .. }) = collected else {
            return driven;
        };
        let outcome = match (&self.person, outcome) {
            (Some(person), Ok(_)) => {
                let question = format!("{name}: did it succeed? y, n, or r to repeat it");
                let Some(answer) = person.ask(&question, &self.signal, answer) else {
                    tell!(
                        "{name}: not kept, because no outcome was entered; the same call collects it again"
                    );
                    return driven
                        .and_then(|()| Err(Person::no_answer("no outcome was entered", &self.signal)));
                };
                answer
            }
            (_, outcome) => outcome,
        };
        match outcome {
            Ok(success) => {
                kept.keep(KeptEpisode { start, success, activations })?;
                tell!("{name}: kept, {}", if success { "won" } else { "lost" });
            }
            Err(reason) => {
                tell!("{name}: not kept, because {reason}; the same call collects it again");
                if reason != REPEATED && driven.is_ok() {
                    // What spoiled this episode spoils the next ones as well.
                    return Err(failure(Exit::Failed, format!("{name}: {reason}")));
                }
            }
        }
        // After a stop an operator's reset has let the run end; the next start waits for its own.
        match driven {
            Err(error) if matches!(error.exit(), Exit::Stopped) && !self.signal.load(Ordering::Acquire) => {
                Ok(())
            }
            driven => driven,
        }
    }

    /// Runs one episode. Returns it, where it began, and how the run ended.
    #[allow(clippy::type_complexity)]
    fn drive(
        &mut self,
        index: usize,
        start: Start,
    ) -> Result<(Option<CollectedEpisode>, Result<(), Failure>), Failure> {
        self.robot.file.starts = vec![start];
        let (sender, finished) = channel();
        let mut collector = EpisodeCollector::new(self.robot.tap());
        let periods = move |event: &aegis_robot::events::TickEvent<'_>| {
            if let Some(episode) = collector.take(event.period, event.before) {
                // The receiver outlives the run.
                let _ = sender.send(episode);
            }
        };
        let sink = if self.as_json { LogSink::Errors } else { LogSink::Output };
        let watchers = Watchers {
            periods: Box::new(periods),
            begin_log: Box::new(|folder| logging::begin(sink, folder)),
            viewer: None,
        };
        let options = RunOptions {
            out: Some(self.records.join(format!("{index:04}"))),
            auto_start: self.arguments.auto_start,
            // With `--auto-start` no person is there who could reset a stop.
            exit_on_stop: self.arguments.auto_start,
            first_start: index,
            ..RunOptions::new(crate::VERSION)
        };
        let session = self.session.clone();
        let signal = Arc::clone(&self.signal);
        let mut run = Run::open(&self.robot, &self.runtime, session, signal, options, watchers)?;
        let listener = run.listener();
        let outcome = match &self.person {
            Some(person) => person.beside(&listener, || run.episodes()),
            None => stopping_for(&self.suspended, &listener, || run.episodes()),
        };
        let verdict = run.end(outcome)?.verdict;
        Ok((finished.try_iter().last(), verdict))
    }
}

/// Reason for which a person's repetition is not kept.
const REPEATED: &str = "a person asked to repeat it";

/// Reads an answer; `None` for other text.
fn answer(Answer { word, .. }: Answer<'_>) -> Option<Result<bool, &'static str>> {
    match word.to_lowercase().as_str() {
        "y" => Some(Ok(true)),
        "n" => Some(Ok(false)),
        "r" => Some(Err(REPEATED)),
        _ => None,
    }
}

/// Writes the rollouts and removes the file of those that waited.
fn finish(out: &Path, kept: Kept, path: &Path, as_json: bool) -> Result<(), Failure> {
    let robot = Robot::load_to_collect(path)?;
    let number = |value: usize| u32::try_from(value).or_exit(Exit::Input);
    // In the order of the robot file's starts, whatever the order in which they were collected.
    let mut left = kept.episodes.clone();
    let mut episodes = Vec::new();
    for (index, start) in robot.file.starts.iter().enumerate() {
        let Some(place) = left.iter().position(|episode| episode.start == *start) else { continue };
        let KeptEpisode { success, activations, .. } = left.remove(place);
        let (task, start) = (number(start.task)?, number(start.initial_state)?);
        episodes.push(ForeignEpisode { task, start, episode: number(index)?, success, activations });
    }
    let chunk_steps = robot.file.gate.chunk_steps;
    write(out, &episodes, chunk_steps).or_exit(Exit::Failed)?;
    kept.remove()?;
    let lost = episodes.iter().filter(|episode| !episode.success).count();
    if as_json {
        say!("{}", serde_json::json!({ "file": shown(out), "episodes": episodes.len(), "lost": lost }));
        return Ok(());
    }
    say!("{}: {} episodes, weak lost {lost}", out.display(), episodes.len());
    // Never a probe that is in use already.
    let named = &robot.file.models.probe;
    let probe = if named.exists() { out.with_extension("probe.json") } else { named.clone() };
    say!(
        "next: aegis probe fit --rollouts {} --model {} --horizon {} --chunk-steps {chunk_steps} --out {}",
        out.display(),
        robot.file.models.weak.display(),
        robot.file.gate.horizon_steps,
        probe.display()
    );
    if named.exists() {
        say!(
            "{} is there already and stays; name the new probe in models.probe of {}",
            named.display(),
            path.display()
        );
    }
    Ok(())
}
