//! Judge: checks the commands that a plant executed against the rules for moving a robot. Pure: takes a run's decisions
//! and a plant's log, and returns violations. The tests of the whole system, between processes, use the same rules.
//!
//! Commands are numbered in the order of decision. Where some commands were never executed, the limits are applied to
//! the others as follows: for values f at the numbers t, `k! · f[t₀ … tₖ]`, a divided difference, is a weighted mean of
//! the k-th differences of all commands from t₀ to tₖ, executed or not. It is therefore within the limit that holds for
//! each of these differences.
#![allow(dead_code, clippy::expect_used)] // Each test program uses a part of it.

use std::time::Duration;

use aegis_core::control::{Channel, ChannelKind, ControlSettings, Inputs, Mode, Output};

/// Tolerance of a distance for sensor noise and rounding, in the joint's unit.
const NOISE: f64 = 1e-5;
/// Tolerance of the first command of a new claim against the plant's pose, for sensor noise, in the joint's unit.
const STANDS: f64 = 1e-4;
/// Rounding of braking, as a share of the smaller of acceleration and jerk: a smaller remaining velocity is rounded to
/// rest. A difference may contain it twice.
const SPECK: f64 = 2e-3;
/// Number of 32-bit rounding errors in a third difference.
const ROUNDINGS: f64 = 8.0;
/// Number of commands from which velocity, acceleration and jerk are computed.
const POINTS: usize = 4;

/// Rule that a command can violate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A value is not finite or beyond its channel's bounds.
    Bounds,
    /// A command is executed before one that was decided earlier, or twice.
    Order,
    /// A command belongs to an earlier episode than the plant's, or the plant has no episode.
    Episode,
    /// The first command to a plant does not start at the plant's pose.
    Start,
    /// A joint moves further than the velocity limit allows for the number of commands.
    Jump,
    /// The velocity of the commands exceeds its limit.
    Velocity,
    /// The acceleration of the commands exceeds its limit.
    Acceleration,
    /// The jerk of the commands exceeds its limit.
    Jerk,
    /// A command is not at rest where it has to be.
    Rest,
    /// A command answers an observation that is too old.
    Age,
}

/// Violation of a rule, with a description.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub rule: Rule,
    pub text: String,
}

/// Place of a command among all commands that the controller decided to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the command within the run, from 1.
    pub number: u64,
    /// Index of the stand from which the command continues.
    pub stand: usize,
    /// Mode in which the command was decided.
    pub mode: Mode,
    /// Number of consecutive commands, this one included, that come to rest or stay there; 0 where a policy drives.
    pub resting: u64,
}

/// Stand: values at which commands stand still before they continue, at an episode's start or from an emergency stop on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stand {
    /// Number of the last command before the stand.
    pub number: u64,
    /// Whether an episode starts here.
    pub starts: bool,
    /// Values of the command, `[channels]`.
    pub values: Vec<f32>,
}

/// Numbers the commands of a run, one control period after another.
#[derive(Clone, Debug)]
pub struct Ledger {
    channels: Vec<Channel>,
    /// Every stand so far.
    pub stands: Vec<Stand>,
    last: Vec<f32>,
    episode: u64,
    mode: Mode,
    number: u64,
    resting: u64,
}

impl Ledger {
    /// Returns the ledger of a new controller at `rest`.
    pub fn new(channels: &[Channel], rest: &[f32]) -> Self {
        let stands = vec![Stand { number: 0, starts: true, values: rest.to_vec() }];
        let (channels, last) = (channels.to_vec(), rest.to_vec());
        Self { channels, stands, last, episode: 0, mode: Mode::Idle, number: 0, resting: 0 }
    }

    /// Takes a period: the inputs, the output, and the controller's episode and command after it. Returns the command's
    /// place, or `None` where no command is to be sent.
    pub fn take(
        &mut self,
        inputs: &Inputs<'_>,
        output: &Output,
        episode: u64,
        command: &[f32],
    ) -> Option<Place> {
        let starts = episode != self.episode;
        let freezes = output.mode == Mode::EStop && self.mode != Mode::EStop;
        if starts || freezes {
            let pose = inputs.pose.as_deref().filter(|_| starts);
            let stand_of = |(index, (channel, last)): (usize, (&Channel, &f32))| match channel.kind {
                ChannelKind::Position => pose.and_then(|pose| pose.get(index).copied()).unwrap_or(*last),
                ChannelKind::Rate => 0.0,
                ChannelKind::Discrete => *last,
            };
            let values = self.channels.iter().zip(&self.last).enumerate().map(stand_of).collect();
            self.stands.push(Stand { number: self.number, starts, values });
            self.resting = 0;
        }
        (self.episode, self.mode) = (episode, output.mode);
        self.last = command.to_vec();
        if !output.send {
            return None;
        }
        self.number += 1;
        self.resting = if output.mode.drives() { 0 } else { self.resting + 1 };
        let (number, stand, resting) = (self.number, self.stands.len() - 1, self.resting);
        Some(Place { number, stand, mode: output.mode, resting })
    }
}

/// Executed command, with the plant's period that executed it first.
#[derive(Clone, Debug)]
pub struct Executed {
    pub place: Place,
    /// Claim under which the plant executed the command.
    pub claim: u64,
    /// The command's episode.
    pub episode: u64,
    /// Episode for which the plant was last reset in this claim; 0 for none.
    pub reset: u64,
    /// Values of the command, `[channels]`.
    pub values: Vec<f32>,
    /// Positions of the joints before and after that period: the first channels, in order.
    pub before: Vec<f64>,
    pub after: Vec<f64>,
}

/// Returns the largest age of the newest known observation when a policy's command is decided: `max_age`, plus the
/// periods without a young observation before the period that stops.
pub fn oldest_known(settings: &ControlSettings) -> Duration {
    settings.max_age() + settings.period() * settings.stale_steps.saturating_sub(1)
}

/// Returns the largest age of a chunk's observation when the last action of the chunk is decided: `max_age` when the
/// policy is asked, plus the periods that the reply may take, one more, and one for each earlier action.
pub fn oldest_read(settings: &ControlSettings, horizon: usize) -> Duration {
    let last = u32::try_from(horizon.saturating_sub(1)).unwrap_or(u32::MAX);
    settings.max_age() + settings.period() * (last + settings.longest_answer_steps() + 1)
}

/// Returns the largest number of periods for which a reply is waited for while no policy drives: the weak policy's
/// deadlines, before each of which observations may be missing for a while, and twice the longest wait for the strong
/// policy, once in the weak policy's place and once after a fire.
pub fn longest_wait(settings: &ControlSettings) -> u32 {
    let weak = settings.weak_misses * (settings.lead_steps + settings.stale_steps);
    weak + 2 * settings.strong_patience_steps + 2
}

/// Judges the commands that a plant executed, in order, by every rule except the age of observations.
pub fn judge(settings: &ControlSettings, stands: &[Stand], executed: &[Executed]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, channel) in settings.channels.iter().enumerate() {
        let mut track = Track { index, channel, stands, last: None, points: Vec::new(), found: &mut found };
        executed.iter().for_each(|one| track.take(one));
    }
    let early = executed.iter().filter(|one| one.reset == 0 || one.episode < one.reset);
    found.extend(early.map(|one| Violation {
        rule: Rule::Episode,
        text: format!("command {} of episode {} in episode {}", one.place.number, one.episode, one.reset),
    }));
    found
}

/// Commands of one channel.
struct Track<'a> {
    index: usize,
    channel: &'a Channel,
    stands: &'a [Stand],
    last: Option<&'a Executed>,
    /// Numbers and values of the newest commands that continue from one stand.
    points: Vec<(f64, f64)>,
    found: &'a mut Vec<Violation>,
}

impl<'a> Track<'a> {
    fn take(&mut self, one: &'a Executed) {
        let (channel, value) = (self.channel, one.values[self.index]);
        if !channel.admits(value) {
            self.violate(one, Rule::Bounds, format!("{value}"));
        }
        if channel.kind != ChannelKind::Discrete {
            if self.last.is_some_and(|last| last.place.number >= one.place.number) {
                self.violate(one, Rule::Order, "after a later one".into());
                self.points.clear();
            } else {
                self.judge_way(one);
                self.judge_limits(one);
            }
        }
        self.judge_rest(one);
        self.last = Some(one);
    }

    fn violate(&mut self, one: &Executed, rule: Rule, text: String) {
        let Place { number, mode, .. } = one.place;
        let (index, episode) = (self.index, one.episode);
        let text = format!("channel {index}, command {number} of episode {episode}, {mode:?}: {text}");
        self.found.push(Violation { rule, text });
    }

    /// Judges the distance that the joint actually moved.
    fn judge_way(&mut self, one: &Executed) {
        let (index, stands) = (self.index, self.stands);
        let (before, after) = (one.before[index], one.after[index]);
        let start = stands[..=one.place.stand].iter().rev().find(|stand| stand.starts);
        let start = start.expect("the first stand is a start");
        let goes_on = self.last.filter(|last| last.claim == one.claim);
        let mut passed = 1_u64;
        if self.channel.kind == ChannelKind::Position {
            passed = one.place.number - goes_on.map_or(start.number, |last| last.place.number);
            let from = f64::from(start.values[index]);
            if goes_on.is_none() && (from - before).abs() > STANDS {
                self.violate(one, Rule::Start, format!("from {from}, where the plant stands at {before}"));
            }
        }
        let way = (after - before).abs();
        if way > self.channel.velocity * passed as f64 + NOISE {
            self.violate(one, Rule::Jump, format!("{way} in {passed} commands"));
        }
    }

    /// Judges velocity, acceleration and jerk of the commands.
    fn judge_limits(&mut self, one: &Executed) {
        let (channel, stands) = (self.channel, self.stands);
        let is_rate = channel.kind == ChannelKind::Rate;
        let stand = &stands[one.place.stand];
        if self.points.is_empty() || self.last.is_none_or(|last| last.place.stand != one.place.stand) {
            let stood = if is_rate { 0.0 } else { f64::from(stand.values[self.index]) };
            let begin = stand.number as f64;
            self.points = [2.0, 1.0, 0.0].map(|before| (begin - before, stood)).to_vec();
        }
        self.points.push((one.place.number as f64, f64::from(one.values[self.index])));
        let surplus = self.points.len().saturating_sub(POINTS);
        self.points.drain(..surplus);
        let largest = self.points.iter().fold(1.0_f64, |largest, (_, value)| largest.max(value.abs()));
        let slack =
            ROUNDINGS * largest * f64::from(f32::EPSILON) + SPECK * channel.jerk.min(channel.acceleration);
        let limits = [
            (Rule::Velocity, channel.velocity),
            (Rule::Acceleration, channel.acceleration),
            (Rule::Jerk, channel.jerk),
        ];
        for (order, (rule, limit)) in limits.into_iter().enumerate() {
            // The command of a rate is its velocity; for a position the velocity is the first difference.
            let values = order + if is_rate { 1 } else { 2 };
            let size = difference(&self.points[self.points.len() - values..]).abs();
            if size > limit + slack {
                self.violate(one, rule, format!("{size} beyond {limit}"));
            }
        }
    }

    /// Judges rest: an emergency stop is at rest in its first period, and every other stop after the longest stop.
    fn judge_rest(&mut self, one: &Executed) {
        let (place, value) = (one.place, one.values[self.index]);
        if place.mode == Mode::EStop {
            let stood = self.stands[place.stand].values[self.index];
            if value != stood {
                self.violate(one, Rule::Rest, format!("{value}, and it stopped at {stood}"));
            }
        }
        let long = longest_stop(self.channel);
        let is_long = |place: Place| place.resting > long;
        // Both commands belong to the same rest: only commands that come to rest lie between them.
        let since = |last: &&Executed| {
            is_long(last.place)
                && last.place.stand == place.stand
                && place.number.checked_sub(last.place.number)
                    == place.resting.checked_sub(last.place.resting)
        };
        let rest = match self.channel.kind {
            ChannelKind::Rate => Some(0.0),
            ChannelKind::Position | ChannelKind::Discrete => {
                self.last.filter(since).map(|last| last.values[self.index])
            }
        };
        if is_long(place) && rest.is_some_and(|rest| rest != value) {
            self.violate(one, Rule::Rest, format!("{value} after {} commands to rest", place.resting));
        }
    }
}

/// Returns `k!` times the divided difference of k + 1 points.
fn difference(points: &[(f64, f64)]) -> f64 {
    let mut column: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    for order in 1..points.len() {
        for index in 0..points.len() - order {
            let span = points[index + order].0 - points[index].0;
            column[index] = (column[index + 1] - column[index]) * order as f64 / span;
        }
    }
    column[0]
}

/// Returns the number of commands after which a channel is at rest from any state: the jerk reverses the acceleration,
/// the acceleration ends the velocity, and the jerk ends the acceleration.
fn longest_stop(channel: &Channel) -> u64 {
    let Channel { kind, velocity, acceleration, jerk, .. } = channel;
    if *kind == ChannelKind::Discrete {
        return 0;
    }
    let commands = (velocity / acceleration).ceil() + 3.0 * (acceleration / jerk).ceil();
    (commands as u64).saturating_add(4)
}
