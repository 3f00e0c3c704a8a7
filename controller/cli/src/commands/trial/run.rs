//! `aegis trial run`: runs the episodes of a registered trial that have no outcome yet, one after another, on any number of days. The
//! log has each attempt before anything moves, and its result after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::Start;
use aegis_experiments::data::field_log::{self, FieldLog};
use aegis_experiments::field::attempts::{Attempts, record_folder};
use aegis_experiments::field::log::{Attempt, Entries, Entry, Outcome, Usage};
use aegis_experiments::field::plan::OutcomeSource;
use aegis_experiments::plan::registration::Lock;
use aegis_policies::OnnxRuntime;
use aegis_recorder::EpisodeEnd;
use aegis_robot::{EpisodeFigures, Run, RunOptions, Watchers};
use clap::Args;

use super::files::{PlanArguments, Planned, RECORDS, RUN_FILE, unknown_records};
use super::outcome::{QUESTION, outcome};
use crate::commands::person::Person;
use crate::commands::plan::now;
use crate::commands::run::logging::{self, LogSink};
use crate::commands::run::open_link;
use crate::exit::{Exit, Failure, OrExit, end_signal, failure, suspend_signal, tell};
use crate::files::{digest, make_folder};
use crate::occupied::Occupied;
use crate::outlet;
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis trial run`.
#[derive(Args)]
#[command(after_help = "Example: aegis trial run trial.toml --out runs/trial --episodes 20\n\n\
                        Set the start up as it says, press Enter, watch, and enter how it ended. End it with Ctrl-C between two \
                        episodes and go on with the same call, on another day too; Ctrl-Z in an episode stops the robot. Exit code 5: a \
                        signal ended it, after a safe stop.")]
pub struct RunArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// Folder of the trial: its log and the record of each attempt
    #[arg(long, value_name = "DIR", default_value = "runs/trial")]
    out: PathBuf,
    /// End after this many attempts; all that are left when left out
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// Begin each episode without waiting for Enter or `aegis operate start`: for simulators
    #[arg(long)]
    auto_start: bool,
    /// Allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant
    #[arg(long)]
    allow_plaintext_network: bool,
}

/// Runs `aegis trial run`.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    outlet::begin().or_exit(Exit::Failed)?;
    let (planned, lock) = arguments.plan.registered()?;
    let folder = &arguments.out;
    make_folder(folder)?;
    let _occupied = Occupied::claim(folder)?;
    refuse_unknown_records(folder, &field_log::load(folder, &lock.seal).or_exit(Exit::Input)?)?;
    let mut log = FieldLog::open(folder, &lock.seal).or_exit(Exit::Input)?;
    let outcome = episodes(arguments, &planned, &lock, &mut log);
    if !log.entries.is_empty() {
        tell!(
            "seal {} is the log's last; quote it elsewhere, so that a log that is cut or edited later is found",
            log.head()
        );
    }
    outcome
}

/// Refuses a folder with a record that the log does not know: the log was cut, and the episode would run again.
fn refuse_unknown_records(folder: &Path, log: &Entries) -> Result<(), Failure> {
    let Some(first) = unknown_records(folder, &log.entries)?.into_iter().next() else { return Ok(()) };
    let valid = "valid are the records of the log's attempts: the log was cut, or this is another trial's record, so restore the log \
                 as it was written, or move what is not of this trial away";
    let (record, log) = (first.display(), folder.join(field_log::LOG));
    Err(failure(Exit::Input, format!("{record}: found a record of no attempt in {}; {valid}", log.display())))
}

fn episodes(
    arguments: &RunArguments,
    planned: &Planned,
    lock: &Lock,
    log: &mut FieldLog,
) -> Result<(), Failure> {
    let folder = &arguments.out;
    let mut attempts = planned.attempts(folder, &log.entries)?;
    if let Some(attempt) = attempts.open {
        // Nothing proves that no command was sent: a record may be cut or missing.
        tell!(
            "episode {}: attempt {} counts, though the program ended during it",
            attempt.episode + 1,
            attempt.number
        );
        log.append(Entry::Abandoned { when: log.time(now()), attempt }).or_exit(Exit::Failed)?;
        attempts = planned.attempts(folder, &log.entries)?;
    }
    let Some(_) = attempts.next(&planned.plan) else {
        return over(arguments, planned, &attempts);
    };
    let (signal, suspended) = (end_signal()?, suspend_signal()?);
    let session = open_link(&planned.robot, arguments.allow_plaintext_network)?;
    let (runtime, person) = (onnx_runtime()?, Person::at_the_terminal(suspended));
    let site = Site { planned, lock, folder, arguments, session, runtime, person, signal };
    let mut made = 0;
    while let Some(next) = attempts.next(&planned.plan) {
        if arguments.episodes.is_some_and(|most| made >= most) {
            let of = planned.schedule.len();
            tell!("{made} attempts made; the same call goes on with episode {} of {of}", next.episode + 1);
            return Ok(());
        }
        site.attempt(log, next)?;
        made += 1;
        attempts = planned.attempts(folder, &log.entries)?;
    }
    over(arguments, planned, &attempts)
}

fn over(arguments: &RunArguments, planned: &Planned, attempts: &Attempts) -> Result<(), Failure> {
    let missing = (0..planned.schedule.len()).filter(|episode| attempts.success(*episode).is_none()).count();
    tell!(
        "every one of {} episodes is over, {missing} without an outcome; next: aegis trial report {} {}",
        planned.schedule.len(),
        arguments.plan.plan.display(),
        arguments.out.display()
    );
    Ok(())
}

/// Where and with what the episodes run.
struct Site<'a> {
    planned: &'a Planned,
    lock: &'a Lock,
    folder: &'a Path,
    arguments: &'a RunArguments,
    session: zenoh::Session,
    runtime: OnnxRuntime,
    person: Person,
    signal: Arc<AtomicBool>,
}

impl Site<'_> {
    /// Makes one attempt and logs it.
    ///
    /// # Errors
    /// A robot that cannot be driven, a record that is not whole, or a signal. The log has the attempt as what it was.
    fn attempt(&self, log: &mut FieldLog, attempt: Attempt) -> Result<(), Failure> {
        let planned = self.planned;
        let episode = &planned.schedule[attempt.episode];
        let start @ Start { task, initial_state } = planned.robot.file.starts[episode.start];
        let setup = planned.plan.setups.get(episode.start).map_or(String::new(), |text| format!(": {text}"));
        tell!(
            "episode {} of {}, attempt {}, from task {task}, initial state {initial_state}{setup}",
            attempt.episode + 1,
            planned.schedule.len(),
            attempt.number
        );
        if !self.arguments.auto_start {
            tell!("set it up; once it waits for a start, Enter begins it, and s and Enter stop it");
        }
        let begun = log.entries.iter().filter(|entry| matches!(entry, Entry::Begun { .. })).count();
        let name = record_folder(begun);
        let folder = self.folder.join(RECORDS).join(&name);
        let lock = self.lock.head().to_owned();
        log.append(Entry::Begun { when: log.time(now()), attempt, lock, folder: name })
            .or_exit(Exit::Failed)?;
        let figures = Arc::new(Mutex::new(EpisodeFigures::default()));
        let driven = self.drive(attempt, &folder, &figures);
        let figures = *figures.lock().unwrap_or_else(PoisonError::into_inner);
        let when = log.time(now());
        if !figures.begun {
            let failure = driven.err().unwrap_or_else(|| failure(Exit::Failed, "the episode did not begin"));
            let entry = Entry::Withdrawn { when, attempt, reason: failure.to_string() };
            log.append(entry).or_exit(Exit::Failed)?;
            return Err(failure);
        }
        let outcome = match (&driven, figures.end) {
            (Err(error), _) if matches!(error.exit(), Exit::Failed) => None,
            (_, Some(EpisodeEnd::Goal | EpisodeEnd::Horizon)) => match planned.plan.outcome {
                OutcomeSource::Plant => {
                    Some(Outcome::Done { success: figures.success(), by: OutcomeSource::Plant, note: None })
                }
                OutcomeSource::Person => self.person.ask(QUESTION, &self.signal, outcome),
            },
            (_, Some(EpisodeEnd::Stopped(..))) if self.signal.load(Ordering::Acquire) => {
                Some(Outcome::Stopped { reason: "a signal ended the run".into() })
            }
            (_, Some(end @ EpisodeEnd::Stopped(..))) => Some(Outcome::Stopped { reason: end.to_string() }),
            (_, Some(EpisodeEnd::Unfinished) | None) => None,
        };
        let Some(outcome) = outcome else {
            log.append(Entry::Abandoned { when, attempt }).or_exit(Exit::Failed)?;
            let reason = "the episode was over, and no outcome was entered; the attempt counts";
            return Err(driven.err().unwrap_or_else(|| Person::no_answer(reason, &self.signal)));
        };
        match &outcome {
            Outcome::Done { .. } => tell!("kept"),
            Outcome::Stopped { .. } => {
                tell!("a stop ended it; the attempt counts and is repeated while attempts are left")
            }
            Outcome::Repeated { .. } => tell!("it is repeated while attempts are left"),
        }
        let usage = Usage { steps: figures.steps, strong_steps: figures.strong_steps, fires: figures.fires };
        let record_sha256 = digest(&folder.join(RUN_FILE))?;
        let arm = episode.arm.clone();
        log.append(Entry::Ended { when, attempt, arm, start, outcome, usage, record_sha256 })
            .or_exit(Exit::Failed)?;
        // After a stop the trial continues with the next attempt; a signal, or a record that is not whole, ends it.
        driven.or_else(|error| if matches!(error.exit(), Exit::Stopped) { Ok(()) } else { Err(error) })
    }

    /// Runs one episode.
    fn drive(
        &self,
        attempt: Attempt,
        folder: &Path,
        figures: &Arc<Mutex<EpisodeFigures>>,
    ) -> Result<(), Failure> {
        let robot = self.planned.robot(&self.planned.schedule[attempt.episode])?;
        let taken = Arc::clone(figures);
        let watchers = Watchers {
            periods: Box::new(move |tick| {
                taken.lock().unwrap_or_else(PoisonError::into_inner).take(tick.period);
            }),
            begin_log: Box::new(|folder| logging::begin(LogSink::Blind, folder)),
            viewer: None,
        };
        let options = RunOptions {
            out: Some(folder.to_owned()),
            auto_start: self.arguments.auto_start,
            exit_on_stop: true,
            ..RunOptions::new(crate::VERSION)
        };
        let session = self.session.clone();
        let mut run = Run::open(&robot, &self.runtime, session, Arc::clone(&self.signal), options, watchers)?;
        let listener = run.listener();
        let outcome = self.person.beside(&listener, || run.episodes());
        run.end(outcome)?.verdict
    }
}
