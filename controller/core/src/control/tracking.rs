//! Tracking of a target by a limited command: the change of velocity for one period, chosen so that a stop within the
//! limits is possible at any time and ends within the bounds.
//!
//! Three conditions hold after each period and make the next one possible: the acceleration is within its limit; the
//! velocity stays within its limit while the acceleration falls to zero by the jerk; and braking from here ends within
//! the channel's bounds.

use super::channel::{Channel, ChannelKind, State, fastest_that_stops};

/// Periods after which the simulation of a stop is abandoned: longer than any stop of a robot takes.
const LONGEST_STOP: usize = 10_000;
/// Halvings of the interval in which the change is searched, down to a millionth of its length.
const HALVINGS: usize = 20;

/// Returns the change of velocity in this period towards `wanted`, a velocity for a rate and a position for a position
/// channel.
pub(super) fn tracking_change(state: State, channel: &Channel, wanted: f64) -> f64 {
    let fastest = channel.velocity.min(channel.high - channel.low);
    match channel.kind {
        ChannelKind::Discrete => 0.0,
        ChannelKind::Rate => {
            let target = wanted.clamp(channel.low.max(-channel.velocity), channel.high.min(channel.velocity));
            change_of_rate(state, channel, target)
        }
        ChannelKind::Position => {
            let distance = wanted.clamp(channel.low, channel.high) - state.command;
            let range = [-fastest, fastest].map(|velocity| change_of_rate(state, channel, velocity));
            change_to_stop_at(state, channel, distance, range)
        }
    }
}

/// Returns the change of velocity towards the velocity `target` within acceleration and jerk, without overshoot where
/// the acceleration allows.
fn change_of_rate(state: State, channel: &Channel, target: f64) -> f64 {
    let before = state.acceleration.clamp(-channel.acceleration, channel.acceleration);
    let least = (before - channel.jerk).max(-channel.acceleration);
    let most = (before + channel.jerk).min(channel.acceleration);
    let left = target - state.velocity;
    fastest_that_stops(left.abs(), channel.jerk).copysign(left).clamp(least, most)
}

/// Returns the change within `range` after which braking ends at `distance` from the current position, or as near to it
/// as possible.
fn change_to_stop_at(state: State, channel: &Channel, distance: f64, range: [f64; 2]) -> f64 {
    let [mut least, mut most] = range;
    if stops_after(state, channel, most) <= distance {
        return most;
    }
    if stops_after(state, channel, least) >= distance {
        return least;
    }
    for _ in 0..HALVINGS {
        let middle = least + (most - least) / 2.0;
        if stops_after(state, channel, middle) <= distance {
            least = middle;
        } else {
            most = middle;
        }
    }
    // A target that can be reached exactly in one last period is reached exactly.
    let exact = distance - state.velocity;
    if (least..=most).contains(&exact) { exact } else { least }
}

/// Returns the distance from the current position at which a position channel comes to rest, if it changes its velocity
/// by `change` in this period and brakes from the next period on.
fn stops_after(state: State, channel: &Channel, change: f64) -> f64 {
    let velocity = state.velocity + change;
    let mut state = State { command: velocity, velocity, acceleration: change };
    for _ in 0..LONGEST_STOP {
        if state.velocity == 0.0 && state.acceleration == 0.0 {
            break;
        }
        let command = state.braking(channel);
        let velocity = command - state.command;
        state = State { command, velocity, acceleration: velocity - state.velocity };
    }
    state.command
}
