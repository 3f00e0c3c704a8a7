//! Model of a plant with its two connections. The plant executes each command on arrival, as carelessly as robots do:
//! every command that names the plant's claim, of any episode or none. Its log holds the executed commands.

use std::time::Duration;

use aegis_core::control::ChannelKind;

use super::draw::{Delay, Draw, Faults, PERIOD, Setting};
use super::judge::{Executed, Place};

/// Time without commands after which the plant stops by itself.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// Amplitude of the sensor noise.
const NOISE: f64 = 1e-6;
/// Implausibly large reading of a joint.
const HUGE: f64 = 1e30;

/// Connection with a delay: messages arrive in order, except for late ones.
pub struct Line<T> {
    delay: Delay,
    last: Duration,
    waiting: Vec<(Duration, T)>,
}

impl<T> Line<T> {
    pub fn new(delay: Delay) -> Self {
        Self { delay, last: Duration::ZERO, waiting: Vec::new() }
    }

    /// Sends a message that overtakes no other.
    pub fn push(&mut self, draw: &mut Draw, at: Duration, item: T) {
        let takes = self.delay.always + draw.whole(0..=self.delay.jitter);
        self.last = self.last.max(at + PERIOD * takes);
        self.waiting.push((self.last, item));
    }

    /// Sends a message that messages of the next periods may overtake.
    pub fn push_late(&mut self, draw: &mut Draw, at: Duration, item: T) {
        let takes = self.delay.always + self.delay.jitter + draw.whole(1..=3);
        self.waiting.push((at + PERIOD * takes, item));
    }

    /// Returns the messages that have arrived by `now`.
    pub fn take(&mut self, now: Duration) -> Vec<T> {
        self.waiting.sort_by_key(|(due, _)| *due);
        let arrived = self.waiting.iter().take_while(|(due, _)| *due <= now).count();
        self.waiting.drain(..arrived).map(|(_, item)| item).collect()
    }
}

/// Message to the plant.
#[derive(Clone, Debug)]
pub enum ToPlant {
    Claim,
    Reset { claim: u64, episode: u64 },
    Command(Command),
}

/// Command under way, with the data that the judge needs.
#[derive(Clone, Debug)]
pub struct Command {
    pub claim: u64,
    pub episode: u64,
    pub values: Vec<f32>,
    pub place: Place,
    /// Index of the control period in which the command was decided.
    pub made: usize,
    /// Time at which the plant took the newest observation that was known then.
    pub known: Option<Duration>,
}

/// Message from the plant.
#[derive(Clone, Debug)]
pub enum ToController {
    Claimed { instance: u64, claim: u64 },
    Begun(Sight),
    Moved(Sight),
    Status { instance: u64, claim: u64, episode: u64, stopped: bool },
}

/// Observation.
#[derive(Clone, Debug)]
pub struct Sight {
    pub claim: u64,
    pub episode: u64,
    pub sequence: u32,
    /// Time at which the plant took the observation.
    pub taken: Duration,
    /// Plant time, seconds since the reset.
    pub time: f64,
    pub joints: Vec<f64>,
    pub success: bool,
}

/// Command in the log, and its execution by the plant.
pub struct Entry {
    pub command: Command,
    pub executed: Executed,
}

struct Episode {
    number: u64,
    sequence: u32,
    began: Duration,
}

struct Received {
    at: Duration,
    command: Command,
    is_new: bool,
}

/// Model of a plant.
pub struct Plant {
    kind: ChannelKind,
    resumes: bool,
    rest: Vec<f64>,
    joints: Vec<f64>,
    instance: u64,
    claims: u64,
    claim: Option<u64>,
    episode: Option<Episode>,
    command: Option<Received>,
    stopped: bool,
    /// Content of observations while they are frozen.
    kept: Option<Vec<f64>>,
    readings: u32,
    /// Every executed command, once.
    pub log: Vec<Entry>,
}

impl Plant {
    /// Returns a plant at rest.
    pub fn new(setting: &Setting) -> Self {
        let rest = setting.recipe.rest.iter().take(setting.joints);
        let rest: Vec<f64> = rest.map(|value| f64::from(*value)).collect();
        Self {
            kind: setting.kind,
            resumes: setting.resumes,
            joints: rest.clone(),
            rest,
            instance: 1,
            claims: 0,
            claim: None,
            episode: None,
            command: None,
            stopped: false,
            kept: None,
            readings: 0,
            log: Vec::new(),
        }
    }

    /// Stops by itself.
    pub fn stop(&mut self) {
        (self.stopped, self.command) = (true, None);
    }

    /// Replaces the plant by another, unclaimed one with another pose, mostly near rest.
    pub fn lose(&mut self, draw: &mut Draw) {
        self.instance += 1;
        (self.claim, self.episode, self.command, self.stopped) = (None, None, None, false);
        let reach = if draw.chance(0.1) { 2.0 } else { 0.4 };
        self.joints = self.rest.iter().map(|rest| rest + draw.real(-reach, reach)).collect();
    }

    /// Takes a message; returns the reply to a claim or a reset.
    pub fn hear(&mut self, message: ToPlant, now: Duration, faults: &Faults) -> Option<ToController> {
        match message {
            ToPlant::Claim => {
                if self.claim.is_none() {
                    self.claims += 1;
                    (self.claim, self.command) = (Some(self.claims), None);
                }
                Some(ToController::Claimed { instance: self.instance, claim: self.claim.unwrap_or(0) })
            }
            ToPlant::Reset { claim, episode } => {
                if self.claim != Some(claim) {
                    return None;
                }
                (self.command, self.stopped) = (None, false);
                self.episode = Some(Episode { number: episode, sequence: 0, began: now });
                // With frozen sensors at a start, an arm would start from a wrong pose, and no check could detect that.
                let truly = Faults { frozen: 0, ..faults.clone() };
                self.sight(now, &truly).map(ToController::Begun)
            }
            ToPlant::Command(command) => {
                if self.claim == Some(command.claim) && (self.resumes || !self.stopped) {
                    self.stopped = false;
                    self.command = Some(Received { at: now, command, is_new: true });
                }
                None
            }
        }
    }

    /// Executes one control period; returns the observation after it.
    pub fn tick(&mut self, now: Duration, faults: &Faults) -> Option<Sight> {
        if self.command.as_ref().is_some_and(|command| now.saturating_sub(command.at) > COMMAND_TIMEOUT) {
            self.stop();
        }
        self.execute();
        self.episode.as_mut()?.sequence += 1;
        self.sight(now, faults)
    }

    /// Returns the heartbeat.
    pub fn status(&self) -> ToController {
        let episode = self.episode.as_ref().map_or(0, |episode| episode.number);
        let (instance, claim, stopped) = (self.instance, self.claim.unwrap_or(0), self.stopped);
        ToController::Status { instance, claim, episode, stopped }
    }

    /// Executes the current command: a position once, a rate in every period.
    fn execute(&mut self) {
        let is_rate = self.kind == ChannelKind::Rate;
        let Some(Received { command, is_new, .. }) = &mut self.command else { return };
        if !is_rate && !*is_new {
            return;
        }
        let before = self.joints.clone();
        for (joint, value) in self.joints.iter_mut().zip(&command.values) {
            *joint = f64::from(*value) + if is_rate { *joint } else { 0.0 };
        }
        if std::mem::take(is_new) {
            let executed = Executed {
                place: command.place,
                claim: command.claim,
                episode: command.episode,
                reset: self.episode.as_ref().map_or(0, |episode| episode.number),
                values: command.values.clone(),
                before,
                after: self.joints.clone(),
            };
            self.log.push(Entry { command: command.clone(), executed });
        }
    }

    fn sight(&mut self, now: Duration, faults: &Faults) -> Option<Sight> {
        self.readings = self.readings.wrapping_add(1);
        let (claim, episode) = (self.claim?, self.episode.as_ref()?);
        let noise = |index: u32| {
            let count = f64::from(self.readings) * 8.0 + f64::from(index);
            ((count * 0.618_033_988_749_895).fract() * 2.0 - 1.0) * NOISE
        };
        let read = (0..).zip(&self.joints).map(|(index, joint)| joint + noise(index));
        let mut joints: Vec<f64> = read.collect();
        if faults.frozen > 0 {
            joints = self.kept.get_or_insert(joints).clone();
        } else {
            self.kept = None;
        }
        if faults.nan > 0 {
            joints[0] = f64::NAN;
        }
        if let Some(last) = joints.last_mut().filter(|_| faults.huge > 0) {
            *last = HUGE;
        }
        let early = if faults.backward > 0 { 1.0 } else { 0.0 };
        Some(Sight {
            claim: claim + u64::from(faults.claimed > 0),
            episode: episode.number.saturating_sub(u64::from(faults.foreign > 0)),
            sequence: episode.sequence,
            taken: now,
            time: now.saturating_sub(episode.began).as_secs_f64() - early,
            joints,
            success: faults.success,
        })
    }
}
