//! Faults on command: the commands read from standard input, and the faults that are active.

use std::time::Duration;

use crate::arguments::{list, milliseconds, number};
use crate::cameras::CameraFault;

/// Every command, as listed in the error text for an unknown command.
const COMMANDS: &str = "freeze, thaw, backward, forward, glitch, repeat, old N, nan J, huge J, short, heal, silent, mute, speak, \
                        pose a,b,.., latency-out MS, latency-in MS, late-answers MS, deaf, hear, no-echo, echo, \
                        drop-commands, take-commands, camera N FAULT or quit";
/// Number of past observations kept for publishing again.
pub const HISTORY: usize = 2048;
/// Reading of a joint under the `huge` fault, radians.
const HUGE: f64 = 1e30;

/// Command on one line of standard input.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Observations keep their content; sequence number, stamp and plant time advance.
    Freeze,
    /// Ends `Freeze`.
    Thaw,
    /// The clock of stamps and plant time is set back by one second and goes on from there.
    Backward,
    /// The clock of stamps and plant time is set forward by one hour and goes on from there.
    Forward,
    /// The next observation alone carries the stamp and plant time of one second ago.
    Glitch,
    /// After each new observation the preceding one is published again, until `Heal`.
    Repeat,
    /// The observation of this many periods ago is published once more, after the next new one.
    Old(usize),
    /// The joint of this index reads NaN until `Heal`.
    Nan(usize),
    /// The joint of this index reads 1e30 until `Heal`.
    Huge(usize),
    /// Observations lack the last value that the plant announced, until `Heal`.
    Short,
    /// Ends `Nan`, `Huge`, `Short` and `Repeat`.
    Heal,
    /// No observations are published; the heartbeat continues.
    Silent,
    /// Neither observations nor heartbeats are published; requests are answered.
    Mute,
    /// Ends `Silent` and `Mute`.
    Speak,
    /// The joints are set to this pose, radians, as by a push by hand.
    Pose(Vec<f64>),
    /// Delay from plant to controller.
    LatencyOut(Duration),
    /// Delay from controller to plant.
    LatencyIn(Duration),
    /// Delay of the answer to a request, in addition to the other delays.
    LateAnswers(Duration),
    /// Requests are not answered.
    Deaf,
    /// Ends `Deaf`.
    Hear,
    /// The plant's heartbeat omits the echo of the controller's heartbeat.
    NoEcho,
    /// Ends `NoEcho`.
    Echo,
    /// Actions are received and not executed.
    DropCommands,
    /// Ends `DropCommands`.
    TakeCommands,
    /// A camera, by its index, begins or ends a fault.
    Camera(usize, CameraFault),
    /// Ends the process.
    Quit,
}

impl Command {
    /// Parses a line for a plant with `joints` moving joints and `shown` joint positions per observation.
    ///
    /// # Errors
    /// The error text states what was expected and what was found.
    pub fn parse(line: &str, joints: usize, shown: usize) -> Result<Self, String> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        let joint = |rest: &str| number(word, rest, 0, shown - 1);
        let latency = |rest: &str| milliseconds(word, rest, 0, 60_000);
        let command = match word {
            "old" => return number(word, rest, 1, HISTORY - 1).map(Self::Old),
            "nan" => return joint(rest).map(Self::Nan),
            "huge" => return joint(rest).map(Self::Huge),
            "latency-out" => return latency(rest).map(Self::LatencyOut),
            "latency-in" => return latency(rest).map(Self::LatencyIn),
            "late-answers" => return latency(rest).map(Self::LateAnswers),
            "camera" => {
                let (index, fault) = CameraFault::parse(rest)?;
                return Ok(Self::Camera(index, fault));
            }
            "pose" => {
                let pose = list(word, rest)?;
                if pose.len() != joints {
                    return Err(format!("pose: expected {joints} values, found {}", pose.len()));
                }
                return Ok(Self::Pose(pose));
            }
            "freeze" => Self::Freeze,
            "thaw" => Self::Thaw,
            "backward" => Self::Backward,
            "forward" => Self::Forward,
            "deaf" => Self::Deaf,
            "hear" => Self::Hear,
            "no-echo" => Self::NoEcho,
            "echo" => Self::Echo,
            "glitch" => Self::Glitch,
            "repeat" => Self::Repeat,
            "short" => Self::Short,
            "heal" => Self::Heal,
            "silent" => Self::Silent,
            "mute" => Self::Mute,
            "speak" => Self::Speak,
            "drop-commands" => Self::DropCommands,
            "take-commands" => Self::TakeCommands,
            "quit" => Self::Quit,
            _ => return Err(format!("expected {COMMANDS}; found {line:?}")),
        };
        if rest.is_empty() { Ok(command) } else { Err(format!("{word}: expected no value, found {rest:?}")) }
    }
}

/// Faults that are active.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Whether the content of observations is frozen.
    pub frozen: bool,
    /// Whether the next observation is stamped one second early.
    pub glitch: bool,
    /// Whether each new observation is followed by the preceding one.
    pub repeats: bool,
    /// Age, in periods, of an observation to publish once more.
    pub old: Option<usize>,
    /// Joints with a corrupt reading: index and reading, radians.
    pub corrupt: Vec<(usize, f64)>,
    /// Whether observations lack their last value.
    pub short: bool,
    /// Whether observations are withheld.
    pub silent: bool,
    /// Whether observations and heartbeats are withheld.
    pub mute: bool,
    /// Whether received actions are not executed.
    pub drops_commands: bool,
    /// Whether requests are not answered.
    pub deaf: bool,
    /// Whether the plant's heartbeat omits the echo of the controller's heartbeat.
    pub no_echo: bool,
}

impl Faults {
    /// Begins or ends the fault that `command` names. Commands that name no fault of this type change nothing here.
    pub fn apply(&mut self, command: &Command) {
        match command {
            Command::Freeze => self.frozen = true,
            Command::Thaw => self.frozen = false,
            Command::Glitch => self.glitch = true,
            Command::Repeat => self.repeats = true,
            Command::Old(periods) => self.old = Some(*periods),
            Command::Nan(joint) => self.corrupt.push((*joint, f64::NAN)),
            Command::Huge(joint) => self.corrupt.push((*joint, HUGE)),
            Command::Short => self.short = true,
            Command::Heal => {
                self.corrupt.clear();
                self.short = false;
                self.repeats = false;
            }
            Command::Silent => self.silent = true,
            Command::Mute => self.mute = true,
            Command::Speak => (self.silent, self.mute) = (false, false),
            Command::DropCommands => self.drops_commands = true,
            Command::TakeCommands => self.drops_commands = false,
            Command::Deaf => self.deaf = true,
            Command::Hear => self.deaf = false,
            Command::NoEcho => self.no_echo = true,
            Command::Echo => self.no_echo = false,
            Command::Backward
            | Command::Forward
            | Command::Pose(_)
            | Command::LatencyOut(_)
            | Command::LatencyIn(_)
            | Command::LateAnswers(_)
            | Command::Camera(..)
            | Command::Quit => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        for (line, command) in [
            ("freeze", Command::Freeze),
            (" thaw ", Command::Thaw),
            ("backward", Command::Backward),
            ("forward", Command::Forward),
            ("late-answers 3000", Command::LateAnswers(Duration::from_secs(3))),
            ("old 12", Command::Old(12)),
            ("nan 6", Command::Nan(6)),
            ("huge 0", Command::Huge(0)),
            ("pose 0.5, -1,2e-1", Command::Pose(vec![0.5, -1.0, 0.2])),
            ("latency-out 300", Command::LatencyOut(Duration::from_millis(300))),
            ("latency-in 0", Command::LatencyIn(Duration::ZERO)),
            ("drop-commands", Command::DropCommands),
            ("quit", Command::Quit),
        ] {
            assert_eq!(Command::parse(line, 3, 7), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_named() {
        for (line, word) in [
            ("", "expected freeze"),
            ("explode", "explode"),
            ("old", "1 to 2047"),
            ("old 0", "1 to 2047"),
            ("nan 7", "0 to 6"),
            ("pose 1,2", "expected 3 values, found 2"),
            ("pose", "finite numbers"),
            ("latency-in soon", "0 to 60000"),
            ("freeze 3", "no value"),
        ] {
            let error = Command::parse(line, 3, 7).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn each_fault_has_an_end() {
        let mut faults = Faults::default();
        for line in [
            "freeze",
            "repeat",
            "nan 0",
            "huge 1",
            "short",
            "silent",
            "mute",
            "drop-commands",
            "deaf",
            "no-echo",
        ] {
            faults.apply(&Command::parse(line, 2, 2).unwrap());
        }
        assert!(
            faults.frozen
                && faults.repeats
                && faults.short
                && faults.silent
                && faults.mute
                && faults.drops_commands
        );
        assert_eq!(faults.corrupt.len(), 2);
        assert!(faults.deaf && faults.no_echo);
        for line in ["thaw", "heal", "speak", "take-commands", "hear", "echo"] {
            faults.apply(&Command::parse(line, 2, 2).unwrap());
        }
        assert_eq!(faults, Faults::default());
    }
}
