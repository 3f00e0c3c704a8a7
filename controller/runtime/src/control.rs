//! The control thread: reads every port once a period, lets the controller decide, hands command and record on.
//! It holds no decision of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use aegis_core::control::{Controller, Inputs, Mode, ObservationStamp, Output, TickRecord};

use crate::clock::Clock;
use crate::inference::PolicyClient;
use crate::log::LogWriter;
use crate::mailbox::CommandMailbox;
use crate::pace::{Pace, Schedule, wait};
use crate::plant::{Health, ObservationReceiver};
use crate::real_time::{RealTime, RealTimeSettings};

/// A command on its way to the plant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Episode.
    pub episode: u64,
    /// Counts the episode's commands from 1; 0 before the first.
    pub sequence: u32,
    /// Sequence number of the newest observation that was known.
    pub observation: u32,
    /// When it came, on the run's clock.
    pub observed: Duration,
    /// `[channels]`.
    pub values: Vec<f32>,
}

/// The control thread's side of the commands.
pub struct CommandWriter {
    newest: triple_buffer::Input<Command>,
    sender: Arc<std::sync::OnceLock<Thread>>,
}

/// The side of whoever sends them.
pub struct CommandReader {
    newest: triple_buffer::Output<Command>,
    sender: Arc<std::sync::OnceLock<Thread>>,
}

/// A buffer that holds the newest command of `width` values: one that nobody could send in time is never sent.
pub fn command_channel(width: usize) -> (CommandWriter, CommandReader) {
    // The buffer clones it, and a clone has room for what is there, not for what there was room for.
    let empty = Command { values: vec![0.0; width], ..Command::default() };
    let (input, output) = triple_buffer::triple_buffer(&empty);
    let sender = Arc::new(std::sync::OnceLock::new());
    (CommandWriter { newest: input, sender: Arc::clone(&sender) }, CommandReader { newest: output, sender })
}

impl CommandWriter {
    fn write(&mut self, episode: u64, sequence: u32, newest: Newest, values: &[f32]) {
        let command = self.newest.input_buffer_mut();
        (command.episode, command.sequence) = (episode, sequence);
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
    /// Waits for a command newer than the last, for at most `patience`. Call it from one thread.
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

/// By this part of a period may one begin early, at an observation's pace: so it catches up with a plant's clock after a delay,
/// and commands never follow each other much faster than the plant takes them.
const EARLY: u32 = 10;

/// Everything that the control thread reads and writes.
pub struct Ports {
    /// The run's clock.
    pub clock: Clock,
    /// The weak policy.
    pub weak: PolicyClient,
    /// The strong policy.
    pub strong: PolicyClient,
    /// Observations, without what only policies read.
    pub sighted: ObservationReceiver,
    /// The plant's health.
    pub health: Arc<Health>,
    /// What people want.
    pub wishes: Arc<CommandMailbox>,
    /// Where commands go.
    pub commands: CommandWriter,
    /// Where records go.
    pub log: LogWriter,
}

/// What others may see of the control thread while it runs.
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
    /// The mode after the last period.
    pub fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.mode.load(Ordering::Acquire)) % Mode::ALL.len()]
    }

    /// Whether commands had come to rest then.
    pub fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Acquire)
    }

    /// The episode that was begun last; 0 before the first. A mode that is read after it is at least as new.
    pub fn episode(&self) -> u64 {
        self.episode.load(Ordering::Acquire)
    }

    /// Starts that were taken and not obeyed.
    pub fn refused_starts(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Periods so far. What was wanted before one of them began is obeyed or refused at its end.
    pub fn periods(&self) -> u64 {
        self.periods.load(Ordering::Acquire)
    }
}

/// The running thread.
pub struct ControlThread {
    control: Arc<Control>,
    thread: Option<JoinHandle<Controller>>,
    /// What the system did not grant.
    pub real_time: RealTime,
}

impl ControlThread {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread.
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

    /// What others may see of it.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it and gives the controller back, for what it has counted. None where it panicked.
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
                schedule.restart(now);
                (now, Duration::ZERO, 0)
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

/// Waits for an observation newer than those `answered`, and for `earliest`; without one, until `latest`. A period that begins
/// without its observation has answered it: each stands for one command, however often it is said or how late it comes.
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

/// The newest observation that a command can know.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    episode: u64,
    sequence: u32,
    received: Duration,
}

/// A controller with its ports: what the control thread does once a period, without the waiting.
pub struct ControlLoop {
    controller: Controller,
    ports: Ports,
    episode: u64,
    commands: u32,
    /// Of this episode.
    newest: Newest,
    /// Of another, which may begin next; what is none of the next episode's is never named in a command.
    next: Newest,
    /// Where the plant stood at the last start, `[channels]`.
    pose: Vec<f32>,
    /// Starts that were taken and not obeyed.
    refused: u64,
}

impl ControlLoop {
    /// Nothing read yet.
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

    /// One control period that began at `now`, `late` after it was due and `skipped` periods after the last. Neither
    /// waits nor allocates.
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
            strong: ports.strong.hear(),
            wishes,
            pose: wishes.start.map(|_| Cow::Borrowed(&self.pose[..])),
            pose_taken,
            measured: ports.sighted.measured().map(Cow::Borrowed),
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
            // Every episode has an observation 0: the answer to its reset.
            let first = Newest { episode: self.episode, ..Newest::default() };
            self.newest = if self.next.episode == self.episode { self.next } else { first };
            self.next = Newest::default();
        }
        if output.send {
            self.commands = self.commands.saturating_add(1);
            ports.commands.write(self.episode, self.commands, self.newest, controller.command());
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
            ports.weak.ask(request);
        }
        if let Some(request) = strong {
            ports.strong.ask(request);
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
