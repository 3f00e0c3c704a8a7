//! Commands of a person who drives a robot by hand, as the controller reads and records them: of each operator the newest
//! command of a control period and an episode. The values of a command lie in an array, so that the control thread allocates nothing.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

/// Largest number of channels of a command.
pub const MAX_CHANNELS: usize = 64;
/// Largest number of operators, and of their episodes, whose commands are told apart in one control period.
pub const MAX_OPERATORS: usize = 4;

/// Values of one command, at most [`MAX_CHANNELS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CommandValues {
    length: usize,
    /// The values, and zeros behind them.
    values: [f32; MAX_CHANNELS],
}

impl CommandValues {
    /// Copies values; `None` for more than [`MAX_CHANNELS`] of them.
    pub fn of(values: &[f32]) -> Option<Self> {
        let mut all = [0.0; MAX_CHANNELS];
        all.get_mut(..values.len())?.copy_from_slice(values);
        Some(Self { length: values.len(), values: all })
    }

    /// Returns the values.
    pub fn as_slice(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl Serialize for CommandValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.as_slice())
    }
}

impl<'de> Deserialize<'de> for CommandValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<f32>::deserialize(deserializer)?;
        let length = values.len();
        Self::of(&values).ok_or_else(|| D::Error::invalid_length(length, &"at most 64 values"))
    }
}

/// Fault of a command with which an operator drives, or would drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeleopFault {
    /// A value is NaN or infinite.
    NotFinite,
    /// There are more or fewer values than channels.
    Width,
}

impl TeleopFault {
    /// Returns the fault of `values` for a robot of so many `channels`, or `None`.
    pub fn of(values: &[f32], channels: usize) -> Option<Self> {
        match () {
            () if values.len() != channels => Some(Self::Width),
            () if !values.iter().all(|value| value.is_finite()) => Some(Self::NotFinite),
            () => None,
        }
    }
}

/// Newest command of one operator for one episode in a control period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeleopCommand {
    /// Number that distinguishes the operator's program from any other.
    pub operator: u64,
    /// Episode that the command is for.
    pub episode: u64,
    /// Number of the call that the command answers; 0 for none.
    pub call: u32,
    /// Number of the command, which grows from one command of the program to the next.
    pub sequence: u32,
    /// Number of commands that arrived since the last period, this one included.
    pub arrived: u32,
    /// Time of arrival, on the controller's clock.
    pub received: Duration,
    /// Time at which the command was sent, on the operator's own monotonic clock.
    pub stamp: Duration,
    /// Whether the person drives or wants to. Without it the values mean nothing.
    pub engaged: bool,
    /// Fault of this command, or of an earlier one of the same period.
    pub fault: Option<TeleopFault>,
    /// Values of the command, `[channels]`.
    pub values: CommandValues,
}

impl TeleopCommand {
    /// Returns whether another command is of the same operator and for the same episode.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.operator, self.episode) == (other.operator, other.episode)
    }

    /// Returns the newer of two commands of one operator for one episode, with the arrivals of both. A fault of either stays.
    pub fn joined(self, later: Self) -> Self {
        let (newer, older) = if later.sequence > self.sequence { (later, self) } else { (self, later) };
        let arrived = self.arrived.saturating_add(later.arrived);
        Self { arrived, fault: newer.fault.or(older.fault), ..newer }
    }
}

/// What operators sent since the last control period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeleopInputs<'a> {
    /// Newest commands, at most one of each operator and episode.
    #[serde(borrow)]
    pub commands: Cow<'a, [TeleopCommand]>,
    /// Number of commands that belong to another claim of the plant, or to more operators than are told apart.
    pub foreign: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(episode: u64, sequence: u32, values: &[f32]) -> TeleopCommand {
        TeleopCommand {
            operator: 7,
            episode,
            call: 1,
            sequence,
            arrived: 1,
            received: Duration::from_millis(u64::from(sequence)),
            stamp: Duration::ZERO,
            engaged: true,
            fault: TeleopFault::of(values, 2),
            values: CommandValues::of(values).unwrap(),
        }
    }

    #[test]
    fn of_two_commands_the_newer_counts_and_a_fault_of_either_stays() {
        let (first, second) = (command(1, 4, &[0.0, f32::NAN]), command(1, 5, &[0.5, 0.25]));
        for joined in [first.joined(second), second.joined(first)] {
            assert_eq!((joined.sequence, joined.arrived), (5, 2));
            assert_eq!((joined.fault, joined.values), (Some(TeleopFault::NotFinite), second.values));
        }
        assert!(first.is_beside(&second) && !first.is_beside(&command(2, 5, &[0.5, 0.25])));
    }

    #[test]
    fn more_values_than_any_robot_has_are_no_command() {
        assert_eq!(CommandValues::of(&[0.0; MAX_CHANNELS + 1]), None);
        let all = CommandValues::of(&[0.5; MAX_CHANNELS]).unwrap();
        let bytes = serde_json::to_string(&all).unwrap();
        assert_eq!(bytes, "[".to_owned() + &["0.5"; MAX_CHANNELS].join(",") + "]");
        assert!(serde_json::from_str::<CommandValues>(&bytes).is_ok_and(|read| read == all));
        let more = format!("[{}]", ["0"; MAX_CHANNELS + 1].join(","));
        let error = serde_json::from_str::<CommandValues>(&more).unwrap_err().to_string();
        assert!(error.contains("invalid length 65, expected at most 64 values"), "{error}");
    }

    #[test]
    fn a_fault_is_of_the_width_first() {
        assert_eq!(TeleopFault::of(&[f32::NAN], 2), Some(TeleopFault::Width));
        assert_eq!(TeleopFault::of(&[0.0, f32::INFINITY], 2), Some(TeleopFault::NotFinite));
        assert_eq!(TeleopFault::of(&[0.0, -1.0], 2), None);
    }
}
