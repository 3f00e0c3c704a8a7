//! Channels of an action: what a value means, its limits per control period, and the state of its last command.

use serde::{Deserialize, Serialize};

/// Kind of a channel: what its value means.
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
    /// Kind of the channel.
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
    /// Largest change of the acceleration in one period.
    #[serde(default = "infinite")]
    pub jerk: f64,
}

pub(super) fn infinite() -> f64 {
    f64::INFINITY
}

impl Channel {
    /// Returns whether a command lies within the channel's bounds. NaN does not.
    pub fn admits(&self, command: f32) -> bool {
        (self.low..=self.high).contains(&f64::from(command))
    }

    /// Returns whether a position is valid at a start: within the bounds, or beyond a bound by no more than the first
    /// period may move it back within every limit, and by a thousandth of the range at most.
    pub(super) fn admits_standing(&self, position: f32) -> bool {
        let first_period = self.velocity.min(self.acceleration).min(self.jerk);
        let beyond = first_period.min(1e-3 * (self.high - self.low));
        (self.low - beyond..=self.high + beyond).contains(&f64::from(position))
    }

    /// Returns the 32-bit command within the channel's bounds that is nearest to a finite command.
    pub(super) fn nearest(&self, command: f64) -> f32 {
        let nearest = command.clamp(self.low, self.high) as f32;
        match f64::from(nearest) {
            // A bound that a 32-bit float cannot hold is rounded inwards.
            wide if wide > self.high => nearest.next_down(),
            wide if wide < self.low => nearest.next_up(),
            _ => nearest,
        }
    }
}

/// A channel's last command with its first and second difference, per control period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    pub(super) command: f64,
    pub(super) velocity: f64,
    pub(super) acceleration: f64,
}

impl State {
    /// Returns the next command on the way to rest within acceleration and jerk. An acceleration beyond its limit, as a
    /// policy's may be, is cut to the limit first.
    pub(super) fn braking(self, channel: &Channel) -> f64 {
        let before = self.acceleration.clamp(-channel.acceleration, channel.acceleration);
        // The largest deceleration that the jerk can end in the same period in which the velocity ends.
        let most = fastest_that_stops(self.velocity.abs(), channel.jerk).min(channel.acceleration);
        let wanted = -most.min(self.velocity.abs()).copysign(self.velocity);
        let change = before + (wanted - before).clamp(-channel.jerk, channel.jerk);
        let left = self.velocity + change;
        let speck = channel.jerk.min(channel.acceleration).min(1.0) * 1e-3;
        // The velocity that remains at the end is rounding; rest is exact.
        let velocity = if left.abs() <= speck && change.abs() <= channel.jerk { 0.0 } else { left };
        match channel.kind {
            ChannelKind::Discrete => self.command,
            ChannelKind::Rate => velocity,
            ChannelKind::Position => self.command + velocity,
        }
    }
}

/// Returns the first step v for which the sum v + (v − a) + (v − 2a) + … down to zero equals `distance` exactly: with k
/// steps the sum is k·v − a·k(k − 1)/2.
pub(super) fn fastest_that_stops(distance: f64, a: f64) -> f64 {
    if a.is_infinite() {
        return distance;
    }
    let steps = (((1.0 + 8.0 * distance / a).sqrt() - 1.0) / 2.0).ceil().max(1.0);
    distance / steps + a * (steps - 1.0) / 2.0
}
