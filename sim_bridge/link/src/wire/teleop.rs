//! Messages between a controller and a person who drives its robot by hand: the call, which also says where the robot stands and
//! how far it may be from there that the person takes over, and the person's commands.

use serde::{Deserialize, Serialize};

use super::bounded;
use super::message::{ACTION, LABEL};

/// Command of a person who drives, or wants to drive, a robot by hand. Their program publishes them at its own rate, also while
/// nobody is engaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teleop {
    /// Number drawn by the person's program when it started.
    pub operator: u64,
    /// From [`Call`].
    pub session: u64,
    /// From [`Call`].
    pub episode: u64,
    /// Number of the call that the command answers, from [`Call`]; 0 for none.
    pub call: u32,
    /// Number of the command, from 1; grows as long as the program runs.
    pub sequence: u32,
    /// Nanoseconds on the program's monotonic clock.
    pub stamp_ns: u64,
    /// Whether the person drives or wants to. Letting go ends their control.
    pub engaged: bool,
    /// Values of the command; ignored unless the person is engaged.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

/// Phase of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nobody is needed.
    Quiet,
    /// A person is called, and the robot holds still.
    Called,
    /// A person drives.
    Driving,
    /// The person has let go and may still take hold again.
    Released,
}

/// Meaning of a channel's value, for a person's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteeredKind {
    /// A velocity; 0 stands still.
    Rate,
    /// A position.
    Position,
    /// One of few states, as a gripper's.
    Discrete,
}

/// One channel of the commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steered {
    /// Name of the channel, as the plant announces it; empty where it names none.
    #[serde(deserialize_with = "bounded::text::<_, LABEL>")]
    pub name: String,
    /// What the value means.
    pub kind: SteeredKind,
    /// Smallest and largest value.
    pub bounds: [f64; 2],
    /// Largest distance of a first command from `command` of the call; infinite for any.
    pub within: f64,
}

/// The controller's word to people who may drive its robot; published ten times a second, and at each change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Session of the controller's claim; 0 without one.
    pub session: u64,
    /// Number of the episode; 0 before the first.
    pub episode: u64,
    /// Phase of the call.
    pub state: CallState,
    /// Number of the newest call; 0 before the first.
    pub call: u32,
    /// Number of the program of the person who drives; 0 for nobody.
    pub operator: u64,
    /// Number of that program's newest command that was obeyed.
    pub sequence: u32,
    /// Time for which the robot still waits for an answer, nanoseconds; 0 unless a person is called.
    pub left_ns: u64,
    /// Control period, nanoseconds.
    pub period_ns: u64,
    /// Time without a command after which the robot stops while a person drives, nanoseconds.
    pub stream_timeout_ns: u64,
    /// Last command sent to the robot, by channel.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub command: Vec<f64>,
    /// Number of the program whose first command was refused last in this call; 0 for none.
    pub refused: u64,
    /// Distance of that first command from `command`, by channel; empty for none, and for a command that cannot be executed.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub away: Vec<f64>,
    /// The channels.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub channels: Vec<Steered>,
}
