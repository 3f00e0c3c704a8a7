//! Call of an operator: its phase, and why a first command was refused. The output of each control period reports it where the
//! backup is a person.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::teleop::TeleopFault;

/// Phase of the call of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPhase {
    /// No operator is needed.
    #[default]
    Quiet,
    /// An operator is called, and the robot holds still.
    Called,
    /// An operator drives.
    Driving,
    /// The operator has let go and may still take hold again; the robot holds still.
    Released,
}

/// Reason why an operator's first command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The command cannot be executed.
    Faulty(TeleopFault),
    /// The command is too far from the last command sent to the robot, most so in one channel.
    Far {
        /// Index of the channel.
        channel: u32,
        /// The operator's value minus the last command's, in the channel's unit.
        away: f64,
    },
}

/// Refused first command.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstRefusal {
    /// Number of the operator's program.
    pub operator: u64,
    /// Why it was refused.
    pub reason: RefusalReason,
}

/// Report on the call of an operator, after one control period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    /// Phase of the call.
    pub phase: CallPhase,
    /// Number of the newest call; 0 before the first.
    pub call: u32,
    /// Number of the program of the operator who drives; 0 for none.
    pub operator: u64,
    /// Number of that operator's newest command that was obeyed.
    pub sequence: u32,
    /// First command that was refused in this period.
    pub refused: Option<FirstRefusal>,
    /// Number of commands that were dropped in this period: old, late, of another claim or episode, of another operator, or
    /// without a call.
    pub dropped: u32,
    /// Time for which the robot still waits for an answer; zero unless an operator is called.
    pub left: Duration,
}
