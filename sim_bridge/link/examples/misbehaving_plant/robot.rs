//! The misbehaving plant as a state machine: messages, faults and time come in, messages and log lines go out. Pure.
//!
//! Without `--strict` the plant is as careless as many robots: it executes every action that carries its session, also
//! without an episode, of another episode, and out of order.

mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use aegis_link::wire::{Action, Claim, Message, Moved, Observed, Phase, Reset, Status};

use crate::arguments::Arguments;
use crate::body::{Body, Kind};
use crate::cameras::Cameras;
use crate::clock::Clock;
use crate::faults::{Command, Faults, HISTORY};
use crate::journal::{Line, What};
use crate::scene::Scene;

/// Silence of the controller after which the plant is free for another controller.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(5);
/// Number of tasks with `--libero-observation`, as in LIBERO-Spatial; without it the plant has one task.
const LIBERO_TASKS: u32 = 10;
/// How early a `glitch` stamps an observation, nanoseconds.
const GLITCH_NS: u64 = 1_000_000_000;

/// Plant state: claim, joints and faults.
#[derive(Debug)]
pub struct Robot {
    settings: Arguments,
    instance: u64,
    clock: Clock,
    body: Body,
    scene: Scene,
    faults: Faults,
    cameras: Cameras,
    claims: u64,
    held: Option<Held>,
    /// The newest action. A rate is executed in every period; a position is executed once, in the next period.
    command: Option<Received>,
    period: u64,
    /// Content of observations while they are frozen.
    kept: Option<Observed>,
    /// Encoded observations with their sequence numbers, oldest first.
    history: VecDeque<(u32, Vec<u8>)>,
    dropped: u64,
    refused: u64,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Held {
    claim: Claim,
    session: u64,
    seen: Duration,
    /// Stamp of the controller's newest heartbeat and the time of its receipt after the delay, nanoseconds; 0 before the
    /// first heartbeat.
    pulse_ns: [u64; 2],
    newest_episode: u64,
    newest_action: u32,
    /// Whether the plant has stopped by itself.
    stopped: bool,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    reset: Reset,
    started_ns: u64,
    sequence: u32,
    answer: Moved,
}

#[derive(Debug)]
struct Received {
    at: Duration,
    action: Action,
    executed: bool,
}

impl Robot {
    /// Creates a plant that no controller has claimed. `instance` must differ between any two processes.
    pub fn new(settings: Arguments, instance: u64) -> Self {
        let mut robot = Self {
            instance,
            clock: Clock::new(settings.clock_offset_ms),
            body: Body::new(settings.kind, settings.pose.clone()),
            scene: Scene { libero: settings.libero, cameras: settings.cameras, noise: settings.noise },
            settings,
            faults: Faults::default(),
            cameras: Cameras::default(),
            claims: 0,
            held: None,
            command: None,
            period: 0,
            kept: None,
            history: VecDeque::new(),
            dropped: 0,
            refused: 0,
            lines: Vec::new(),
        };
        let start = robot.line(Duration::ZERO, What::Start);
        robot.lines.push(start);
        robot
    }

    /// Handles a heartbeat of the controller.
    pub fn pulse(&mut self, bytes: &[u8], now: Duration) {
        let mut line = self.line(now, What::Message);
        match Message::decode(bytes) {
            Ok(message) => {
                line.take_message(&message);
                let session = self.held.as_ref().map(|held| held.session);
                let received_ns = self.clock.stamp_ns(now);
                match (&mut self.held, message) {
                    (Some(held), Message::Pulse(pulse)) if Some(pulse.session) == session => {
                        (held.seen, held.pulse_ns) = (now, [pulse.stamp_ns, received_ns]);
                    }
                    _ => line.event = Some("of nobody who holds the plant".into()),
                }
            }
            Err(error) => line.event = Some(error.to_string()),
        }
        self.dropped += u64::from(line.event.is_some());
        self.lines.push(line);
    }

    /// Handles an action. An accepted action is executed in the next control period.
    pub fn action(&mut self, bytes: &[u8], now: Duration) {
        let mut line = self.line(now, What::Message);
        match Message::decode(bytes) {
            Ok(message) => {
                line.take_message(&message);
                let taken = match message {
                    Message::Action(action) => self.take(action, now),
                    _ => Err("not executed: it is no action".into()),
                };
                line.event = taken.err();
            }
            Err(error) => line.event = Some(error.to_string()),
        }
        self.dropped += u64::from(line.event.is_some());
        line.phase = self.phase();
        self.lines.push(line);
    }

    /// Executes one control period; returns the observations to publish.
    pub fn tick(&mut self, now: Duration) -> Vec<Vec<u8>> {
        self.period += 1;
        let mut events = Vec::new();
        let timeout = self.settings.command_timeout;
        let late = |command: &Received| now.saturating_sub(command.at) > timeout;
        if let Some(held) = &mut self.held
            && self.command.as_ref().is_some_and(late)
        {
            held.stopped = true;
            self.command = None;
            events.push(format!("stopped by itself: no action for {} ms", timeout.as_millis()));
        }
        let executed = self.execute();
        let (published, messages) = self.observe(now, &mut events);
        let mut line = self.line(now, What::Period);
        if let Some(action) = &executed {
            line.take_action(action);
        }
        line.published = published;
        line.event = (!events.is_empty()).then(|| events.join("; "));
        self.lines.push(line);
        messages
    }

    /// Takes the pictures of a period while an episode runs; returns the encoded frames, each with the time until it is published.
    pub fn frames(&mut self, now: Duration) -> Vec<(Duration, Vec<u8>)> {
        let Some(held) = self.held.as_ref().filter(|_| self.settings.cameras) else { return Vec::new() };
        let Some(episode) = &held.episode else { return Vec::new() };
        self.cameras.frames(held.session, episode.reset.episode, self.clock.stamp_ns(now))
    }

    /// Begins or ends a fault; `text` is the command line as given, for the log.
    ///
    /// # Errors
    /// `Command::Old` asks for an observation older than any kept.
    pub fn fault(&mut self, command: &Command, text: &str, now: Duration) -> Result<(), String> {
        if let Command::Old(periods) = command
            && self.history.len() < *periods
        {
            return Err(format!("old: expected 1 to {} observations, found {periods}", self.history.len()));
        }
        self.faults.apply(command);
        match command {
            Command::Thaw => self.kept = None,
            Command::Backward => self.clock.set_back(),
            Command::Forward => self.clock.set_forward(),
            Command::Pose(pose) => self.body.place(pose),
            Command::Camera(index, fault) => self.cameras.set(*index, *fault),
            _ => {}
        }
        let mut line = self.line(now, What::Fault);
        line.event = Some(text.trim().to_owned());
        self.lines.push(line);
        Ok(())
    }

    /// Frees the plant from a controller that has been silent for too long.
    pub fn expire(&mut self, now: Duration) {
        let silent = |held: &mut Held| now.saturating_sub(held.seen) > CONTROLLER_TIMEOUT;
        if self.held.take_if(silent).is_some() {
            self.command = None;
            let line = self.line(now, What::Freed);
            self.lines.push(line);
        }
    }

    /// Returns the encoded heartbeat, or `None` while the plant is mute.
    pub fn status(&self, now: Duration) -> Option<Vec<u8>> {
        (!self.faults.mute).then(|| self.status_message(now).encode())
    }

    /// Takes the log lines since the last call.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// Stores an action for the next period, or returns why it is not executed.
    fn take(&mut self, action: Action, now: Duration) -> Result<(), String> {
        let width = self.settings.action_width();
        let timeout = self.settings.command_timeout;
        let held = self.held.as_mut().filter(|held| held.session == action.session);
        let held = held.ok_or("not executed: of another session")?;
        if self.faults.drops_commands {
            return Err("not executed: commands are dropped".into());
        }
        if action.action.len() != width || !action.action.iter().all(|value| value.is_finite()) {
            return Err(format!("cannot be executed: expected {width} finite values"));
        }
        if held.stopped && !self.settings.resumes {
            return Err("not executed: stopped by itself, until a reset".into());
        }
        if self.settings.strict {
            let on = held.episode.as_ref().map(|episode| episode.reset.episode);
            if on != Some(action.episode) {
                return Err("not executed: of another episode".into());
            }
            if action.sequence <= held.newest_action {
                return Err("not executed: not newer than the last".into());
            }
            if self.command.as_ref().is_some_and(|last| now.saturating_sub(last.at) > timeout) {
                held.stopped = true;
                self.command = None;
                return Err("not executed: after the command timeout".into());
            }
        }
        held.newest_action = held.newest_action.max(action.sequence);
        held.stopped = false;
        held.seen = now;
        self.command = Some(Received { at: now, action, executed: false });
        Ok(())
    }

    /// Moves the joints by the newest action; returns the executed action, or `None`.
    fn execute(&mut self) -> Option<Action> {
        let command = self.command.as_mut()?;
        if self.body.kind() == Kind::Position && command.executed {
            return None;
        }
        command.executed = true;
        self.body.execute(&command.action.action);
        Some(command.action.clone())
    }

    /// Makes this period's observation. Returns its sequence number where it is published, and all messages to publish.
    fn observe(&mut self, now: Duration, events: &mut Vec<String>) -> (Option<u32>, Vec<Vec<u8>>) {
        let on = self.held.as_mut().and_then(|held| Some((held.session, held.episode.as_mut()?)));
        let Some((session, episode)) = on else { return (None, Vec::new()) };
        episode.sequence += 1;
        let (sequence, started_ns) = (episode.sequence, episode.started_ns);
        let (number, task) = (episode.reset.episode, episode.reset.task);
        let mut stamp_ns = self.clock.stamp_ns(now);
        if std::mem::take(&mut self.faults.glitch) {
            stamp_ns = stamp_ns.saturating_sub(GLITCH_NS);
            events.push("stamped one second early".into());
        }
        let moved = Moved {
            session,
            episode: number,
            sequence,
            stamp_ns,
            success: false,
            observation: self.shown(stamp_ns, started_ns, task),
            schema: None,
            state: Vec::new(),
        };
        let newest = Message::from(moved).encode();
        self.remember(sequence, newest.clone());
        if self.faults.silent || self.faults.mute {
            return (None, Vec::new());
        }
        let mut messages = vec![newest];
        let repeated = self.faults.repeats.then_some(1);
        for periods in repeated.into_iter().chain(self.faults.old.take()) {
            let index = self.history.len().checked_sub(1 + periods);
            if let Some((sequence, bytes)) = index.and_then(|index| self.history.get(index)) {
                events.push(format!("published observation {sequence} again"));
                messages.push(bytes.clone());
            }
        }
        (Some(sequence), messages)
    }

    /// Returns the sensor readings with the content faults applied.
    fn shown(&mut self, stamp_ns: u64, started_ns: u64, task: u32) -> Observed {
        // The clock may have been set back since the reset.
        let since = i128::from(stamp_ns) - i128::from(started_ns);
        let plant_time = since as f64 / 1e9;
        let mut seen = self.scene.observe(self.body.joints(), self.period, task, plant_time);
        if self.faults.frozen {
            let kept = self.kept.get_or_insert_with(|| seen.clone());
            seen = Observed { plant_time, ..kept.clone() };
        }
        for (joint, value) in &self.faults.corrupt {
            if let Some(read) = seen.values.get_mut(*joint) {
                *read = *value;
            }
        }
        if self.faults.short {
            seen.values.pop();
        }
        seen
    }

    fn remember(&mut self, sequence: u32, bytes: Vec<u8>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((sequence, bytes));
    }

    fn tasks(&self) -> u32 {
        if self.settings.libero { LIBERO_TASKS } else { 1 }
    }

    fn phase(&self) -> Phase {
        match &self.held {
            None => Phase::Idle,
            Some(held) if held.stopped => Phase::Stopped,
            Some(held) if held.episode.is_none() => Phase::Held,
            Some(_) => Phase::Running,
        }
    }

    fn status_message(&self, now: Duration) -> Message {
        let held = self.held.as_ref();
        let episode = held.and_then(|held| held.episode.as_ref());
        let echoed = held.filter(|_| !self.settings.no_echo && !self.faults.no_echo);
        let [pulse_stamp_ns, pulse_received_ns] = echoed.map_or([0; 2], |held| held.pulse_ns);
        Status {
            instance: self.instance,
            session: held.map_or(0, |held| held.session),
            phase: self.phase(),
            episode: episode.map_or(0, |episode| episode.reset.episode),
            sequence: episode.map_or(0, |episode| episode.sequence),
            stamp_ns: self.clock.stamp_ns(now),
            dropped: self.dropped,
            refused: self.refused,
            pulse_stamp_ns,
            pulse_received_ns,
        }
        .into()
    }

    fn line(&self, now: Duration, what: What) -> Line {
        Line {
            t: self.clock.seconds(now),
            what,
            period: self.period,
            phase: self.phase(),
            executed: self.body.joints().to_vec(),
            command: None,
            session: None,
            episode: None,
            sequence: None,
            observation: None,
            published: None,
            message: None,
            event: None,
            jump: self.body.jump(),
        }
    }
}
