//! Check of a whole chunk before its first action moves: its distance from the last command, and the velocity, acceleration
//! and jerk of its actions, by the limits of each channel.

use super::channel::{Channel, ChannelKind};

/// Share of a limit by which a value may exceed it, for the rounding of 32-bit actions.
const TOLERANCE: f64 = 1e-5;

/// What of a chunk exceeds the limits of its channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excess {
    /// The first action is further from the last command than one period can move it.
    pub(super) jump: bool,
    /// Velocity, acceleration or jerk within the chunk.
    pub(super) motion: bool,
}

/// Returns what exceeds the limits in `actions`, row-major `[actions, channels]`, which would follow the command `last`,
/// `[channels]`. A position's velocity is the difference of two actions; a rate is a velocity itself. A discrete channel has no
/// limits.
pub(super) fn excess(channels: &[Channel], last: &[f32], actions: &[f32]) -> Excess {
    let mut excess = Excess::default();
    for (index, (channel, last)) in channels.iter().zip(last).enumerate() {
        let mut values = actions.iter().skip(index).step_by(channels.len()).map(|value| f64::from(*value));
        let Some(first) = values.next() else { continue };
        let scale = f64::from(f32::EPSILON) * channel.low.abs().max(channel.high.abs());
        let beyond = |value: f64, limit: f64| value.abs() > limit * (1.0 + TOLERANCE) + 8.0 * scale;
        let (step, limits) = match channel.kind {
            ChannelKind::Discrete => continue,
            ChannelKind::Rate => {
                excess.motion |= beyond(first, channel.velocity);
                (channel.acceleration, [channel.acceleration, channel.jerk, f64::INFINITY])
            }
            ChannelKind::Position => {
                (channel.velocity, [channel.velocity, channel.acceleration, channel.jerk])
            }
        };
        excess.jump |= beyond(first - f64::from(*last), step);
        // First, second and third differences between the actions; each is known from its own action on.
        let mut before = [Some(first), None, None];
        for value in values {
            if channel.kind == ChannelKind::Rate {
                excess.motion |= beyond(value, channel.velocity);
            }
            let mut newest = value;
            for (kept, limit) in before.iter_mut().zip(limits) {
                let Some(earlier) = kept.replace(newest) else { break };
                newest -= earlier;
                excess.motion |= beyond(newest, limit);
            }
        }
    }
    excess
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(kind: ChannelKind) -> Channel {
        Channel { kind, low: -1.0, high: 1.0, velocity: 0.1, acceleration: 0.04, jerk: 0.03 }
    }

    fn found(kind: ChannelKind, last: f32, actions: &[f32]) -> [bool; 2] {
        let Excess { jump, motion } = excess(&[channel(kind)], &[last], actions);
        [jump, motion]
    }

    #[test]
    fn a_positions_first_action_and_its_differences_are_limited() {
        let position = |last, actions: &[f32]| found(ChannelKind::Position, last, actions);
        assert_eq!(position(0.0, &[0.1, 0.2, 0.3, 0.4]), [false, false]);
        assert_eq!(position(0.0, &[0.2, 0.3, 0.4]), [true, false], "a jump");
        assert_eq!(position(0.0, &[0.0, 0.0, 0.15]), [false, true], "velocity");
        assert_eq!(position(0.0, &[0.0, 0.0, 0.08]), [false, true], "acceleration");
        assert_eq!(position(0.0, &[0.0, 0.0, 0.0, 0.035]), [false, true], "jerk");
        assert_eq!(position(0.0, &[0.0, 0.0, 0.0, 0.02, 0.06]), [false, false]);
        assert_eq!(position(0.5, &[]), [false, false]);
    }

    #[test]
    fn a_rate_is_a_velocity_and_a_discrete_channel_has_no_limits() {
        let rate = |last, actions: &[f32]| found(ChannelKind::Rate, last, actions);
        assert_eq!(rate(0.0, &[0.03, 0.06, 0.09]), [false, false]);
        assert_eq!(rate(0.0, &[0.05, 0.05]), [true, false]);
        assert_eq!(rate(0.1, &[0.12, 0.12]), [false, true], "velocity");
        assert_eq!(rate(0.0, &[0.0, 0.05]), [false, true], "acceleration");
        assert_eq!(rate(0.0, &[0.0, 0.035, 0.0]), [false, true], "jerk");
        assert_eq!(found(ChannelKind::Discrete, -1.0, &[1.0, -1.0]), [false, false]);
    }

    #[test]
    fn each_channel_has_its_own_column() {
        let channels = [channel(ChannelKind::Position), channel(ChannelKind::Discrete)];
        assert_eq!(excess(&channels, &[0.0, -1.0], &[0.1, 1.0, 0.2, -1.0]), Excess::default());
        assert!(excess(&channels, &[0.0, -1.0], &[0.1, 1.0, 0.5, 1.0]).motion);
    }
}
