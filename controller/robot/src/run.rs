//! A run: the episodes of a robot file, one after another, on one plant. A stop is latched until an operator sends a reset.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::control::Mode;
use aegis_failure::{Exit, Failure, OrExit, failure};
use aegis_files::write_atomically;
use aegis_link::{CallPublisher, FreeRunningPlant, Operators, TeleopSubscription};
use aegis_policies::OnnxRuntime;
use aegis_recorder::EpisodeEnd;
use aegis_recorder::run_log::RunHeader;
use tracing::{info, warn};

use crate::call_sender::{self, CallBoard};
use crate::events::{Events, TickEvent};
use crate::metrics::{Metrics, MetricsServer};
use crate::observation_recorder::{self, SavedObservations};
use crate::plant_listener::PlantListener;
use crate::record::Recording;
use crate::rerun_stream::{RerunStream, Viewer};
use crate::robot::{REST, Robot};
use crate::run_summary;
use crate::session::{RobotSession, Sending, Unsent};
use crate::snapshot_recorder;
use crate::worker::Worker;

/// Interval at which the state of the control thread is polled.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Settings of a run beyond its robot file.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Name and version of the program, for the record.
    pub program: String,
    /// Folder of the record; without it, a folder named by the time in the robot file's `record`.
    pub out: Option<PathBuf>,
    /// Whether commands are withheld: the run claims, observes, infers and decides, and sends nothing.
    pub dry_run: bool,
    /// Whether each episode begins without an operator's start.
    pub auto_start: bool,
    /// Whether the run ends after a stop instead of waiting for a reset.
    pub exit_on_stop: bool,
    /// Index of the first of the robot's `starts` in the robot file, for messages of a run of some of them.
    pub first_start: usize,
}

impl RunOptions {
    /// Returns the settings of a run that sends commands and waits for an operator.
    pub fn new(program: &str) -> Self {
        let program = program.into();
        Self { program, out: None, dry_run: false, auto_start: false, exit_on_stop: false, first_start: 0 }
    }
}

/// What is called once with a run's folder.
pub type BeginLog = Box<dyn FnOnce(&Path) -> Result<(), Failure>>;

/// Observers of a run. None of them can delay the control thread.
pub struct Watchers {
    /// Called with every control period after it was recorded, on the thread that records.
    pub periods: Box<dyn FnMut(&TickEvent<'_>) + Send>,
    /// Called once with the run's folder, before anything is logged.
    pub begin_log: BeginLog,
    /// Rerun viewer that shows the run.
    pub viewer: Option<Viewer>,
}

impl Watchers {
    /// Returns no observers.
    pub fn none() -> Self {
        Self { periods: Box::new(|_| {}), begin_log: Box::new(|_| Ok(())), viewer: None }
    }
}

/// The ways in which a run ends without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every episode is over.
    Done,
    /// A stop ended the run, in this latched mode.
    Stopped(Mode),
    /// A signal ended the run.
    Signal,
}

/// Result of a run that is over.
pub struct Ended {
    /// The run's folder.
    pub folder: PathBuf,
    /// Summary and number of episodes; `None` where the thread that records has panicked.
    pub summary: Option<(serde_json::Value, usize)>,
    /// Commands that a dry run withheld.
    pub unsent: Option<Unsent>,
    /// How the run ended, as the result of the process.
    pub verdict: Result<(), Failure>,
}

/// A run in progress.
pub struct Run<'a> {
    pub(crate) robot: &'a Robot,
    pub(crate) options: RunOptions,
    pub(crate) session: zenoh::Session,
    pub(crate) robot_session: RobotSession,
    /// Listener for operator commands; listens whether or not a plant is claimed.
    _operators: Operators,
    recording: Recording,
    pub(crate) plant: Option<(FreeRunningPlant, Sending)>,
    /// Number of the newest episode. Episode numbers continue across claims.
    pub(crate) newest_episode: u64,
    /// The commands that a dry run withheld; `None` where commands are sent.
    unsent: Option<Arc<Mutex<Unsent>>>,
    snapshots: Worker,
    pictures: Option<Worker>,
    /// Listener for operators who drive by hand, and the thread that calls them.
    _teleoperation: Option<(TeleopSubscription, Worker)>,
    /// What was saved of the observations, and the thread that saves them; `None` where the robot file does not ask for it.
    observations: Option<(Arc<SavedObservations>, Worker)>,
    _metrics: Option<MetricsServer>,
}

impl<'a> Run<'a> {
    /// Opens both policies, starts every thread of the run and begins the record. Claims nothing yet. Once `told` is set, the
    /// run stops the plant and ends.
    ///
    /// # Errors
    /// A policy, a viewer, an address of metrics or a folder that cannot be used.
    pub fn open(
        robot: &'a Robot,
        runtime: &OnnxRuntime,
        session: zenoh::Session,
        told: Arc<AtomicBool>,
        options: RunOptions,
        watchers: Watchers,
    ) -> Result<Self, Failure> {
        let header = RunHeader {
            program: options.program.clone(),
            plant: robot.file.plant.clone(),
            began_unix_ns: i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default(),
            digests: robot.digests.clone(),
            recipe: robot.recipe.clone(),
            first: 0,
        };
        let folder = options.out.clone().unwrap_or_else(|| {
            robot.file.record.join(jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string())
        });
        let (mut robot_session, ring) = RobotSession::open(robot, runtime, &session, told)?;
        let unsent = options.dry_run.then(|| robot_session.send_nothing());
        let metrics = Arc::new(Metrics::new());
        let listen = robot.file.metrics;
        let server = listen.map(|listen| MetricsServer::start(listen, Arc::clone(&metrics))).transpose();
        let server =
            server.map_err(|error| error.prefixed(format_args!("{}: metrics", robot.path.display())))?;
        let Watchers { mut periods, begin_log, viewer } = watchers;
        let stream = viewer.map(|viewer| RerunStream::start(viewer, &header)).transpose()?.map(Arc::new);
        let mut events = Events::new(robot_session.errors.clone(), robot.recipe.settings.cameras.clone());
        let board = Arc::new(CallBoard::default());
        let recording = Recording::start(folder, header, ring, {
            let (stream, board) = (stream.clone(), Arc::clone(&board));
            move |tick| {
                events.take(tick);
                metrics.take(tick);
                board.take(tick.period);
                periods(tick);
                if let Some(stream) = &stream {
                    stream.take(tick.bytes);
                }
            }
        })?;
        begin_log(&recording.folder)?;
        let pictures = robot_session.save_pictures(&recording.folder, stream.clone())?;
        let (snapshot_recorder, snapshots) = snapshot_recorder::start(&recording.folder, stream)?;
        robot_session.listener.look(snapshot_recorder);
        let observations = if robot.file.record_observations {
            let (recorder, saved, worker) = observation_recorder::start(&recording.folder, options.dry_run)?;
            robot_session.listener.save_observations(recorder);
            Some((saved, worker))
        } else {
            None
        };
        robot.warnings.iter().for_each(|warning| warn!("{warning}"));
        robot_session.thread.real_time.notices.iter().for_each(|notice| warn!("{notice}"));
        if let Some(server) = &server {
            info!("metrics: http://{}/metrics", server.address);
        }
        let listener = Arc::clone(&robot_session.listener);
        let operators = Operators::hear(&session, &robot.file.plant, move |heard| listener.hear(heard));
        let operators = operators.or_exit(Exit::Failed)?;
        let teleoperation = teleoperation(robot, &mut robot_session, &session, board)?;
        Ok(Self {
            robot,
            options,
            session,
            robot_session,
            _operators: operators,
            recording,
            plant: None,
            newest_episode: 0,
            unsent,
            snapshots,
            pictures,
            _teleoperation: teleoperation,
            observations,
            _metrics: server,
        })
    }

    /// Returns the receiver of operator commands.
    pub fn listener(&self) -> Arc<PlantListener> {
        Arc::clone(&self.robot_session.listener)
    }

    /// Returns the flag that ends the run once it is set.
    pub fn told(&self) -> Arc<AtomicBool> {
        self.robot_session.told()
    }

    /// Ends the run: brings the commands to rest, releases the plant and writes the summary. Waits at most `REST` for the
    /// commands to come to rest.
    ///
    /// # Errors
    /// A summary that cannot be encoded. Files that cannot be written are in the verdict.
    pub fn end(mut self, outcome: Result<End, Failure>) -> Result<Ended, Failure> {
        // Where the first episode never began, nothing was sent that a stop could bring to rest, and the error says why.
        let never_began = outcome.is_err() && self.robot_session.control.episode() == 0;
        if !never_began && !matches!(outcome, Ok(End::Done | End::Stopped(_))) {
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
        let malformed = self.robot_session.listener.malformed();
        let published = self.robot_session.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let controller = self.robot_session.thread.end();
        let (folder, reserve) = (self.recording.folder.clone(), Arc::clone(&self.recording.reserve));
        let recorded = self.recording.end();
        drop((self.snapshots, self.pictures));
        let observations = self.observations.map(|(saved, worker)| {
            drop(worker);
            saved.summary()
        });
        let (mut lost, mut last, mut summary) = (Vec::new(), None, None);
        if let Some(recorded) = &recorded {
            let mut found = recorded.summary();
            if let Some(controller) = &controller {
                found["counters"] = run_summary::counted(controller.counters())?;
            }
            found["malformed_messages"] = malformed.into();
            found["observation_to_command_us"] = run_summary::microseconds(&published);
            if let Some(observations) = observations {
                found["recorded_observations"] = observations;
            }
            let text = serde_json::to_string_pretty(&found).or_exit(Exit::Failed)?;
            let path = folder.join("summary.json");
            if let Err(error) = reserve.for_summary(|| write_atomically(&path, text.as_bytes())) {
                lost.push(format!("{}: cannot write: {error}", path.display()));
            }
            last = recorded.ends().last().copied();
            summary = Some((found, recorded.ends().len()));
        }
        let unsent = self.unsent.map(|unsent| unsent.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let early = recorded.map_or_else(|| Some("its thread has gone".into()), |recorded| recorded.alarm);
        lost.extend(early.map(|reason| format!("the record ended early: {reason}")));
        Ok(Ended { folder, summary, unsent, verdict: verdict(outcome, last, &lost) })
    }
}

/// Begins to hear operators who drive by hand, and to call them; `None` where the backup is a policy.
fn teleoperation(
    robot: &Robot,
    robot_session: &mut RobotSession,
    session: &zenoh::Session,
    board: Arc<CallBoard>,
) -> Result<Option<(TeleopSubscription, Worker)>, Failure> {
    let Some(operator) = &robot.recipe.operator else { return Ok(None) };
    let plant = &robot.file.plant;
    let Some(inbox) = robot_session.teleop_inbox(robot.recipe.rest.len()) else { return Ok(None) };
    let subscription = TeleopSubscription::begin(session, plant, move |heard| inbox.hear(heard));
    let publisher = CallPublisher::declare(session, plant).or_exit(Exit::Failed)?;
    let (listener, announced) = (Arc::clone(&robot_session.listener), robot_session.announced());
    let worker = call_sender::start(publisher, board, listener, announced, (&robot.recipe, operator))?;
    info!("the backup is a person: `teleop.py --name {plant}` answers calls");
    Ok(Some((subscription.or_exit(Exit::Failed)?, worker)))
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
