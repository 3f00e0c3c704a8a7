//! The threads of a run and what they share: two policies, the control thread, and the sender of its commands.
//! What is heard of the plant comes to them through `ears.rs`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aegis_core::control::ControllerConfig;
use aegis_core::{Observation, Policy, Start};
use aegis_experiments::runner::SetupError;
use aegis_link::{Claimant, CommandSender, FreeRunningPlant, RemotePolicy, Timeouts};
use aegis_policies::{OnnxPolicy, OnnxRuntime};
use aegis_runtime::{
    Clock, CommandMailbox, CommandReader, Control, ControlThread, Health, InferenceWorker, Inferencer,
    LogReader, Pace, Ports, ProbedPolicy, RealTimeSettings, command_channel, log_channel, sightings, spawn,
};
use hdrhistogram::Histogram;

use super::last_error::{LastError, Reporting};
use super::plant_listener::{PlantListener, Standing};
use super::robot::Robot;
use super::run_summary::histogram;
use crate::exit::{Exit, Failure, OrExit, failure};

/// For both policies to have warmed up.
const WARM_UP: Duration = Duration::from_secs(60);
/// Between two looks at whether they have.
const READY_GLANCE: Duration = Duration::from_millis(5);
/// The sender looks so often whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// For an observation that is young enough to start on, once both policies have warmed up.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// Between two looks at whether the plant's clock is known.
const CLOCK_GLANCE: Duration = Duration::from_millis(5);

/// A running cell.
pub struct RobotSession {
    /// What is heard goes here.
    pub ears: Arc<PlantListener>,
    /// What people want.
    pub wishes: Arc<CommandMailbox>,
    /// What the control thread is doing.
    pub control: Arc<Control>,
    /// The control thread.
    pub thread: ControlThread,
    /// Both policies.
    pub thinkers: [InferenceWorker; 2],
    /// From an observation's arrival to the end of publishing a command that knew it, nanoseconds.
    pub published: Arc<Mutex<Histogram<u64>>>,
    /// Texts of the newest errors of the weak policy and of the strong one.
    pub errors: [LastError; 2],
    commands: Option<CommandReader>,
    clock: Clock,
    /// Nothing starts on an observation that is older.
    max_age: Duration,
    /// Set once somebody tells the run to end.
    told: Arc<AtomicBool>,
    /// Where commands are noted instead of sent, in a dry run.
    unsent: Option<Arc<Mutex<Unsent>>>,
}

/// The commands of a dry run, which were not sent.
#[derive(Clone, Debug, Default)]
pub struct Unsent {
    /// How many there were.
    pub commands: u64,
    /// Smallest and largest value of each channel.
    pub ranges: Vec<[f32; 2]>,
}

impl Unsent {
    fn take(&mut self, values: &[f32]) {
        self.commands += 1;
        self.ranges.resize(values.len(), [f32::INFINITY, f32::NEG_INFINITY]);
        for ([least, most], value) in self.ranges.iter_mut().zip(values) {
            (*least, *most) = (least.min(*value), most.max(*value));
        }
    }
}

impl RobotSession {
    /// Opens both policies and starts every thread but the sender's; also the reader of the record. A strong policy of
    /// another machine is found over `session`. Once `told`, nothing is waited for any more.
    pub fn open(
        robot: &Robot,
        runtime: &OnnxRuntime,
        session: &zenoh::Session,
        told: Arc<AtomicBool>,
    ) -> Result<(Self, LogReader), Failure> {
        let local = |card: &Path| {
            let (runtime, card) = (runtime.clone(), card.to_owned());
            move || Ok::<Box<dyn Policy>, SetupError>(Box::new(OnnxPolicy::open(&runtime, &card)?))
        };
        let file = &robot.file;
        let (weak, strong) = (local(&file.models.weak), local(&file.models.strong));
        let probe = robot.probe.clone();
        let errors: [LastError; 2] = Default::default();
        let [weak_error, strong_error] = errors.clone();
        let weak = move || {
            let watched = ProbedPolicy::new(weak()?, Some(probe));
            Ok::<_, SetupError>(Box::new(Reporting::new(watched, weak_error)) as Box<dyn Inferencer>)
        };
        let (session, plant, remote) = (session.clone(), file.plant.clone(), file.remote_strong);
        let model = robot.digests.get("strong").cloned().unwrap_or_default();
        let strong = move || {
            let policy: Box<dyn Policy> = match remote {
                Some(remote) => Box::new(RemotePolicy::find(&session, &plant, &model, remote.deadline())?),
                None => strong()?,
            };
            let watched = ProbedPolicy::new(policy, None);
            Ok::<_, SetupError>(Box::new(Reporting::new(watched, strong_error)) as Box<dyn Inferencer>)
        };
        let standing = robot.standing();
        let (cell, records) = Self::around(&robot.recipe, file.pace, file.real_time, standing, weak, strong)?;
        Ok((Self { errors, told, ..cell }, records))
    }

    /// The same with any two policies, which are made on their own threads.
    pub fn around(
        recipe: &ControllerConfig,
        pace: Pace,
        real_time: RealTimeSettings,
        standing: Standing,
        weak: impl FnOnce() -> Result<Box<dyn Inferencer>, SetupError> + Send + 'static,
        strong: impl FnOnce() -> Result<Box<dyn Inferencer>, SetupError> + Send + 'static,
    ) -> Result<(Self, LogReader), Failure> {
        let clock = Clock::start();
        let (health, wishes) = (Arc::new(Health::default()), Arc::new(CommandMailbox::default()));
        health.find(clock);
        let width = recipe.rest.len();
        let [weak_room, strong_room] = recipe.horizons.map(|horizon| horizon * width);
        let (weak_view, weak, weak_thinker) = spawn("weak policy", weak_room, weak).or_exit(Exit::Input)?;
        let (strong_view, strong, strong_thinker) =
            spawn("strong policy", strong_room, strong).or_exit(Exit::Input)?;
        let (sightings, sighted) = sightings(width);
        let (command_writer, command_reader) = command_channel(width);
        let (log, records) = log_channel();
        let ports = Ports {
            clock,
            weak,
            strong,
            sighted,
            health: Arc::clone(&health),
            wishes: Arc::clone(&wishes),
            commands: command_writer,
            log,
        };
        let controller = recipe.controller().or_exit(Exit::Input)?;
        let thread = ControlThread::start(controller, ports, recipe.settings.period(), pace, real_time);
        let thread = thread.or_exit(Exit::Failed)?;
        let views = [weak_view, strong_view];
        let ears = PlantListener::new(clock, health, Arc::clone(&wishes), sightings, views, standing);
        let cell = Self {
            ears: Arc::new(ears),
            wishes,
            control: thread.control(),
            thread,
            thinkers: [weak_thinker, strong_thinker],
            commands: Some(command_reader),
            published: Arc::new(Mutex::new(histogram()?)),
            errors: Default::default(),
            clock,
            max_age: recipe.settings.max_age(),
            told: Arc::default(),
            unsent: None,
        };
        Ok((cell, records))
    }

    /// Sends no command from here on, and notes what would have been sent where is returned.
    pub fn send_nothing(&mut self) -> Arc<Mutex<Unsent>> {
        Arc::clone(self.unsent.get_or_insert_default())
    }

    /// Claims a plant for `controller`, a name for people; what is heard of it comes here. Its episodes are numbered from
    /// `after` + 1 on.
    pub fn claim(
        &self,
        session: &zenoh::Session,
        plant: &str,
        controller: &str,
        after: u64,
    ) -> Result<FreeRunningPlant, Failure> {
        let ears = Arc::clone(&self.ears);
        let hear = move |heard| ears.hear(heard);
        let (clock, end) = (self.clock.began(), Arc::clone(&self.told));
        let claimant = Claimant { after, clock, end, ..Claimant::new(controller) };
        FreeRunningPlant::claim(session, plant, claimant, hear).or_exit(Exit::Failed)
    }

    /// Whether both policies' threads are there.
    pub fn thinks(&self) -> bool {
        self.thinkers.iter().all(InferenceWorker::is_alive)
    }

    /// The flag that is set once somebody tells the run to end.
    pub fn told(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.told)
    }

    /// Whether somebody has told the run to end.
    pub fn is_told_to_end(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Waits until the plant's clock is known: without it the age of what it shows is not, and nothing may start. Returns
    /// the least round trip; none where the run was told to end, or the plant was lost before.
    pub fn await_clock(&self, plant: &str) -> Result<Option<Duration>, Failure> {
        let (begin, patience) = (Instant::now(), Timeouts::default().claim);
        while self.ears.holds() && !self.is_told_to_end() {
            if let Some(round_trip) = self.ears.round_trip() {
                return Ok(Some(round_trip));
            }
            if begin.elapsed() > patience {
                let reason = format!(
                    "plant {plant}: Status: pulse_stamp_ns and pulse_received_ns: found no heartbeat of this controller in \
                     {} s; valid is the stamp of its newest, and when that came on the plant's clock: without them nobody \
                     knows how old an observation is, so nothing starts (docs/protocol.md)",
                    patience.as_secs()
                );
                return Err(failure(Exit::Failed, reason));
            }
            std::thread::sleep(CLOCK_GLANCE);
        }
        Ok(None)
    }

    /// Sends commands to a claim from here on.
    pub fn attach(&mut self, plant: &FreeRunningPlant) -> Result<Sending, Failure> {
        let claimed = plant.claimed();
        self.ears.claimed(claimed.instance, claimed.session);
        let sending = self.send_to(plant.sender().or_exit(Exit::Failed)?);
        sending.ok_or_else(|| failure(Exit::Failed, "no thread for commands"))
    }

    /// Resets the plant and waits until both policies have warmed up for the episode. Returns its number.
    pub fn reset(&self, plant: &mut FreeRunningPlant, start: Start) -> Result<u64, Failure> {
        let (episode, observation) = plant.reset(start).or_exit(Exit::Failed)?;
        self.ears.begin(episode, plant.stamp_ns(), observation);
        let begin = Instant::now();
        while !self.thinkers.iter().all(|thinker| thinker.is_ready(episode)) {
            if self.is_told_to_end() {
                return Err(failure(Exit::Failed, "told to end before both policies had warmed up"));
            }
            if begin.elapsed() > WARM_UP || !self.thinks() {
                return Err(failure(Exit::Failed, "a policy does not come to its first inference"));
            }
            std::thread::sleep(READY_GLANCE);
        }
        Ok(episode)
    }

    /// Waits for an observation that the plant takes from now on, and that is young enough to start on: while policies warm
    /// up, and while the answer to a reset is on its way, a robot may be moved by hand. Returns when it was taken, too.
    pub fn first_look(&self) -> Result<(Duration, Arc<Observation>), Failure> {
        let begin = self.clock.now();
        loop {
            let (newest, now) = (self.ears.newest(), self.clock.now());
            if let Some((taken, observation)) = &newest
                && *taken >= begin
                && now.saturating_sub(*taken) <= self.max_age
            {
                return Ok((*taken, Arc::clone(observation)));
            }
            if now.saturating_sub(begin) <= FIRST_LOOK && !self.is_told_to_end() {
                std::thread::sleep(READY_GLANCE);
                continue;
            }
            let most = self.max_age.as_secs_f64() * 1e3;
            let found = newest.map_or("none that a policy may read".into(), |(taken, _)| {
                format!(
                    "one {:.0} ms old by the plant's clock",
                    now.saturating_sub(taken).as_secs_f64() * 1e3
                )
            });
            let reason = format!(
                "control.max_age_ms = {most}: expected an observation taken after the reset and younger than that, within {} s; \
                 found {found}: where the plant stands is not known",
                FIRST_LOOK.as_secs()
            );
            return Err(failure(Exit::Failed, reason));
        }
    }

    /// Starts the thread that sends commands to a claim; the one before, if there was one, hands its reader over.
    fn send_to(&mut self, sender: CommandSender) -> Option<Sending> {
        let mut commands = self.commands.take()?;
        let (end, clock) = (Arc::new(AtomicBool::new(false)), self.clock);
        let (published, unsent) = (Arc::clone(&self.published), self.unsent.clone());
        let thread = std::thread::Builder::new().name("commands".into()).spawn({
            let end = Arc::clone(&end);
            move || {
                while !end.load(Ordering::Acquire) {
                    if let Some(command) = commands.next(POLL_INTERVAL) {
                        if let Some(unsent) = &unsent {
                            unsent.lock().unwrap_or_else(PoisonError::into_inner).take(&command.values);
                            continue;
                        }
                        // What cannot be sent is stale by the time that it could be; the plant stops without it.
                        let sent = sender.send(
                            command.episode,
                            command.sequence,
                            command.observation,
                            clock.now_ns(),
                            &command.values,
                        );
                        if matches!(sent, Ok(true)) && command.observation > 0 {
                            let since = clock.now().saturating_sub(command.observed).as_nanos();
                            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
                            published.saturating_record(u64::try_from(since).unwrap_or(u64::MAX).max(1));
                        }
                    }
                }
                commands
            }
        });
        thread.ok().map(|thread| Sending { end, thread })
    }

    /// Takes the commands back from a claim that is over.
    pub fn stop_sending(&mut self, sending: Sending) {
        sending.end.store(true, Ordering::Release);
        self.commands = sending.thread.join().ok();
    }
}

/// The thread that sends commands.
pub struct Sending {
    end: Arc<AtomicBool>,
    thread: JoinHandle<CommandReader>,
}
