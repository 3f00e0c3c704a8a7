//! Commands that stay continuous: follows a policy within velocity and acceleration, and comes to rest within jerk.
//! Everything starts from the last command sent, never from a measured state.

use serde::{Deserialize, Serialize};

/// What a channel of the action means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A velocity, or a displacement per control period as OSC_POSE takes it: rest is zero.
    Rate,
    /// A position: rest is staying.
    Position,
    /// One of few states, as a gripper's: rest is the last one, and nothing is limited.
    Discrete,
}

/// One channel of the action and what bounds it, in the action's own units per control period.
///
/// Velocity, acceleration and jerk are the command's first, second and third difference for a position; for a rate the
/// command is the velocity itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What it means.
    pub kind: ChannelKind,
    /// Smallest command.
    pub low: f64,
    /// Largest command.
    pub high: f64,
    /// Largest velocity.
    #[serde(default = "infinite")]
    pub velocity: f64,
    /// Largest change of the velocity in one period.
    #[serde(default = "infinite")]
    pub acceleration: f64,
    /// Largest change of the acceleration in one period, on the way to rest.
    #[serde(default = "infinite")]
    pub jerk: f64,
}

fn infinite() -> f64 {
    f64::INFINITY
}

impl Channel {
    /// Whether a command lies within the channel's bounds. NaN does not.
    pub fn admits(&self, command: f32) -> bool {
        (self.low..=self.high).contains(&f64::from(command))
    }
}

/// A channel's last commands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    command: f64,
    velocity: f64,
    acceleration: f64,
}

/// The commands of all channels, one period after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    channels: Vec<Channel>,
    states: Vec<State>,
    command: Vec<f32>,
    /// Whether commands still differ from what the policy asked for since it took over.
    catching_up: bool,
}

impl Motion {
    /// At rest at `rest`, `[channels]`.
    pub fn new(channels: Vec<Channel>, rest: &[f32]) -> Self {
        let state = |command: &f32| State { command: f64::from(*command), velocity: 0.0, acceleration: 0.0 };
        Self {
            states: rest.iter().map(state).collect(),
            command: rest.to_vec(),
            channels,
            catching_up: false,
        }
    }

    /// The channels.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The last command, `[channels]`.
    pub fn command(&self) -> &[f32] {
        &self.command
    }

    /// Another driver begins: its commands are limited until they are reached.
    pub fn hand_over(&mut self) {
        self.catching_up = true;
    }

    /// One period towards a policy's `target`, `[channels]`, finite and within bounds. Returns a bit for each channel
    /// whose command was limited.
    pub fn follow(&mut self, target: &[f32]) -> u64 {
        let mut limited = 0;
        for (index, target) in target.iter().enumerate() {
            let wanted = f64::from(*target);
            let (channel, state) = (&self.channels[index], self.states[index]);
            let next = if self.catching_up { state.towards(channel, wanted) } else { wanted };
            let sent = self.send(index, next);
            limited |= u64::from(sent != *target) << index;
        }
        self.catching_up = limited != 0;
        limited
    }

    /// One period on the way to rest.
    pub fn brake(&mut self) {
        self.catching_up = true;
        for index in 0..self.channels.len() {
            let next = self.states[index].braking(&self.channels[index]);
            self.send(index, next);
        }
    }

    /// At rest at once, limits or not.
    pub fn freeze(&mut self) {
        self.catching_up = true;
        for index in 0..self.channels.len() {
            let next = match self.channels[index].kind {
                ChannelKind::Rate => 0.0,
                ChannelKind::Position | ChannelKind::Discrete => self.states[index].command,
            };
            self.send(index, next);
            self.states[index].acceleration = 0.0;
        }
    }

    /// Whether another period of braking would change nothing.
    pub fn is_at_rest(&self) -> bool {
        let moving = |(channel, state): (&Channel, &State)| {
            channel.kind != ChannelKind::Discrete && (state.velocity != 0.0 || state.acceleration != 0.0)
        };
        !self.channels.iter().zip(&self.states).any(moving)
    }

    fn send(&mut self, index: usize, next: f64) -> f32 {
        let (channel, state) = (&self.channels[index], &mut self.states[index]);
        let sent = next.clamp(channel.low, channel.high) as f32;
        let command = f64::from(sent);
        let velocity = match channel.kind {
            ChannelKind::Rate => command,
            ChannelKind::Position => command - state.command,
            ChannelKind::Discrete => 0.0,
        };
        *state = State { command, velocity, acceleration: velocity - state.velocity };
        self.command[index] = sent;
        sent
    }
}

impl State {
    /// The next command towards `wanted` within velocity and acceleration.
    fn towards(self, channel: &Channel, wanted: f64) -> f64 {
        let within = |velocity: f64| {
            let change = (velocity - self.velocity).clamp(-channel.acceleration, channel.acceleration);
            (self.velocity + change).clamp(-channel.velocity, channel.velocity)
        };
        match channel.kind {
            ChannelKind::Discrete => wanted,
            ChannelKind::Rate => within(wanted),
            ChannelKind::Position => {
                let distance = wanted - self.command;
                let speed = fastest_that_stops(distance.abs(), channel.acceleration).min(distance.abs());
                self.command + within(speed.copysign(distance))
            }
        }
    }

    /// The next command on the way to rest within acceleration and jerk. An acceleration beyond its own limit, as a
    /// policy's may be, is cut to it first.
    fn braking(self, channel: &Channel) -> f64 {
        let before = self.acceleration.clamp(-channel.acceleration, channel.acceleration);
        // So fast that the jerk can end the acceleration at the very period in which the velocity ends.
        let most = fastest_that_stops(self.velocity.abs(), channel.jerk).min(channel.acceleration);
        let wanted = -most.min(self.velocity.abs()).copysign(self.velocity);
        let change = before + (wanted - before).clamp(-channel.jerk, channel.jerk);
        let left = self.velocity + change;
        let speck = channel.jerk.min(channel.acceleration).min(1.0) * 1e-3;
        // What is left in the end is rounding; a rest is exact.
        let velocity = if left.abs() <= speck && change.abs() <= channel.jerk { 0.0 } else { left };
        match channel.kind {
            ChannelKind::Discrete => self.command,
            ChannelKind::Rate => velocity,
            ChannelKind::Position => self.command + velocity,
        }
    }
}

/// The largest first step v of a sum v + (v − a) + (v − 2a) + … down to zero that comes to `distance`, exactly: with k
/// steps it is k·v − a·k(k − 1)/2.
fn fastest_that_stops(distance: f64, a: f64) -> f64 {
    if a.is_infinite() {
        return distance;
    }
    let steps = (((1.0 + 8.0 * distance / a).sqrt() - 1.0) / 2.0).ceil().max(1.0);
    distance / steps + a * (steps - 1.0) / 2.0
}
