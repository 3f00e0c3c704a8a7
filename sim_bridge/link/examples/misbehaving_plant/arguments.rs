//! Command line of the misbehaving plant, parsed without a library: this crate depends on no argument parser.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aegis_link::{Endpoint, LinkError};

use crate::body::Kind;

/// What `--help` prints.
pub const USAGE: &str = "\
misbehaving_plant: a free-running plant that fails on command; see the head of main.rs

  --name NAME               plant name                                        [foreign]
  --listen tcp/HOST:PORT    endpoint on this machine; port 0 lets the system choose [tcp/127.0.0.1:0]
  --joints N                joints, 1 to 63                                   [6]
  --kind position|rate      what a command is                                 [position]
  --rate-hz HZ              control rate, 1 to 1000                           [20]
  --pose a,b,..             where it stands at the start, one value per joint [zeros]
  --log FILE                one JSON line per period, message and fault; emptied at the start
  --latency-out-ms MS       plant to controller, 0 to 60000                   [0]
  --latency-in-ms MS        controller to plant, 0 to 60000                   [0]
  --clock-offset-ms MS      added to its clock, which begins at 1000 s; from -900000 [0]
  --command-timeout-ms MS   stops by itself without commands, 1 to 600000     [200]
  --noise RAD               noise of the joint sensors, 0 to 1                [0.000001]
  --strict                  refuses as a good host does; without it, every action of its session is executed
  --no-echo                 its heartbeat never says when it heard the controller's
  --resumes                 moves again at the next action after it stopped by itself, without a reset
  --libero-observation      shows a LIBERO-Spatial scene; an action has a discrete gripper as its 7th value
  --cameras                 publishes a frame of each of LIBERO's two cameras, 128 x 128 pixels, in each period

Faults are lines on standard input; it ends with standard input or `quit`.";

/// Settings of one plant.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// Plant name.
    pub name: String,
    /// Endpoint at which the plant listens.
    pub listen: Endpoint,
    /// Number of joints that move.
    pub joints: usize,
    /// Meaning of a command: position or rate.
    pub kind: Kind,
    /// Control period.
    pub period: Duration,
    /// Initial joint positions, `[joints]`, radians.
    pub pose: Vec<f64>,
    /// Log file; `None` writes no log.
    pub log: Option<PathBuf>,
    /// Delay from plant to controller.
    pub latency_out: Duration,
    /// Delay from controller to plant.
    pub latency_in: Duration,
    /// Offset added to the plant's clock, milliseconds.
    pub clock_offset_ms: i64,
    /// Time without a command after which the plant stops by itself.
    pub command_timeout: Duration,
    /// Amplitude of the noise of the joint sensors, radians.
    pub noise: f64,
    /// Whether the plant refuses actions of other episodes and with old sequence numbers.
    pub strict: bool,
    /// Whether the plant's heartbeat omits the echo of the controller's heartbeat.
    pub no_echo: bool,
    /// Whether an action ends a stop that the plant made by itself, without a reset.
    pub resumes: bool,
    /// Whether observations show a LIBERO-Spatial scene.
    pub libero: bool,
    /// Whether two cameras publish frames.
    pub cameras: bool,
}

impl Arguments {
    /// Parses the words after the program's name.
    ///
    /// # Errors
    /// Names the argument, what was expected and what was found.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let mut parsed = Self {
            name: "foreign".into(),
            listen: endpoint("tcp/127.0.0.1:0")?,
            joints: 6,
            kind: Kind::Position,
            period: Duration::from_millis(50),
            pose: Vec::new(),
            log: None,
            latency_out: Duration::ZERO,
            latency_in: Duration::ZERO,
            clock_offset_ms: 0,
            command_timeout: Duration::from_millis(200),
            noise: 1e-6,
            strict: false,
            no_echo: false,
            resumes: false,
            libero: false,
            cameras: false,
        };
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag}: expected a value, found none"));
            match flag.as_str() {
                "--name" => parsed.name = value()?,
                "--listen" => parsed.listen = endpoint(&value()?)?,
                "--joints" => parsed.joints = number(&flag, &value()?, 1, 63)?,
                "--kind" => parsed.kind = kind(&value()?)?,
                "--rate-hz" => {
                    parsed.period =
                        Duration::from_secs_f64(1.0 / number::<f64>(&flag, &value()?, 1.0, 1000.0)?);
                }
                "--pose" => parsed.pose = list(&flag, &value()?)?,
                "--log" => parsed.log = Some(value()?.into()),
                "--latency-out-ms" => parsed.latency_out = milliseconds(&flag, &value()?, 0, 60_000)?,
                "--latency-in-ms" => parsed.latency_in = milliseconds(&flag, &value()?, 0, 60_000)?,
                "--clock-offset-ms" => {
                    parsed.clock_offset_ms = number(&flag, &value()?, -900_000, 1_000_000_000_000)?;
                }
                "--command-timeout-ms" => {
                    parsed.command_timeout = milliseconds(&flag, &value()?, 1, 600_000)?;
                }
                "--noise" => parsed.noise = number(&flag, &value()?, 0.0, 1.0)?,
                "--strict" => parsed.strict = true,
                "--no-echo" => parsed.no_echo = true,
                "--resumes" => parsed.resumes = true,
                "--libero-observation" => parsed.libero = true,
                "--cameras" => parsed.cameras = true,
                _ => return Err(format!("expected an argument that --help lists, found {flag:?}")),
            }
        }
        if parsed.pose.is_empty() {
            parsed.pose = vec![0.0; parsed.joints];
        }
        if parsed.pose.len() != parsed.joints {
            let (joints, found) = (parsed.joints, parsed.pose.len());
            return Err(format!("--pose: expected {joints} values, one per joint, found {found}"));
        }
        if parsed.libero && parsed.joints != 6 {
            return Err(format!("--joints: expected 6 with --libero-observation, found {}", parsed.joints));
        }
        Ok(parsed)
    }

    /// Returns the number of values per action: a LIBERO action ends with a gripper value, which moves no joint.
    pub fn action_width(&self) -> usize {
        self.joints + usize::from(self.libero)
    }

    /// Returns the number of joint positions per observation: a LIBERO arm shows a seventh joint, which never moves.
    pub fn shown_joints(&self) -> usize {
        self.joints + usize::from(self.libero)
    }
}

/// Parses comma-separated numbers; infinite values and NaN are errors.
///
/// # Errors
/// The error text names `what` and `text`.
pub fn list(what: &str, text: &str) -> Result<Vec<f64>, String> {
    let finite = |part: &str| part.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    let numbers: Option<Vec<f64>> = text.split(',').map(finite).collect();
    numbers.ok_or_else(|| format!("{what}: expected finite numbers with commas between, found {text:?}"))
}

/// Parses a number from `low` to `high`, both included.
///
/// # Errors
/// The error text names `what`, the range and `text`.
pub fn number<T: FromStr + PartialOrd + Display + Copy>(
    what: &str,
    text: &str,
    low: T,
    high: T,
) -> Result<T, String> {
    let parsed = text.parse::<T>().ok().filter(|value| (low..=high).contains(value));
    parsed.ok_or_else(|| format!("{what}: expected {low} to {high}, found {text:?}"))
}

/// Parses whole milliseconds from `low` to `high`, both included.
///
/// # Errors
/// The error text names `what`, the range and `text`.
pub fn milliseconds(what: &str, text: &str, low: u64, high: u64) -> Result<Duration, String> {
    number(what, text, low, high).map(Duration::from_millis)
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: LinkError| format!("--listen: {error}"))
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "position" => Ok(Kind::Position),
        "rate" => Ok(Kind::Rate),
        _ => Err(format!("--kind: expected position or rate, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, String> {
        Arguments::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_argument_is_read() {
        let parsed = parse(
            "--name arm --listen tcp/127.0.0.1:7448 --joints 2 --kind rate --rate-hz 50 --pose 0.1,-2 --log a.jsonl \
             --latency-out-ms 100 --latency-in-ms 200 --clock-offset-ms -5000 --command-timeout-ms 300 --noise 0 \
             --strict --no-echo --resumes",
        );
        let expected = Arguments {
            name: "arm".into(),
            listen: "tcp/127.0.0.1:7448".parse().unwrap(),
            joints: 2,
            kind: Kind::Rate,
            period: Duration::from_millis(20),
            pose: vec![0.1, -2.0],
            log: Some("a.jsonl".into()),
            latency_out: Duration::from_millis(100),
            latency_in: Duration::from_millis(200),
            clock_offset_ms: -5000,
            command_timeout: Duration::from_millis(300),
            noise: 0.0,
            strict: true,
            no_echo: true,
            resumes: true,
            libero: false,
            cameras: false,
        };
        assert_eq!(parsed, Ok(expected));
    }

    #[test]
    fn a_libero_observation_adds_a_gripper_and_a_joint_that_never_moves() {
        let parsed = parse("--libero-observation").unwrap();
        assert_eq!((parsed.joints, parsed.action_width(), parsed.shown_joints()), (6, 7, 7));
        assert_eq!(parsed.pose, vec![0.0; 6]);
        let plain = parse("--joints 3").unwrap();
        assert_eq!((plain.action_width(), plain.shown_joints()), (3, 3));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected_and_found() {
        for (text, words) in [
            ("--joints 0", ["--joints", "1 to 63", "\"0\""]),
            ("--joints", ["--joints", "a value", "none"]),
            ("--kind torque", ["--kind", "position or rate", "torque"]),
            ("--rate-hz nan", ["--rate-hz", "1 to 1000", "nan"]),
            ("--pose 1,,2", ["--pose", "finite numbers", "1,,2"]),
            ("--pose inf", ["--pose", "finite numbers", "inf"]),
            ("--pose 1,2 --joints 3", ["--pose", "3 values", "found 2"]),
            ("--listen udp/1.2.3.4:5", ["--listen", "tcp/127.0.0.1:7447", "udp/1.2.3.4:5"]),
            ("--latency-in-ms -1", ["--latency-in-ms", "0 to 60000", "-1"]),
            ("--command-timeout-ms 0", ["--command-timeout-ms", "1 to 600000", "\"0\""]),
            ("--joints 7 --libero-observation", ["--joints", "6", "found 7"]),
            ("--jonts 7", ["expected an argument", "--help", "--jonts"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }
}
