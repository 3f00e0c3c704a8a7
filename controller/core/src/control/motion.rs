//! Commands that stay continuous: follow a policy and come to rest within velocity, acceleration and jerk.
//! Everything starts from the last command sent. What is sent is finite and within its channel's bounds, always.

use serde::{Deserialize, Serialize};

use super::channel::{Channel, ChannelKind, State, fastest_that_stops};
use super::tracking::tracking_change;

/// While a policy drives, when velocity, acceleration and jerk bound its commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// In every period.
    #[default]
    Always,
    /// From a change of driver, or the start, until the new driver's commands are reached; without jerk. After that its
    /// commands pass as they are, within their bounds.
    UntilCaughtUp,
}

/// The commands of all channels, one period after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    channels: Vec<Channel>,
    states: Vec<State>,
    command: Vec<f32>,
    scope: LimitScope,
    /// Whether commands still differ from what the policy asked for since it took over.
    catching_up: bool,
}

impl Motion {
    /// At rest at `rest`, `[channels]`, finite and within the channels' bounds.
    pub fn new(channels: Vec<Channel>, rest: &[f32], scope: LimitScope) -> Self {
        let still = State { command: 0.0, velocity: 0.0, acceleration: 0.0 };
        let (states, command) = (vec![still; channels.len()], vec![0.0; channels.len()]);
        let mut motion = Self { channels, states, command, scope, catching_up: false };
        for (index, value) in rest.iter().enumerate().take(motion.channels.len()) {
            motion.stand_at(index, *value);
        }
        motion
    }

    /// Channels of these `kinds` stand still at `pose`, `[channels]`; others stay as they are. What lies out of bounds counts
    /// as the bound, and a value that is not finite as the last command.
    pub fn place(&mut self, pose: &[f32], kinds: &[ChannelKind]) {
        for (index, value) in pose.iter().enumerate().take(self.channels.len()) {
            if kinds.contains(&self.channels[index].kind) {
                self.stand_at(index, *value);
            }
        }
    }

    fn stand_at(&mut self, index: usize, value: f32) {
        self.send(index, f64::from(value));
        (self.states[index].velocity, self.states[index].acceleration) = (0.0, 0.0);
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

    /// One period towards a policy's `target`, `[channels]`. A channel whose target is not finite goes on to rest.
    /// Returns a bit for each channel whose command is not its target.
    pub fn follow(&mut self, target: &[f32]) -> u64 {
        let mut limited = 0;
        for (index, target) in target.iter().enumerate().take(self.channels.len()) {
            let wanted = f64::from(*target);
            let (channel, state) = (&self.channels[index], self.states[index]);
            let next = match self.scope {
                _ if !wanted.is_finite() => state.braking(channel),
                LimitScope::Always => state.tracking(channel, wanted),
                LimitScope::UntilCaughtUp if self.catching_up => state.towards(channel, wanted),
                LimitScope::UntilCaughtUp => wanted,
            };
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
        let next = match channel.kind {
            _ if next.is_finite() => next,
            ChannelKind::Rate => 0.0,
            ChannelKind::Position | ChannelKind::Discrete => state.command,
        };
        let sent = channel.nearest(next);
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

    /// The next command towards `wanted` within velocity, acceleration and jerk.
    fn tracking(self, channel: &Channel, wanted: f64) -> f64 {
        match channel.kind {
            ChannelKind::Discrete => wanted,
            ChannelKind::Rate => self.velocity + tracking_change(self, channel, wanted),
            ChannelKind::Position => self.command + self.velocity + tracking_change(self, channel, wanted),
        }
    }
}
