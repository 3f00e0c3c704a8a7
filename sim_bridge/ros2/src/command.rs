//! Commands to a robot's controller: bounded, limited in their change, and as messages; and what stops it. Pure.

use crate::file::{Channel, CommandKind};
use crate::message::{TWIST, float64_multi_array, joint_trajectory, twist};

/// Maker of the messages to one controller.
#[derive(Clone, Debug)]
pub struct Commander {
    kind: CommandKind,
    channels: Vec<Channel>,
    reach_ns: u64,
    /// Values of the newest command of the episode.
    last: Option<Vec<f64>>,
    /// Positions at which a stop holds the joints.
    hold: Option<Vec<f64>>,
}

impl Commander {
    /// Creates a maker of messages for these channels. A trajectory's point is to be reached after `reach_ns`.
    pub fn new(kind: CommandKind, channels: Vec<Channel>, reach_ns: u64) -> Self {
        Self { kind, channels, reach_ns, last: None, hold: None }
    }

    /// Begins an episode: no command has been sent.
    pub fn begin(&mut self) {
        (self.last, self.hold) = (None, None);
    }

    /// Returns the message for an action. `measured` has the present position of each channel's joint, where the channels are
    /// positions. A value changes by at most its channel's `step` from the command before, or from where the joint stands.
    ///
    /// # Errors
    /// A value beyond its channel's bounds, or another number of values: the channel, what was found and what is valid.
    pub fn command(&mut self, action: &[f32], measured: &[f64]) -> Result<Vec<u8>, String> {
        if action.len() != self.channels.len() {
            return Err(format!("action: found {} values; valid is {}", action.len(), self.channels.len()));
        }
        for (value, channel) in action.iter().zip(&self.channels) {
            // Bounds are announced as 32-bit numbers.
            let [low, high] = channel.bounds();
            if !(low..=high).contains(value) {
                let Channel { name, .. } = channel;
                return Err(format!("channel {name:?}: found {value}; valid is {low} to {high}"));
            }
        }
        let before = match (&self.last, self.kind.is_position()) {
            (Some(last), _) => last.clone(),
            (None, true) => measured.to_vec(),
            (None, false) => vec![0.0; action.len()],
        };
        let values = action.iter().zip(&self.channels).zip(before).map(|((value, channel), before)| {
            f64::from(*value).clamp(before - channel.step, before + channel.step)
        });
        let values: Vec<f64> = values.collect();
        let message = self.message(&values);
        (self.last, self.hold) = (Some(values), None);
        Ok(message)
    }

    /// Returns the message that stops the robot: velocities of zero; or positions at which it holds, which are those `measured`
    /// when the stop began, else those of the last command. `None` where neither is known, and so nothing can be sent that does not
    /// move it.
    pub fn stop(&mut self, measured: Option<&[f64]>) -> Option<Vec<u8>> {
        if !self.kind.is_position() {
            self.last = None;
            return Some(self.message(&vec![0.0; self.channels.len()]));
        }
        if self.hold.is_none() {
            self.hold = measured.map(<[f64]>::to_vec).or(self.last.take());
            self.last = None;
        }
        self.hold.as_deref().map(|hold| self.message(hold))
    }

    fn message(&self, values: &[f64]) -> Vec<u8> {
        match self.kind {
            CommandKind::Trajectory => {
                let joints: Vec<String> = self.channels.iter().map(|channel| channel.name.clone()).collect();
                joint_trajectory(&joints, values, self.reach_ns)
            }
            CommandKind::Velocity => float64_multi_array(values),
            CommandKind::Twist | CommandKind::TwistStamped => {
                let mut all = [0.0; TWIST.len()];
                for (channel, value) in self.channels.iter().zip(values) {
                    if let Some(place) = TWIST.iter().position(|name| *name == channel.name) {
                        all[place] = *value;
                    }
                }
                twist(&all, self.kind == CommandKind::TwistStamped)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commander(kind: CommandKind, names: [&str; 2]) -> Commander {
        let channel = |name: &str| Channel { name: name.to_owned(), low: -1.0, high: 1.0, step: 0.1 };
        Commander::new(kind, names.map(channel).to_vec(), 50_000_000)
    }

    fn arm() -> Commander {
        commander(CommandKind::Trajectory, ["a", "b"])
    }

    fn names() -> [String; 2] {
        ["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn a_position_starts_where_the_joint_stands_and_changes_by_its_step() {
        let mut arm = arm();
        let sent = arm.command(&[0.75, -0.05], &[0.5, 0.0]).unwrap();
        assert_eq!(sent, joint_trajectory(&names(), &[0.6, f64::from(-0.05_f32)], 50_000_000));
        // From the command before, and not from where the joint has come to.
        let sent = arm.command(&[0.75, 0.0], &[0.0, 0.0]).unwrap();
        assert_eq!(sent, joint_trajectory(&names(), &[0.7, 0.0], 50_000_000));
    }

    #[test]
    fn a_value_beyond_its_bounds_is_refused_by_channel_and_moves_nothing() {
        let mut arm = arm();
        let error = arm.command(&[0.0, 1.5], &[0.0, 0.0]).unwrap_err();
        assert_eq!(error, "channel \"b\": found 1.5; valid is -1 to 1");
        assert!(arm.command(&[0.0, f32::NAN], &[0.0; 2]).is_err() && arm.command(&[0.0], &[0.0; 2]).is_err());
        assert_eq!(arm.stop(None), None, "no command was sent, and no pose is known");
    }

    #[test]
    fn a_stop_holds_an_arm_where_it_was_measured_first() {
        let mut arm = arm();
        arm.command(&[0.05, 0.05], &[0.0, 0.0]).unwrap();
        let held = joint_trajectory(&names(), &[0.02, 0.03], 50_000_000);
        assert_eq!(arm.stop(Some(&[0.02, 0.03])).as_ref(), Some(&held));
        assert_eq!(arm.stop(Some(&[0.04, 0.05])).as_ref(), Some(&held), "again, at the same place");
        let mut blind = self::arm();
        blind.command(&[0.05, 0.05], &[0.0, 0.0]).unwrap();
        let last = joint_trajectory(&names(), &[f64::from(0.05_f32); 2], 50_000_000);
        assert_eq!(blind.stop(None), Some(last), "where it was told to go last");
    }

    #[test]
    fn a_velocity_starts_at_rest_and_stops_at_zero() {
        let mut wheels = commander(CommandKind::Velocity, ["left", "right"]);
        assert_eq!(wheels.command(&[0.5, -0.5], &[]).unwrap(), float64_multi_array(&[0.1, -0.1]));
        assert_eq!(wheels.stop(Some(&[3.0, 3.0])), Some(float64_multi_array(&[0.0, 0.0])));
        assert_eq!(wheels.command(&[0.5, -0.5], &[]).unwrap(), float64_multi_array(&[0.1, -0.1]), "anew");
        let mut base = commander(CommandKind::TwistStamped, ["linear.x", "angular.z"]);
        let sent = base.command(&[0.0625, -0.0625], &[]).unwrap();
        assert_eq!(sent, twist(&[0.0625, 0.0, 0.0, 0.0, 0.0, -0.0625], true));
        assert_eq!(base.stop(None), Some(twist(&[0.0; 6], true)));
    }
}
