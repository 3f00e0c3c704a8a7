//! `aegis run`: drives a robot, or a simulator that is served like one, over Zenoh in real time. Runs the episodes of the
//! robot file one after another. A stop is latched until an operator sends a reset.

mod claim;
mod episodes;
mod events;
mod last_error;
mod logging;
pub mod metrics;
mod plant_listener;
pub mod record;
mod rerun_stream;
mod reserve;
pub mod robot;
pub mod run_summary;
pub mod session;
mod snapshot_recorder;
mod view;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::control::Mode;
use aegis_experiments::files::write_atomically;
use aegis_link::{FreeRunningPlant, Operators, Principal, Role};
use aegis_recorder::run_log::RunHeader;
use clap::Args;
use tracing::{info, warn};

use crate::exit::{Exit, Failure, OrExit, end_signal, failure, say};
use crate::outlet;
use crate::remote::guard;
use crate::study_loader::onnx_runtime;
use events::Events;
use logging::LogSink;
use metrics::{Metrics, MetricsServer};
use record::Recording;
use rerun_stream::RerunStream;
use robot::Robot;
use run_summary::EpisodeEnd;
use session::{RobotSession, Sending, Unsent};
use view::Live;
use worker::Worker;

/// Interval at which the state of the control thread is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Longest wait for the commands to come to rest at the end of a run. `robot/checks.rs` refuses limits under which a stop
/// takes longer.
const REST: Duration = Duration::from_secs(10);

/// Arguments of `aegis run`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis sim serve --name libero --sample-seed 20261125 &\n  \
                        aegis run controller/libero.toml --auto-start\n  \
                        aegis run robot.toml --view\n  \
                        aegis run robot.toml --dry-run\n  \
                        aegis run robot.toml --exit-on-stop --json\n\n\
                        An episode begins with `aegis operate start`. A stop is latched: `aegis operate reset` opens it, and \
                        the next start moves on. Exit code 1: the record ended early, for example on a full disk; 4: a \
                        safe stop or an e-stop ended the run or its last episode; 5: a signal ended the run, after a safe \
                        stop. docs/guide/robot.md is the safety checklist.")]
pub struct RunArguments {
    /// The robot file
    #[arg(value_name = "FILE")]
    robot: PathBuf,
    /// Allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant
    #[arg(long)]
    allow_plaintext_network: bool,
    /// End after a stop instead of waiting for a reset
    #[arg(long)]
    exit_on_stop: bool,
    /// Begin each episode without waiting for `aegis operate start`: for simulators
    #[arg(long)]
    auto_start: bool,
    /// Claim, observe, infer and decide, but send no command; say at the end what would have been sent
    #[arg(long, conflicts_with = "json")]
    dry_run: bool,
    /// Where this run is recorded; without it, a folder named by the time in the robot file's `record`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Watch and operate the run in this terminal: e e-stop, s stop, r reset, g start, q or Ctrl-C end
    #[arg(long, conflicts_with = "json")]
    view: bool,
    /// Show the run in the Rerun viewer at this address, as rerun+http://127.0.0.1:9876/proxy
    #[arg(long, value_name = "URL")]
    rerun: Option<String>,
    /// Print the run's summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis run`.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    if arguments.view {
        view::check_terminal()?;
    }
    outlet::begin().or_exit(Exit::Failed)?;
    let robot = Robot::load(&arguments.robot)?;
    let (endpoint, keys) = (&robot.file.connect, robot.file.keys.as_deref());
    let plants = [robot.file.plant.clone()];
    let whose = (Principal::Controller, &plants[..]);
    let guarded = guard(endpoint, keys, arguments.allow_plaintext_network, whose)
        .map_err(|error| error.prefixed(format_args!("{}: connect", robot.path.display())))?;
    let runtime = onnx_runtime()?;
    let signal = end_signal()?;
    let session = aegis_link::open_guarded(Role::Drive, &guarded, &plants).or_exit(Exit::Failed)?;
    let mut drive = Drive::open(&robot, &runtime, session, signal, arguments)?;
    let outcome = drive.episodes(arguments.exit_on_stop);
    drive.end(outcome, arguments.json)
}

/// The ways in which a run ends without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Stopped(Mode),
    Signal,
}

struct Drive<'a> {
    robot: &'a Robot,
    session: zenoh::Session,
    robot_session: RobotSession,
    /// Listener for operator commands; listens whether or not a plant is claimed.
    _operators: Operators,
    recording: Recording,
    plant: Option<(FreeRunningPlant, Sending)>,
    /// Number of the newest episode. Episode numbers continue across claims.
    newest_episode: u64,
    /// The commands that a dry run withheld; `None` where commands are sent.
    unsent: Option<Arc<Mutex<Unsent>>>,
    auto_start: bool,
    view: Option<Worker>,
    looks: Option<Worker>,
    _metrics: Option<MetricsServer>,
}

impl<'a> Drive<'a> {
    fn open(
        robot: &'a Robot,
        runtime: &aegis_policies::OnnxRuntime,
        session: zenoh::Session,
        signal: Arc<AtomicBool>,
        arguments: &RunArguments,
    ) -> Result<Self, Failure> {
        let header = RunHeader {
            program: crate::VERSION.into(),
            plant: robot.file.plant.clone(),
            began_unix_ns: i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default(),
            digests: robot.digests.clone(),
            recipe: robot.recipe.clone(),
            first: 0,
        };
        let folder = arguments.out.clone().unwrap_or_else(|| {
            robot.file.record.join(jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string())
        });
        let (mut robot_session, ring) = RobotSession::open(robot, runtime, &session, signal)?;
        let unsent = arguments.dry_run.then(|| robot_session.send_nothing());
        let metrics = Arc::new(Metrics::new());
        let listen = robot.file.metrics;
        let server = listen.map(|listen| MetricsServer::start(listen, Arc::clone(&metrics))).transpose();
        let server =
            server.map_err(|error| error.prefixed(format_args!("{}: metrics", robot.path.display())))?;
        let live = Arc::new(Mutex::new(Live::default()));
        let people = match (arguments.view, arguments.json) {
            (true, _) => LogSink::View(Arc::clone(&live)),
            (false, true) => LogSink::Errors,
            (false, false) => LogSink::Output,
        };
        let shown = arguments.rerun.as_deref().map(|url| RerunStream::start(url, &header)).transpose()?;
        let (shown, shown_too) =
            shown.map(Arc::new).map_or((None, None), |one| (Some(Arc::clone(&one)), Some(one)));
        let mut events = Events::new(robot_session.errors.clone());
        let seen = arguments.view.then(|| Arc::clone(&live));
        let recording = Recording::start(folder, header, ring, move |turn| {
            events.take(turn);
            metrics.take(turn);
            if let Some(seen) = &seen {
                seen.lock().unwrap_or_else(PoisonError::into_inner).take(turn);
            }
            if let Some(shown) = &shown {
                shown.take(turn.bytes);
            }
        })?;
        logging::begin(people, &recording.folder)?;
        let (snapshot_recorder, looks) = snapshot_recorder::start(&recording.folder, shown_too)?;
        robot_session.listener.look(snapshot_recorder);
        robot_session.thread.real_time.notices.iter().for_each(|notice| warn!("{notice}"));
        if let Some(server) = &server {
            info!("metrics: http://{}/metrics", server.address);
        }
        let listener = Arc::clone(&robot_session.listener);
        let operators = Operators::hear(&session, &robot.file.plant, move |heard| listener.hear(heard));
        let operators = operators.or_exit(Exit::Failed)?;
        let listener = Arc::clone(&robot_session.listener);
        let told = robot_session.told();
        let view = || view::show(live, move |wish| listener.obey(wish), told);
        let view = arguments.view.then(view).transpose().or_exit(Exit::Failed)?;
        Ok(Self {
            robot,
            session,
            robot_session,
            _operators: operators,
            recording,
            plant: None,
            newest_episode: 0,
            unsent,
            auto_start: arguments.auto_start,
            view,
            looks: Some(looks),
            _metrics: server,
        })
    }

    /// Ends the run: brings the commands to rest, releases the plant, writes the summary, and returns the error that ends
    /// the process, if there is one. Waits at most `REST` for the commands to come to rest.
    fn end(mut self, outcome: Result<End, Failure>, as_json: bool) -> Result<(), Failure> {
        if !matches!(outcome, Ok(End::Done | End::Stopped(_))) {
            self.robot_session.wishes.stop();
            let begin = Instant::now();
            let resting = |robot_session: &RobotSession| {
                robot_session.control.mode().is_latched() && robot_session.control.is_at_rest()
            };
            while !resting(&self.robot_session)
                && self.robot_session.thread.is_alive()
                && begin.elapsed() < REST
            {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        if let Some((plant, sending)) = self.plant.take() {
            self.robot_session.stop_sending(sending);
            drop(plant);
        }
        // The view gives the terminal back before anything is printed.
        drop(self.view.take());
        let malformed = self.robot_session.listener.malformed();
        let published = self.robot_session.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let controller = self.robot_session.thread.end();
        let (folder, reserve) = (self.recording.folder.clone(), Arc::clone(&self.recording.reserve));
        let taken = self.recording.end();
        drop(self.looks.take());
        let (mut lost, mut last) = (Vec::new(), None);
        if let Some(taken) = &taken {
            let mut summary = taken.summary();
            if let Some(controller) = &controller {
                summary["counters"] = run_summary::counted(controller.counters())?;
            }
            summary["malformed_messages"] = malformed.into();
            summary["observation_to_command_us"] = run_summary::microseconds(&published);
            let text = serde_json::to_string_pretty(&summary).or_exit(Exit::Failed)?;
            let path = folder.join("summary.json");
            if let Err(error) = reserve.for_summary(|| write_atomically(&path, text.as_bytes())) {
                lost.push(format!("{}: cannot write: {error}", path.display()));
            }
            drop(reserve);
            if as_json {
                say!("{text}");
            } else {
                say!("{} episodes; record in {}", taken.ends().len(), folder.display());
            }
            last = taken.ends().last().copied();
            if let Some(unsent) = &self.unsent {
                let unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let ranges: Vec<String> =
                    unsent.ranges.iter().map(|[least, most]| format!("{least} to {most}")).collect();
                say!(
                    "dry run: sent nothing, and would have sent {} commands; by channel: {}",
                    unsent.commands,
                    ranges.join(", ")
                );
            }
        }
        let early = taken.map_or_else(|| Some("its thread has gone".into()), |taken| taken.alarm);
        lost.extend(early.map(|reason| format!("the record ended early: {reason}")));
        verdict(outcome, last, &lost)
    }
}

/// Returns the result of the process: from how the run ended, how its `last` episode ended, and the list of files that
/// could not be written (`lost`).
fn verdict(outcome: Result<End, Failure>, last: Option<EpisodeEnd>, lost: &[String]) -> Result<(), Failure> {
    let ended = outcome.and_then(|end| match (end, last) {
        (End::Done, Some(EpisodeEnd::Stopped(mode, _))) => {
            Err(failure(Exit::Stopped, format!("{} ended the last episode", stop(mode))))
        }
        (End::Done, _) => Ok(()),
        (End::Stopped(mode), _) => Err(failure(Exit::Stopped, format!("{} ended the run", stop(mode)))),
        (End::Signal, _) => Err(failure(Exit::Signal, "a signal ended the run, after a safe stop")),
    });
    if lost.is_empty() {
        return ended;
    }
    let lost = lost.join("; ");
    match ended {
        Ok(()) => Err(failure(Exit::Failed, lost)),
        Err(worse) => Err(worse.followed(lost)),
    }
}

/// Returns the words for a latched mode.
pub fn stop(mode: Mode) -> &'static str {
    if mode == Mode::EStop { "an e-stop" } else { "a safe stop" }
}
