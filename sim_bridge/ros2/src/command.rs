//! Commands to a robot's controller: bounded, limited in their change, and as messages; and what stops it. Pure.

use std::time::Duration;

use crate::file::{Channel, CommandKind};
use crate::message::{TWIST, float64_multi_array, joint_trajectory, twist};

/// Number of steps from the last command within which a measured pose counts as that of the robot, beside those by which a joint
/// that takes `reach` for each point is behind.
const NEAR_STEPS: f64 = 3.0;

/// Maker of the messages to one controller.
#[derive(Clone, Debug)]
pub struct Commander {
    kind: CommandKind,
    channels: Vec<Channel>,
    reach_ns: u64,
    /// Number of steps from the last command within which a measured pose counts as that of the robot.
    near_steps: f64,
    /// Values of the newest command of the episode.
    last: Option<Vec<f64>>,
    /// Positions at which a stop holds the joints.
    hold: Option<Vec<f64>>,
}

impl Commander {
    /// Creates a maker of messages for these channels, one each `period`. A trajectory's point is to be reached after the time
    /// `reach`.
    pub fn new(kind: CommandKind, channels: Vec<Channel>, period: Duration, reach: Duration) -> Self {
        let reach_ns = u64::try_from(reach.as_nanos()).unwrap_or(u64::MAX);
        let near_steps = NEAR_STEPS + reach.as_secs_f64() / period.as_secs_f64();
        Self { kind, channels, reach_ns, near_steps, last: None, hold: None }
    }

    /// Begins an episode: no command has been sent.
    pub fn begin(&mut self) {
        (self.last, self.hold) = (None, None);
    }

    /// Checks that an episode may begin where the joints stand, `measured` as for [`command`](Self::command): in each channel at
    /// most one `step` beyond the bounds, so that the first command is within both.
    ///
    /// # Errors
    /// The channel, where its joint stands and what is valid.
    pub fn check_pose(&self, measured: &[f64]) -> Result<(), String> {
        for (stands, Channel { name, low, high, step }) in measured.iter().zip(&self.channels) {
            if !(low - step..=high + step).contains(stands) {
                return Err(format!(
                    "joint {name:?}: it stands at {stands}; valid is {low} to {high}, and one step of {step} beyond: check what \
                     measures it, or move it there without this program"
                ));
            }
        }
        Ok(())
    }

    /// Returns the message for an action. `measured` has the present position of each channel's joint, where the channels are
    /// positions. A value changes by at most its channel's `step` from the command before, or from where the joint stands, and is
    /// within its bounds.
    ///
    /// # Errors
    /// A value beyond its channel's bounds, or another number of values: the channel, what was found and what is valid. At the first
    /// command also the errors of [`check_pose`](Self::check_pose).
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
            (None, true) => {
                self.check_pose(measured)?;
                measured.to_vec()
            }
            (None, false) => vec![0.0; action.len()],
        };
        let values = action.iter().zip(&self.channels).zip(before).map(|((value, channel), before)| {
            let Channel { low, high, step, .. } = channel;
            f64::from(*value).clamp(before - step, before + step).clamp(*low, *high)
        });
        let values: Vec<f64> = values.collect();
        let message = self.message(&values);
        (self.last, self.hold) = (Some(values), None);
        Ok(message)
    }

    /// Returns the message that stops the robot: velocities of zero; or positions at which it holds, which are those `measured`
    /// when the stop began where they can be the robot's, else those of the last command. `None` where neither is known, and so
    /// nothing can be sent that does not move it.
    pub fn stop(&mut self, measured: Option<&[f64]>) -> Option<Vec<u8>> {
        if !self.kind.is_position() {
            self.last = None;
            return Some(self.message(&vec![0.0; self.channels.len()]));
        }
        if self.hold.is_none() {
            let measured = measured.filter(|measured| self.is_near(measured)).map(<[f64]>::to_vec);
            self.hold = measured.or(self.last.take());
            self.last = None;
        }
        self.hold.as_deref().map(|hold| self.message(hold))
    }

    /// Returns whether the joints can be where they were measured: within their bounds, and some steps from the last command at
    /// most. A reading that is wrong or old says another place, and a hold there would be a jump.
    fn is_near(&self, measured: &[f64]) -> bool {
        let last = self.last.as_deref();
        measured.iter().zip(&self.channels).enumerate().all(|(index, (stands, channel))| {
            let distance = last.map_or(0.0, |last| (stands - last[index]).abs());
            (channel.low..=channel.high).contains(stands) && distance <= self.near_steps * channel.step
        })
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
        let period = Duration::from_millis(50);
        Commander::new(kind, names.map(channel).to_vec(), period, period)
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
    fn a_stop_holds_the_last_command_where_a_reading_cannot_be_the_robots() {
        let (low, far) = (f64::from(0.05_f32), f64::from(-0.05_f32));
        let last = joint_trajectory(&names(), &[low, far], 50_000_000);
        // Beyond the bounds, or farther from the last command than a joint can be: wrong, or measured long ago.
        for measured in [[50.0, 0.0], [0.0, -1.01], [0.05, 0.36], [-0.36, 0.0], [f64::NAN, 0.0]] {
            let mut arm = arm();
            arm.command(&[0.05, -0.05], &[0.0, 0.0]).unwrap();
            assert_eq!(arm.stop(Some(&measured)).as_ref(), Some(&last), "{measured:?}");
            assert_eq!(arm.stop(Some(&[0.0, 0.0])).as_ref(), Some(&last), "again, at the same place");
        }
        // A joint that takes long for each point is behind by more steps.
        let slow = Duration::from_millis(500);
        let mut arm =
            Commander::new(CommandKind::Trajectory, arm().channels, Duration::from_millis(50), slow);
        arm.command(&[0.05, -0.05], &[0.0, 0.0]).unwrap();
        let held = joint_trajectory(&names(), &[-0.36, 0.0], 500_000_000);
        assert_eq!(arm.stop(Some(&[-0.36, 0.0])), Some(held));
        // Without a command there is a robot only within its bounds.
        assert_eq!(self::arm().stop(Some(&[50.0, 0.0])), None);
    }

    #[test]
    fn no_command_begins_from_a_pose_beyond_the_bounds_or_leads_there() {
        let mut arm = arm();
        let error = arm.command(&[0.9, 0.0], &[50.0, 0.0]).unwrap_err();
        assert!(error.starts_with("joint \"a\": it stands at 50; valid is -1 to 1"), "{error}");
        assert_eq!(arm.check_pose(&[50.0, 0.0]).unwrap_err(), error);
        assert!(arm.check_pose(&[0.0, f64::NAN]).is_err() && arm.check_pose(&[1.09, -1.0]).is_ok());
        let sent = arm.command(&[1.0, 0.0], &[1.09, 0.0]).unwrap();
        assert_eq!(sent, joint_trajectory(&names(), &[1.0, 0.0], 50_000_000));
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
