//! The threads of a run and what they share: two policies, the control thread, and the sender of its commands.
//! What is heard of the plant is put where each of them reads it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aegis_core::control::{Content, Intake, Recipe, Refusal, Seen};
use aegis_core::{Observation, Policy, Start};
use aegis_experiments::runner::SetupError;
use aegis_link::wire::{Moved, Phase, Status, Wish};
use aegis_link::{CommandSender, FreePlant, Heard, Patience, RemotePolicy};
use aegis_policies::{OnnxPolicy, OnnxRuntime};
use aegis_runtime::{
    Clock, CommandReader, Control, ControlThread, Health, LogReader, Mind, Pace, Ports, RealTimeSettings,
    Sightings, Snapshot, Thinker, View, Watched, WishBox, command_channel, log_channel, sightings, spawn,
};
use hdrhistogram::Histogram;

use super::last_error::{LastError, Reporting};
use super::looks::Looker;
use super::robot::Robot;
use super::taken::histogram;
use crate::exit::{Exit, Failure, OrExit, failure};

/// For both policies to have warmed up.
const WARM_UP: Duration = Duration::from_secs(60);
/// Between two looks at whether they have.
const READY_GLANCE: Duration = Duration::from_millis(5);
/// The sender looks so often whether it should end.
const GLANCE: Duration = Duration::from_millis(50);

/// What the hearing threads share.
pub struct Ears {
    clock: Clock,
    health: Arc<Health>,
    wishes: Arc<WishBox>,
    /// Process and claim that the control thread's plant has.
    instance: AtomicU64,
    session: AtomicU64,
    episode: AtomicU64,
    /// Somebody wants a reset while the plant is lost: first it has to be claimed.
    reset: AtomicBool,
    /// An operator has said that the next episode may begin.
    start: AtomicBool,
    /// Messages that were none.
    malformed: AtomicU64,
    views: Mutex<Shown>,
    looker: Mutex<Option<Looker>>,
}

struct Shown {
    intake: Intake,
    /// The observation before was refused for its content: people have been told.
    is_refusing: bool,
    sightings: Sightings,
    views: [View; 2],
}

/// A running cell.
pub struct Cell {
    /// What is heard goes here.
    pub ears: Arc<Ears>,
    /// What people want.
    pub wishes: Arc<WishBox>,
    /// What the control thread is doing.
    pub control: Arc<Control>,
    /// The control thread.
    pub thread: ControlThread,
    /// Both policies.
    pub thinkers: [Thinker; 2],
    /// From an observation's arrival to the end of publishing a command that knew it, nanoseconds.
    pub published: Arc<Mutex<Histogram<u64>>>,
    /// Texts of the newest errors of the weak policy and of the strong one.
    pub errors: [LastError; 2],
    commands: Option<CommandReader>,
    clock: Clock,
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

impl Cell {
    /// Opens both policies and starts every thread but the sender's; also the reader of the record. A strong policy of
    /// another machine is found over `session`.
    pub fn open(
        robot: &Robot,
        runtime: &OnnxRuntime,
        session: &zenoh::Session,
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
            let watched = Watched::new(weak()?, Some(probe));
            Ok::<_, SetupError>(Box::new(Reporting::new(watched, weak_error)) as Box<dyn Mind>)
        };
        let (session, plant, remote) = (session.clone(), file.plant.clone(), file.remote_strong);
        let model = robot.digests.get("strong").cloned().unwrap_or_default();
        let strong = move || {
            let policy: Box<dyn Policy> = match remote {
                Some(remote) => Box::new(RemotePolicy::find(&session, &plant, &model, remote.deadline())?),
                None => strong()?,
            };
            let watched = Watched::new(policy, None);
            Ok::<_, SetupError>(Box::new(Reporting::new(watched, strong_error)) as Box<dyn Mind>)
        };
        let (cell, records) = Self::around(&robot.recipe, file.pace, file.real_time, weak, strong)?;
        Ok((Self { errors, ..cell }, records))
    }

    /// The same with any two policies, which are made on their own threads.
    pub fn around(
        recipe: &Recipe,
        pace: Pace,
        real_time: RealTimeSettings,
        weak: impl FnOnce() -> Result<Box<dyn Mind>, SetupError> + Send + 'static,
        strong: impl FnOnce() -> Result<Box<dyn Mind>, SetupError> + Send + 'static,
    ) -> Result<(Self, LogReader), Failure> {
        let clock = Clock::start();
        let (health, wishes) = (Arc::new(Health::default()), Arc::new(WishBox::default()));
        health.find(clock);
        let width = recipe.rest.len();
        let [weak_room, strong_room] = recipe.horizons.map(|horizon| horizon * width);
        let (weak_view, weak, weak_thinker) = spawn("weak policy", weak_room, weak).or_exit(Exit::Input)?;
        let (strong_view, strong, strong_thinker) =
            spawn("strong policy", strong_room, strong).or_exit(Exit::Input)?;
        let (sightings, sighted) = sightings();
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
        let ears = Ears {
            clock,
            health,
            wishes: Arc::clone(&wishes),
            instance: AtomicU64::new(0),
            session: AtomicU64::new(0),
            episode: AtomicU64::new(0),
            reset: AtomicBool::new(false),
            start: AtomicBool::new(false),
            malformed: AtomicU64::new(0),
            views: Mutex::new(Shown {
                intake: Intake::default(),
                is_refusing: false,
                sightings,
                views: [weak_view, strong_view],
            }),
            looker: Mutex::new(None),
        };
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
    ) -> Result<FreePlant, Failure> {
        let ears = Arc::clone(&self.ears);
        let hear = move |heard| ears.hear(heard);
        FreePlant::claim(session, plant, controller, after, Patience::default(), hear).or_exit(Exit::Failed)
    }

    /// Sends commands to a claim from here on.
    pub fn attach(&mut self, plant: &FreePlant) -> Result<Sending, Failure> {
        let claimed = plant.claimed();
        self.ears.claimed(claimed.instance, claimed.session);
        let sending = self.send_to(plant.sender().or_exit(Exit::Failed)?);
        sending.ok_or_else(|| failure(Exit::Failed, "no thread for commands"))
    }

    /// Resets the plant and waits until both policies have warmed up for the episode. Returns its number and first
    /// observation.
    pub fn reset(&self, plant: &mut FreePlant, start: Start) -> Result<(u64, Observation), Failure> {
        let (episode, observation) = plant.reset(start).or_exit(Exit::Failed)?;
        self.ears.begin(episode, observation.clone());
        let begin = Instant::now();
        while !self.thinkers.iter().all(|thinker| thinker.is_ready(episode)) {
            if begin.elapsed() > WARM_UP || !self.thinkers.iter().all(Thinker::is_alive) {
                return Err(failure(Exit::Failed, "a policy does not come to its first inference"));
            }
            std::thread::sleep(READY_GLANCE);
        }
        Ok((episode, observation))
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
                    if let Some(command) = commands.next(GLANCE) {
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

impl Ears {
    /// Takes what is heard; called on threads that must not wait long.
    pub fn hear(&self, heard: Heard) {
        match heard {
            Heard::Moved(moved) => self.moved(*moved),
            Heard::Status(status) => self.status(&status),
            Heard::Operate(operate) => self.obey(operate.wish),
            Heard::Malformed(_) => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Passes on what somebody wants.
    pub fn obey(&self, wish: Wish) {
        match wish {
            Wish::EStop => self.wishes.e_stop(),
            Wish::Stop => self.wishes.stop(),
            Wish::Reset if self.holds() => self.wishes.reset(),
            Wish::Reset => self.reset.store(true, Ordering::Release),
            Wish::Start => self.start.store(true, Ordering::Release),
        }
    }

    /// Whether the plant that was claimed last is still this run's.
    pub fn holds(&self) -> bool {
        !self.health.is_lost()
    }

    /// Whether somebody has wanted a reset since a plant was lost; asked once.
    pub fn takes_reset(&self) -> bool {
        self.reset.swap(false, Ordering::AcqRel)
    }

    /// Whether an operator has said since the last call that the next episode may begin.
    pub fn takes_start(&self) -> bool {
        self.start.swap(false, Ordering::AcqRel)
    }

    /// What is seen goes to pictures too from here on.
    pub fn look(&self, looker: Looker) {
        *self.looker.lock().unwrap_or_else(PoisonError::into_inner) = Some(looker);
    }

    /// Messages that were none.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// A plant has been claimed.
    pub fn claimed(&self, instance: u64, session: u64) {
        self.instance.store(instance, Ordering::Release);
        self.session.store(session, Ordering::Release);
        self.health.find(self.clock);
    }

    /// An episode begins with this observation.
    pub fn begin(&self, episode: u64, observation: Observation) {
        self.episode.store(episode, Ordering::Release);
        self.views.lock().unwrap_or_else(PoisonError::into_inner).intake.begin(episode);
        self.show(episode, 0, false, observation);
    }

    fn status(&self, status: &Status) {
        let known = (self.instance.load(Ordering::Acquire), self.session.load(Ordering::Acquire));
        if known.0 == 0 {
            return; // Nothing has been claimed yet: no plant is this run's to lose.
        }
        if status.instance != known.0 {
            return self.health.lose();
        }
        // Held by nobody, or by somebody else: this claim has run out.
        if status.session != known.1 {
            return self.health.lose();
        }
        let ours = status.episode == self.episode.load(Ordering::Acquire);
        self.health.beat(self.clock, ours && status.phase == Phase::Stopped);
    }

    fn moved(&self, moved: Moved) {
        if moved.session == self.session.load(Ordering::Acquire) {
            let (episode, sequence, success) = (moved.episode, moved.sequence, moved.success);
            if let Some(looker) = &mut *self.looker.lock().unwrap_or_else(PoisonError::into_inner) {
                looker.take(self.clock.now(), &moved);
            }
            self.show(episode, sequence, success, moved.observation.at(sequence));
        }
    }

    fn show(&self, episode: u64, sequence: u32, success: bool, observation: Observation) {
        let received = self.clock.now();
        let content = content(&observation);
        let mut shown = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = shown.intake.take(episode, sequence, observation.plant_time, content);
        let mut fault = None;
        match taken {
            Ok(()) => {
                let observation = Arc::new(observation);
                for view in &mut shown.views {
                    view.show(Snapshot {
                        episode,
                        sequence,
                        observation: Arc::clone(&observation),
                        received,
                    });
                }
                shown.is_refusing = false;
            }
            // Told by their numbers, which the control thread counts.
            Err(Refusal::Foreign | Refusal::NotNewer) => {}
            Err(Refusal::Content(found, feature)) => {
                fault = Some(found);
                if !std::mem::replace(&mut shown.is_refusing, true) {
                    tracing::warn!("observation {sequence} is refused: {feature}: {found:?}");
                }
            }
        }
        let pictures = content.digest;
        shown.sightings.push(Seen { episode, sequence, arrived: 1, received, pictures, success, fault });
    }
}

/// Everything that a policy can read of an observation, by feature.
fn content(observation: &Observation) -> Content {
    let Observation { proprioception, objects, .. } = observation;
    let pose = |pose: &aegis_core::Pose| {
        let ([x, y, z], [w, i, j, k]) = (pose.position, pose.orientation);
        [x, y, z, w, i, j, k]
    };
    let end_effector = pose(&proprioception.end_effector);
    let objects: Vec<f64> = objects.iter().flat_map(|object| pose(&object.pose)).collect();
    Content::of([
        ("joint_positions", &proprioception.joint_positions[..]),
        ("end_effector", &end_effector),
        ("gripper", &proprioception.gripper),
        ("objects", &objects),
    ])
}
