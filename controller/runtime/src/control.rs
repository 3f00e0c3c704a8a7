//! Control thread: once per period, reads every port, lets the controller decide, and passes on the command and the record.
//! The thread makes no decision itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use aegis_core::Driver;
use aegis_core::control::{Controller, Inputs, Mode, ObservationStamp, Output, TickRecord};

use crate::cameras::CameraReceiver;
use crate::clock::Clock;
use crate::inference::PolicyClient;
use crate::log::LogWriter;
use crate::mailbox::CommandMailbox;
use crate::pace::{Pace, Schedule, wait};
use crate::plant::{Health, ObservationReceiver};
use crate::real_time::{RealTime, RealTimeSettings};
use crate::teleop::TeleopReceiver;

/// Command for the plant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Episode of the command.
    pub episode: u64,
    /// Number of the command within the episode, from 1; 0 before the first.
    pub sequence: u32,
    /// Sequence number of the newest observation that had arrived.
    pub observation: u32,
    /// Time of that observation's arrival, on the run's clock.
    pub observed: Duration,
    /// Beginning of the control period that the command is of, on the run's clock.
    pub made: Duration,
    /// Values of the command, `[channels]`.
    pub values: Vec<f32>,
}

impl Command {
    /// Returns whether the command may still be sent at `now`, on the run's clock: it is not older than `limit`. A process that was
    /// suspended between the computation of a command and its sending would else send it to a plant that may have been moved.
    pub fn is_current(&self, now: Duration, limit: Duration) -> bool {
        now.saturating_sub(self.made) <= limit
    }
}

/// Writing side of the command buffer, for the control thread.
pub struct CommandWriter {
    newest: triple_buffer::Input<Command>,
    sender: Arc<std::sync::OnceLock<Thread>>,
}

/// Reading side of the command buffer, for the thread that sends commands to the plant.
pub struct CommandReader {
    newest: triple_buffer::Output<Command>,
    sender: Arc<std::sync::OnceLock<Thread>>,
}

/// Returns both sides of a buffer for the newest command of `width` values. A command that was not read before the next
/// one is written is never sent.
pub fn command_channel(width: usize) -> (CommandWriter, CommandReader) {
    // The buffer clones this command. A cloned vector has capacity for its values only, so they have to be present.
    let empty = Command { values: vec![0.0; width], ..Command::default() };
    let (input, output) = triple_buffer::triple_buffer(&empty);
    let sender = Arc::new(std::sync::OnceLock::new());
    (CommandWriter { newest: input, sender: Arc::clone(&sender) }, CommandReader { newest: output, sender })
}

impl CommandWriter {
    fn write(&mut self, (episode, sequence): (u64, u32), made: Duration, newest: Newest, values: &[f32]) {
        let command = self.newest.input_buffer_mut();
        (command.episode, command.sequence, command.made) = (episode, sequence, made);
        (command.observation, command.observed) = (newest.sequence, newest.received);
        command.values.clear();
        command.values.extend_from_slice(values);
        self.newest.publish();
        if let Some(sender) = self.sender.get() {
            sender.unpark();
        }
    }
}

impl CommandReader {
    /// Returns the newest command if it is newer than the last one returned, waiting for at most `patience`. Call
    /// this from one thread only.
    pub fn next(&mut self, patience: Duration) -> Option<&Command> {
        self.sender.get_or_init(std::thread::current);
        if !self.newest.update() {
            std::thread::park_timeout(patience);
            if !self.newest.update() {
                return None;
            }
        }
        Some(self.newest.output_buffer())
    }
}

/// Divisor of the period: at [`Pace::Observation`] a period may begin earlier than due by the quotient. The controller
/// thus catches up with the plant's clock after a delay, and commands never follow each other much faster than the
/// plant takes them.
const EARLY: u32 = 10;

/// Ports of the control thread: everything that it reads and writes.
pub struct Ports {
    /// The run's clock.
    pub clock: Clock,
    /// Client of the weak policy.
    pub weak: PolicyClient,
    /// Client of the strong policy; `None` where the backup is a person.
    pub strong: Option<PolicyClient>,
    /// Observation stamps.
    pub sighted: ObservationReceiver,
    /// Events of the cameras.
    pub cameras: CameraReceiver,
    /// Commands of operators who drive by hand.
    pub teleop: TeleopReceiver,
    /// The plant's health.
    pub health: Arc<Health>,
    /// Operator commands.
    pub wishes: Arc<CommandMailbox>,
    /// Commands for the plant.
    pub commands: CommandWriter,
    /// Records of the control periods.
    pub log: LogWriter,
}

/// State of the control thread that other threads can read while it runs.
#[derive(Debug)]
pub struct Control {
    mode: AtomicU8,
    at_rest: AtomicBool,
    episode: AtomicU64,
    refused: AtomicU64,
    periods: AtomicU64,
    end: AtomicBool,
}

impl Control {
    /// Returns the mode after the last period.
    pub fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.mode.load(Ordering::Acquire)) % Mode::ALL.len()]
    }

    /// Returns whether commands were at rest after the last period.
    pub fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Acquire)
    }

    /// Returns the episode that was started last; 0 before the first. A mode that is read after the episode is at least
    /// as new as the episode.
    pub fn episode(&self) -> u64 {
        self.episode.load(Ordering::Acquire)
    }

    /// Returns the number of starts that were taken and refused.
    pub fn refused_starts(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Returns the number of finished periods. An operator command that was given before a period began is obeyed or
    /// refused by the end of that period.
    pub fn periods(&self) -> u64 {
        self.periods.load(Ordering::Acquire)
    }
}

/// Handle of the control thread, for its owner.
pub struct ControlThread {
    control: Arc<Control>,
    thread: Option<JoinHandle<Controller>>,
    /// Real-time requests that the system did not grant.
    pub real_time: RealTime,
}

impl ControlThread {
    /// Starts the control thread.
    ///
    /// # Errors
    /// The system cannot create the thread.
    pub fn start(
        controller: Controller,
        ports: Ports,
        period: Duration,
        pace: Pace,
        settings: RealTimeSettings,
    ) -> std::io::Result<Self> {
        let control = Arc::new(Control {
            mode: AtomicU8::new(0),
            at_rest: AtomicBool::new(true),
            episode: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            periods: AtomicU64::new(0),
            end: AtomicBool::new(false),
        });
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("control".into()).spawn({
            let control = Arc::clone(&control);
            move || {
                let _ = tell.send(RealTime::ask(&settings));
                let spin = Duration::from_micros(settings.spin_us);
                run(ControlLoop::new(controller, ports), period, pace, spin, &control)
            }
        })?;
        let real_time = told.recv().unwrap_or_default();
        Ok(Self { control, thread: Some(thread), real_time })
    }

    /// Returns the state that other threads can read.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Returns whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the thread and returns the controller, for its counters. Returns `None` if the thread panicked.
    pub fn end(mut self) -> Option<Controller> {
        self.control.end.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

fn run(
    mut served: ControlLoop,
    period: Duration,
    pace: Pace,
    spin: Duration,
    control: &Control,
) -> Controller {
    served.ports.sighted.wake.get_or_init(std::thread::current);
    let clock = served.ports.clock;
    let mut schedule = Schedule::new(period, clock.now() + period);
    let mut answered = 0;
    while !control.end.load(Ordering::Acquire) {
        let (now, late, skipped) = match pace {
            Pace::Clock => {
                wait(clock, schedule.next(), spin);
                let now = clock.now();
                let (late, skipped) = schedule.serve(now);
                (now, late, skipped)
            }
            Pace::Observation => {
                let due = schedule.next();
                await_observation(&served.ports, &mut answered, due - period / EARLY, due + period / 2);
                let now = clock.now();
                let skipped = schedule.restart(now);
                (now, Duration::ZERO, skipped)
            }
        };
        served.period(now, late, skipped);
        control.mode.store(served.controller.mode() as u8, Ordering::Release);
        control.at_rest.store(served.controller.is_at_rest(), Ordering::Release);
        control.refused.store(served.refused, Ordering::Release);
        control.episode.store(served.controller.episode(), Ordering::Release);
        control.periods.fetch_add(1, Ordering::AcqRel);
    }
    served.controller
}

/// Waits for an observation newer than number `answered`, and at least until `earliest`; without an observation, until
/// `latest`. A period that begins without its observation counts that observation as answered: each observation leads
/// to one command, however often or late it arrives.
fn await_observation(ports: &Ports, answered: &mut u64, earliest: Duration, latest: Duration) {
    loop {
        let (newest, now) = (ports.sighted.newest(), ports.clock.now());
        let is_new = newest > *answered;
        if is_new && now >= earliest {
            *answered = newest;
            return;
        }
        if now >= latest {
            *answered = newest + 1;
            return;
        }
        std::thread::park_timeout(if is_new { earliest } else { latest }.saturating_sub(now));
    }
}

/// Newest observation that a command can refer to.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    episode: u64,
    sequence: u32,
    received: Duration,
}

/// Control loop: a controller with its ports. Does the work of the control thread in one period, without the waiting.
pub struct ControlLoop {
    controller: Controller,
    ports: Ports,
    episode: u64,
    commands: u32,
    /// Newest observation of this episode.
    newest: Newest,
    /// Newest observation of another episode, which may start next. A command names it only once that episode has started.
    next: Newest,
    /// Pose of the plant at the last start, `[channels]`.
    pose: Vec<f32>,
    /// Number of starts that were taken and refused.
    refused: u64,
}

impl ControlLoop {
    /// Returns a control loop that has read nothing yet.
    pub fn new(controller: Controller, ports: Ports) -> Self {
        let pose = controller.command().to_vec();
        Self {
            controller,
            ports,
            episode: 0,
            commands: 0,
            newest: Newest::default(),
            next: Newest::default(),
            pose,
            refused: 0,
        }
    }

    /// Runs one control period that began at `now`, `late` after it was due, with `skipped` periods missed since the
    /// last one. Neither waits nor allocates.
    pub fn period(&mut self, now: Duration, late: Duration, skipped: u32) {
        let Self { controller, ports, .. } = self;
        let (wishes, pose_taken) = ports.wishes.take(&mut self.pose);
        let observation = ports.sighted.take();
        let inputs = Inputs {
            now,
            skipped,
            observation,
            plant: ports.health.read(),
            weak: ports.weak.hear(),
            strong: ports.strong.as_mut().and_then(PolicyClient::hear),
            wishes,
            pose: wishes.start.map(|_| Cow::Borrowed(&self.pose[..])),
            pose_taken,
            measured: ports.sighted.measured().map(Cow::Borrowed),
            cameras: ports.cameras.take(),
            teleop: ports.teleop.take(),
        };
        if let Some(ObservationStamp { episode, sequence, received, fault: None, .. }) = inputs.observation {
            let known = if episode == self.episode { &mut self.newest } else { &mut self.next };
            if (episode, sequence) > (known.episode, known.sequence) {
                *known = Newest { episode, sequence, received };
            }
        }
        let output: Output = controller.tick(&inputs);
        self.refused += u64::from(wishes.start.is_some_and(|episode| episode != controller.episode()));
        if controller.episode() != self.episode {
            (self.episode, self.commands) = (controller.episode(), 0);
            // Every episode has an observation 0: the plant's reply to the reset.
            let first = Newest { episode: self.episode, ..Newest::default() };
            self.newest = if self.next.episode == self.episode { self.next } else { first };
            self.next = Newest::default();
        }
        if output.send {
            self.commands = self.commands.saturating_add(1);
            let number = (self.episode, self.commands);
            ports.commands.write(number, now, self.newest, controller.command());
        }
        let (weak, strong) = (output.ask_weak, output.ask_strong);
        let took = ports.clock.now().saturating_sub(now);
        ports.log.push(&TickRecord {
            inputs,
            output,
            command: Cow::Borrowed(controller.command()),
            late_ns: nanoseconds(late),
            took_ns: nanoseconds(took),
        });
        if let Some(request) = weak {
            ports.weak.ask(request, controller.executing(Driver::Weak));
        }
        if let (Some(request), Some(policy)) = (strong, &ports.strong) {
            policy.ask(request, controller.executing(Driver::Strong));
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
