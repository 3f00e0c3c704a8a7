//! Threads of a run and their shared state: both policies, the control thread, and the sender of commands. What the plant
//! sends reaches them through `plant_listener.rs`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aegis_core::control::{CameraSettings, ControllerConfig};
use aegis_core::{Driver, Observation, Policy, PolicyError, Schema, Start};
use aegis_link::policy::Place;
use aegis_link::{Claimant, CommandSender, FreeRunningPlant, RemotePolicy, Timeouts};
use aegis_policies::OnnxRuntime;
use aegis_runtime::{
    Clock, CommandMailbox, CommandReader, Control, ControlThread, Health, InferenceWorker, Inferencer,
    LogReader, Pace, Ports, ProbedPolicy, RealTimeSettings, TeleopSender, camera_ring, command_channel,
    log_channel, sightings, spawn, teleop_ring,
};
use hdrhistogram::Histogram;

use crate::cameras::unannounced;
use crate::last_error::LastError;
use crate::observed_policy::ObservedPolicy;
use crate::picture_recorder::{self, PictureSender};
use crate::plant_listener::{PlantListener, Standing, View};
use crate::rerun_stream::RerunStream;
use crate::robot::Robot;
use crate::run_summary::histogram;
use crate::served_policy::{SetupError, open_policy};
use crate::teleop_inbox::TeleopInbox;
use crate::worker::Worker;
use aegis_failure::{Exit, Failure, OrExit, failure};
use tracing::info;

/// Longest wait for both policies to warm up.
const WARM_UP: Duration = Duration::from_secs(60);
/// Interval at which the policies' warm-up, and the first observation, are polled.
const POLL_READY: Duration = Duration::from_millis(5);
/// Interval at which the sender checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait, once both policies have warmed up, for an observation that is young enough to start on.
const FIRST_OBSERVATION: Duration = Duration::from_secs(3);
/// Longest wait for a first frame of each camera after a reset; a simulator loads its scene into OpenGL meanwhile.
const FIRST_FRAMES: Duration = Duration::from_secs(30);
/// Part of that wait after which it is told.
const TELL_OF_FRAMES: Duration = Duration::from_secs(2);
/// Interval at which the estimate of the plant's clock is polled.
const POLL_CLOCK: Duration = Duration::from_millis(5);

/// Opens a policy on the policy's thread.
pub type OpenInferencer = Box<dyn FnOnce() -> Result<Box<dyn Inferencer>, SetupError> + Send>;

/// A running robot session: every thread of a run, and what they share.
pub struct RobotSession {
    /// Receiver of the plant's messages and of operator commands.
    pub listener: Arc<PlantListener>,
    /// Mailbox of operator commands, which the control thread reads.
    pub wishes: Arc<CommandMailbox>,
    /// State of the control thread.
    pub control: Arc<Control>,
    /// The control thread.
    pub thread: ControlThread,
    /// Threads of the weak policy and of the strong policy, if there is one.
    pub inference_workers: Vec<InferenceWorker>,
    /// Thread that decodes camera frames; `None` where no policy reads pictures.
    _frames: Option<Worker>,
    /// Way of the frames that policies read to the thread that saves them.
    pictures: PictureSender,
    /// Cameras whose pictures the policies read.
    cameras: Vec<CameraSettings>,
    /// Times from an observation's arrival to the end of publishing a command that was decided with it, nanoseconds.
    pub published: Arc<Mutex<Histogram<u64>>>,
    /// Texts of the newest error of the weak policy and of the strong policy.
    pub errors: [LastError; 2],
    commands: Option<CommandReader>,
    /// Way of operators' commands to the control thread, until someone takes it.
    teleop: Option<TeleopSender>,
    clock: Clock,
    /// Largest age of an observation on which an episode may start.
    max_age: Duration,
    /// Age beyond which a command is not sent: within it, a pause of this process is no suspension.
    plant_timeout: Duration,
    /// Set once the run is asked to end, by a signal or by a key of the view.
    told: Arc<AtomicBool>,
    /// Where a dry run records its commands instead of sending them; `None` where commands are sent.
    unsent: Option<Arc<Mutex<Unsent>>>,
    /// What the plant announced at the first reset.
    announced: Arc<OnceLock<Arc<Schema>>>,
}

/// Commands that a dry run did not send.
#[derive(Clone, Debug, Default)]
pub struct Unsent {
    /// Number of commands.
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
    /// Opens both policies and starts every thread except the sender of commands. Also returns the reader of the record. A
    /// strong policy on another machine is reached over `session`. Once `told` is set, no wait continues.
    pub fn open(
        robot: &Robot,
        runtime: &OnnxRuntime,
        session: &zenoh::Session,
        told: Arc<AtomicBool>,
    ) -> Result<(Self, LogReader), Failure> {
        let local = |card: &Path| {
            let (runtime, card) = (runtime.clone(), card.to_owned());
            move || open_policy(&runtime, &card)
        };
        let file = &robot.file;
        let (weak, strong) = (local(&file.models.weak), file.models.strong.card().map(|card| local(card)));
        let (probe, tapped) = (robot.probe.clone(), robot.tapped());
        let errors: [LastError; 2] = Default::default();
        let [weak_error, strong_error] = errors.clone();
        let pictures = PictureSender::default();
        let [weak_pictures, strong_pictures] = [pictures.clone(), pictures.clone()];
        let weak: OpenInferencer = Box::new(move || {
            let watched = ProbedPolicy::new(tapped(weak()?), Some(probe));
            Ok(observed(watched, Driver::Weak, weak_error, weak_pictures))
        });
        let (session, plant, remote) = (session.clone(), file.plant.clone(), file.remote_strong);
        let model = robot.digests.get("strong").cloned().unwrap_or_default();
        let strong = strong.map(|strong| -> OpenInferencer {
            Box::new(move || {
                let policy: Box<dyn Policy> = match remote {
                    Some(remote) => {
                        let place = (&*plant, Place::Strong);
                        Box::new(RemotePolicy::find(&session, place, Some(&model), remote.deadline())?)
                    }
                    None => strong()?,
                };
                let watched = ProbedPolicy::new(policy, None);
                Ok(observed(watched, Driver::Strong, strong_error, strong_pictures))
            })
        });
        let standing = robot.standing();
        let (robot_session, records) = Self::around(
            &robot.recipe,
            file.pace,
            file.real_time,
            (standing, robot.reads_pictures()),
            weak,
            strong,
        )?;
        Ok((Self { errors, told, pictures, ..robot_session }, records))
    }

    /// Makes a session around any weak policy and any strong one, which is missing where the backup is a person. `weak` and `strong`
    /// are called on the threads of their policies; `reads_pictures` tells of each whether it reads observations with camera frames.
    pub fn around(
        recipe: &ControllerConfig,
        pace: Pace,
        real_time: RealTimeSettings,
        (standing, reads_pictures): (Standing, [bool; 2]),
        weak: OpenInferencer,
        strong: Option<OpenInferencer>,
    ) -> Result<(Self, LogReader), Failure> {
        let clock = Clock::start();
        let (health, wishes) = (Arc::new(Health::default()), Arc::new(CommandMailbox::default()));
        health.find(clock);
        let width = recipe.rest.len();
        let [weak_capacity, strong_capacity] = recipe.horizons.map(|horizon| horizon * width);
        let (weak_view, weak, weak_worker) =
            spawn("weak policy", weak_capacity, weak).or_exit(Exit::Input)?;
        let strong = strong.map(|open| spawn("strong policy", strong_capacity, open)).transpose();
        let (mut inference_workers, mut views) = (vec![weak_worker], Vec::new());
        let [weak_pictures, strong_pictures] = reads_pictures;
        views.push(View { writer: weak_view, reads_pictures: weak_pictures });
        let strong = strong.or_exit(Exit::Input)?.map(|(writer, client, worker)| {
            inference_workers.push(worker);
            views.push(View { writer, reads_pictures: strong_pictures });
            client
        });
        let (sightings, sighted) = sightings(width);
        let (camera_sender, camera_receiver) = camera_ring();
        let (teleop_sender, teleop_receiver) = teleop_ring();
        let (command_writer, command_reader) = command_channel(width);
        let (log, records) = log_channel();
        let ports = Ports {
            clock,
            weak,
            strong,
            sighted,
            cameras: camera_receiver,
            teleop: teleop_receiver,
            health: Arc::clone(&health),
            wishes: Arc::clone(&wishes),
            commands: command_writer,
            log,
        };
        let controller = recipe.controller().or_exit(Exit::Input)?;
        let thread = ControlThread::start(controller, ports, recipe.settings.period(), pace, real_time);
        let thread = thread.or_exit(Exit::Failed)?;
        let cameras = recipe.settings.cameras.clone();
        let from_cameras = (cameras.clone(), camera_sender);
        let listener = Arc::new(PlantListener::new(
            clock,
            health,
            Arc::clone(&wishes),
            sightings,
            from_cameras,
            views,
            standing,
        ));
        let decoding = Arc::clone(&listener);
        let decode = move |end: &AtomicBool| {
            while !end.load(Ordering::Acquire) {
                decoding.take_frame(POLL_INTERVAL);
            }
        };
        let frames = (!cameras.is_empty()).then(|| Worker::start("frames", decode)).transpose();
        let frames = frames.or_exit(Exit::Failed)?;
        let robot_session = Self {
            listener,
            wishes,
            control: thread.control(),
            thread,
            inference_workers,
            _frames: frames,
            pictures: PictureSender::default(),
            cameras,
            commands: Some(command_reader),
            teleop: Some(teleop_sender),
            published: Arc::new(Mutex::new(histogram()?)),
            errors: Default::default(),
            clock,
            max_age: recipe.settings.max_age(),
            plant_timeout: recipe.settings.plant_timeout(),
            told: Arc::default(),
            unsent: None,
            announced: Arc::default(),
        };
        Ok((robot_session, records))
    }

    /// Returns the receiver of operators' commands of so many `channels`; `None` after the first call.
    pub(crate) fn teleop_inbox(&mut self, channels: usize) -> Option<TeleopInbox> {
        let sender = self.teleop.take()?;
        Some(TeleopInbox::new(Arc::clone(&self.listener), self.clock, channels, sender))
    }

    /// Returns what the plant announces, once it has been reset for the first time.
    pub(crate) fn announced(&self) -> Arc<OnceLock<Arc<Schema>>> {
        Arc::clone(&self.announced)
    }

    /// Withholds every command from here on, for a dry run. Returns where the withheld commands are recorded.
    pub fn send_nothing(&mut self) -> Arc<Mutex<Unsent>> {
        Arc::clone(self.unsent.get_or_insert_default())
    }

    /// Starts to save the pictures that the policies read in a run's `folder`, and to show them in `stream`. Returns `None` where no
    /// policy reads pictures.
    pub(crate) fn save_pictures(
        &self,
        folder: &Path,
        stream: Option<Arc<RerunStream>>,
    ) -> Result<Option<Worker>, Failure> {
        let start = || picture_recorder::start(folder, &self.pictures, self.clock, stream);
        (!self.cameras.is_empty()).then(start).transpose()
    }

    /// Claims a plant for `controller`, a name that is shown to people. The plant's messages go to this session's listener.
    /// Episodes of the claim are numbered from `after` + 1 on.
    pub fn claim(
        &self,
        session: &zenoh::Session,
        plant: &str,
        controller: &str,
        after: u64,
    ) -> Result<FreeRunningPlant, Failure> {
        let listener = Arc::clone(&self.listener);
        let hear = move |heard| listener.hear(heard);
        let (clock, end) = (self.clock.began(), Arc::clone(&self.told));
        let pictures = !self.cameras.is_empty() || self.listener.saves_observations();
        let claimant = Claimant { after, clock, end, pictures, ..Claimant::new(controller) };
        FreeRunningPlant::claim(session, plant, claimant, hear).or_exit(Exit::Failed)
    }

    /// Returns whether the threads of both policies are alive.
    pub fn thinks(&self) -> bool {
        self.inference_workers.iter().all(InferenceWorker::is_alive)
    }

    /// Returns the flag that is set once the run is asked to end.
    pub fn told(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.told)
    }

    /// Returns whether the run has been asked to end.
    pub fn is_told_to_end(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Waits until the plant's clock is known; without it the age of an observation is unknown, and no episode may start.
    /// Returns the smallest recent round trip; `None` where the run was asked to end, or the plant was lost, before the
    /// clock was known.
    ///
    /// # Errors
    /// A plant that does not echo this controller's heartbeats in time.
    pub fn await_clock(&self, plant: &str) -> Result<Option<Duration>, Failure> {
        let (begin, patience) = (Instant::now(), Timeouts::default().claim);
        while self.listener.holds() && !self.is_told_to_end() {
            if let Some(round_trip) = self.listener.round_trip() {
                return Ok(Some(round_trip));
            }
            if begin.elapsed() > patience {
                let reason = format!(
                    "plant {plant}: Status: pulse_stamp_ns and pulse_received_ns: found no heartbeat of this controller in \
                     {} s; valid is the stamp of its newest, and when that came on the plant's clock: without them nobody \
                     knows how old an observation is, so nothing starts (docs/reference/protocol.md)",
                    patience.as_secs()
                );
                return Err(failure(Exit::Failed, reason));
            }
            std::thread::sleep(POLL_CLOCK);
        }
        Ok(None)
    }

    /// Starts to send commands to a claimed plant.
    pub fn attach(&mut self, plant: &FreeRunningPlant) -> Result<Sending, Failure> {
        let claimed = plant.claimed();
        self.listener.claimed(claimed.instance, claimed.session);
        let sending = self.send_to(plant.sender().or_exit(Exit::Failed)?);
        sending.ok_or_else(|| failure(Exit::Failed, "no thread for commands"))
    }

    /// Resets the plant and waits until both policies have warmed up for the new episode. Returns the episode's number.
    ///
    /// # Errors
    /// A reset that fails, a plant that announces something else than in the first episode, a policy that does not warm up within a minute, or a run that was asked to end meanwhile.
    pub fn reset(&self, plant: &mut FreeRunningPlant, start: Start) -> Result<u64, Failure> {
        let (episode, observation) = plant.reset(start).or_exit(Exit::Failed)?;
        let announced = self.announced.get_or_init(|| Arc::clone(&observation.schema));
        if let Some(conflict) = announced.conflict(&observation.schema) {
            let what = "the plant announces something else than in the first episode";
            return Err(failure(Exit::Failed, format!("{what}: {conflict}")));
        }
        if let Some((camera, offered)) = unannounced(&self.cameras, &observation.schema) {
            let offered = if offered.is_empty() { "none".into() } else { offered.join(", ") };
            let reason = format!(
                "control.cameras: found {camera:?}; the plant announces {offered}: valid is one of these names, here and in the \
                 model's card, or serve the plant with that camera (`aegis sim serve` needs --pictures)"
            );
            return Err(failure(Exit::Input, reason));
        }
        self.listener.begin(episode, plant.stamp_ns(), observation);
        let (begin, mut is_said) = (Instant::now(), false);
        while !self.inference_workers.iter().all(|thinker| thinker.is_ready(episode)) {
            if self.is_told_to_end() {
                return Err(failure(Exit::Failed, "told to end before both policies had warmed up"));
            }
            // Without an observation no policy warms up. The plant may send a valid one yet, but not for long.
            if let Some(refusal) = self.listener.refusal()
                && self.listener.newest().is_none()
                && begin.elapsed() > FIRST_OBSERVATION
            {
                let reason = format!(
                    "no observation that a policy may read came within {} s of the reset: {refusal}",
                    FIRST_OBSERVATION.as_secs()
                );
                return Err(failure(Exit::Failed, reason));
            }
            if begin.elapsed() > TELL_OF_FRAMES
                && let Some(missing) = self.listener.missing_frames()
            {
                let wait = FIRST_FRAMES.as_secs();
                if begin.elapsed() > FIRST_FRAMES {
                    let reason = format!(
                        "expected a frame of each camera that a policy may read within {wait} s of the reset: {missing}; the \
                         output of the plant's server may say why it sends none"
                    );
                    return Err(failure(Exit::Failed, reason));
                }
                if !std::mem::replace(&mut is_said, true) {
                    info!("waiting for frames, up to {wait} s after the reset: {missing}");
                }
            }
            if begin.elapsed() > WARM_UP || !self.thinks() {
                return Err(failure(Exit::Failed, "a policy does not come to its first inference"));
            }
            std::thread::sleep(POLL_READY);
        }
        Ok(episode)
    }

    /// Waits for an observation that the plant takes after this call and that is young enough to start on: a person may
    /// move the robot by hand while the policies warm up, and while the answer to a reset is on its way. Also returns when
    /// the observation was taken, on the run's clock.
    ///
    /// # Errors
    /// No such observation in time, or a run that was asked to end meanwhile.
    pub fn first_observation(&self) -> Result<(Duration, Arc<Observation>), Failure> {
        let begin = self.clock.now();
        loop {
            let (newest, now) = (self.listener.newest(), self.clock.now());
            if let Some((taken, observation)) = &newest
                && *taken >= begin
                && now.saturating_sub(*taken) <= self.max_age
            {
                return Ok((*taken, Arc::clone(observation)));
            }
            if now.saturating_sub(begin) <= FIRST_OBSERVATION && !self.is_told_to_end() {
                std::thread::sleep(POLL_READY);
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
                FIRST_OBSERVATION.as_secs()
            );
            return Err(failure(Exit::Failed, reason));
        }
    }

    /// Starts the thread that sends commands to a claimed plant. Returns `None` where an earlier sender has not been
    /// stopped with [`stop_sending`](Self::stop_sending), or where the thread cannot be started.
    fn send_to(&mut self, sender: CommandSender) -> Option<Sending> {
        let mut commands = self.commands.take()?;
        let (end, clock, limit) = (Arc::new(AtomicBool::new(false)), self.clock, self.plant_timeout);
        let (published, unsent) = (Arc::clone(&self.published), self.unsent.clone());
        let thread = std::thread::Builder::new().name("commands".into()).spawn({
            let end = Arc::clone(&end);
            move || {
                while !end.load(Ordering::Acquire) {
                    let next = commands.next(POLL_INTERVAL);
                    if let Some(command) = next.filter(|command| command.is_current(clock.now(), limit)) {
                        if let Some(unsent) = &unsent {
                            unsent.lock().unwrap_or_else(PoisonError::into_inner).take(&command.values);
                            continue;
                        }
                        // A command that cannot be sent is not sent later: it would be stale by then, and the plant stops
                        // without it.
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

    /// Ends the thread that sends commands to a claim, and keeps its reader for the next claim.
    pub fn stop_sending(&mut self, sending: Sending) {
        sending.end.store(true, Ordering::Release);
        self.commands = sending.thread.join().ok();
    }
}

/// Returns a policy of which each error's text is stored in `error`, and the frames of each inference go to `pictures`.
fn observed(
    inferencer: ProbedPolicy,
    policy: Driver,
    error: LastError,
    pictures: PictureSender,
) -> Box<dyn Inferencer> {
    let observer = move |observation: &Observation, result: &Result<(), PolicyError>| {
        pictures.send(policy, observation);
        if let Err(reason) = result {
            error.put(reason);
        }
    };
    Box::new(ObservedPolicy::new(inferencer, observer))
}

/// Handle of the thread that sends commands.
pub struct Sending {
    end: Arc<AtomicBool>,
    thread: JoinHandle<CommandReader>,
}
