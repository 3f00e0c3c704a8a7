//! Helpers for a robot that is not the project's simulator. The robot is the process `misbehaving_plant`, an example of
//! `aegis-link`; its log states what it executed. Faults are lines on its standard input, listed in `misbehaving_plant --help`
//! and in the example's `faults.rs`.
//!
//! How a test runs `aegis run` against this plant with the shipped policies, which read LIBERO observations only:
//! 1. `ForeignPlant::start(&["--libero-observation", "--pose", POSE])`: six joints and a gripper, width 7, `tasks` 10;
//! 2. `robot_file(&folder, &plant.endpoint, &position_channel(..), POSE)`, then `aegis run FILE --out DIR`;
//! 3. wait with `plant.until(..)` for a period whose `command` is not null, then `plant.command("..")` for the fault;
//! 4. `operate`, kill and restart the plant or the run as `tests/robot.rs` does, and end the run with a signal;
//! 5. judge `plant.log()`: `largest_jump`, `moved_while(&log, |line| latched(line))`, `oldest_answer`. The policies output rates
//!    of -1 to 1. Taken as positions, the steps within such a chunk exceed every limit, so the limits are exercised.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aegis_core::Start;
use aegis_link::{Claimant, FreeRunningPlant, Role};
use serde_json::Value;

/// Time after which a test that waits for a log line fails.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Time between two readings of a log.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Plant name that [`ForeignPlant::start`] passes to the process.
pub const NAME: &str = "foreign";

/// A process of the misbehaving plant, killed when the test ends.
pub struct ForeignPlant {
    process: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Zenoh endpoint on which the plant listens.
    pub endpoint: String,
    /// Path of the plant's log. Each process has a separate file.
    pub log_file: PathBuf,
}

/// Returns the path of the example's executable beside the binary; `cargo test --workspace` builds both.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_aegis")).parent().expect("a program is in a folder");
    let program = folder.join("examples").join(format!("misbehaving_plant{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{}: expected the misbehaving plant, found nothing; build it with `cargo build -p aegis-link --example \
         misbehaving_plant`, with --release where the tests have it",
        program.display()
    );
    program
}

impl ForeignPlant {
    /// Starts a plant named `foreign` on a free port. `arguments` can override both; `--log` is set here.
    pub fn start(arguments: &[&str]) -> Self {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        let log_file = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("foreign-{}-{number}.jsonl", std::process::id()));
        let mut process = Command::new(program())
            .args(["--name", NAME, "--log"])
            .arg(&log_file)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let stdin = process.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let ready =
            answers.next().expect("it says that it is ready, or why not on standard error").expect("text");
        let endpoint = ready.rsplit(' ').next().expect("an endpoint").to_owned();
        Self { process, stdin, answers, endpoint, log_file }
    }

    /// Sends a fault command and waits for its acknowledgement. The command is in the plant's log when this returns.
    #[track_caller]
    pub fn command(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it lives");
        self.stdin.flush().expect("it lives");
        let answer = self.answers.next().expect("it answers").expect("text");
        assert_eq!(answer, format!("ok {line}"));
    }

    /// Kills the process, as a loss of power would. The log file stays.
    pub fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }

    /// Returns the log lines written so far, without an incomplete last line.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log_file).expect("it made its log before it was ready");
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    /// Waits for a log line for which `is_asked` holds, and returns the first such line.
    #[track_caller]
    pub fn until(&self, is_asked: impl Fn(&Value) -> bool) -> Value {
        self.until_trying(is_asked, || {})
    }

    /// Waits as [`Self::until`] does, and calls `attempt` before each reading of the log.
    #[track_caller]
    pub fn until_trying(&self, is_asked: impl Fn(&Value) -> bool, mut attempt: impl FnMut()) -> Value {
        let begin = Instant::now();
        while begin.elapsed() < TIMEOUT {
            attempt();
            if let Some(line) = self.log().into_iter().find(|line| is_asked(line)) {
                return line;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        panic!("no such line in {}; the last is {:?}", self.log_file.display(), self.log().last());
    }
}

impl Drop for ForeignPlant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether a log line is that of a control period.
pub fn is_period(line: &Value) -> bool {
    line["what"] == "period"
}

/// Returns the joint positions after a log line, `[joints]`, radians.
pub fn executed(line: &Value) -> Vec<f64> {
    let joints = line["executed"].as_array().expect("every line has joints");
    joints.iter().map(|joint| joint.as_f64().expect("a finite position")).collect()
}

/// Returns the change of each joint in each control period, radians, with the log line of that period. Lines that are not
/// control periods, such as a push by hand or a restart, are skipped.
fn steps(lines: &[Value]) -> impl Iterator<Item = (&Value, Vec<f64>)> {
    let pairs = lines.iter().zip(lines.iter().skip(1)).filter(|(_, after)| is_period(after));
    pairs.map(|(before, after)| {
        let (from, to) = (executed(before), executed(after));
        let change: Vec<f64> = to.iter().zip(&from).map(|(to, from)| to - from).collect();
        (after, change)
    })
}

/// Returns the largest executed change of any joint in one control period, radians. `lines` may be a part of a log.
pub fn largest_jump(lines: &[Value]) -> f64 {
    steps(lines).flat_map(|(_, change)| change).fold(0.0_f64, |largest, change| largest.max(change.abs()))
}

/// Returns the path length of the joint that moved most, over the periods for which `is_asked` holds, radians.
pub fn moved_while(lines: &[Value], is_asked: impl Fn(&Value) -> bool) -> f64 {
    let mut ways: Vec<f64> = Vec::new();
    for (line, change) in steps(lines) {
        if is_asked(line) {
            ways.resize(change.len(), 0.0);
            ways.iter_mut().zip(change).for_each(|(way, change)| *way += change.abs());
        }
    }
    ways.into_iter().fold(0.0_f64, f64::max)
}

/// Returns the largest time from the publication of an observation to the first execution of an action that answers it, seconds
/// on the plant's clock.
///
/// # Panics
/// If an action answers an observation of the same episode that was never published.
pub fn oldest_answer(lines: &[Value]) -> f64 {
    let mut published = std::collections::HashMap::new();
    let mut oldest = 0.0_f64;
    let mut last = None;
    for line in lines {
        let time = line["t"].as_f64().expect("every line has a time");
        if line["message"] == "Reset" {
            // The answer to a reset is observation 0; observation numbers start again.
            published = std::collections::HashMap::from([(0, time)]);
            last = None;
        }
        let number = (line["episode"].as_u64(), line["sequence"].as_u64());
        // A rate command is executed again in each period until the next command arrives.
        if is_period(line) && !line["command"].is_null() && last != Some(number) {
            let answers = line["observation"].as_u64().expect("an action answers an observation");
            let at = published.get(&answers).unwrap_or_else(|| panic!("never published: {line}"));
            oldest = oldest.max(time - at);
            last = Some(number);
        }
        if let Some(number) = line["published"].as_u64() {
            published.insert(number, time);
        }
    }
    oldest
}

/// Returns the TOML of one position channel for [`robot_file`]. The limits are in radians per control period, per period² and
/// per period³.
pub fn position_channel(velocity: f64, acceleration: f64, jerk: f64) -> String {
    format!(
        "{{ kind = \"position\", low = -3, high = 3, velocity = {velocity}, acceleration = {acceleration}, jerk = {jerk} }}"
    )
}

/// Writes the shipped robot file, changed for this plant, into `folder` and returns its path. `channel` is the TOML of each of
/// the six channels before the gripper, `rest` their six comma-separated rest values, and `start_within` the largest distance
/// of a position from `rest` at a start, radians.
pub fn robot_file(folder: &Path, endpoint: &str, channel: &str, rest: &str, start_within: f64) -> PathBuf {
    common::copy_of_study(folder);
    std::fs::create_dir_all(folder.join("controller")).unwrap();
    let path = folder.join("controller/libero.toml");
    std::fs::copy(common::repository().join("controller/libero.toml"), &path).unwrap();
    let joints: Vec<String> = (0..6).map(|joint| format!("\"joint_positions/{joint}\"")).collect();
    let rest = format!("rest = [{rest}, -1.0]\npose = [{}, \"\"]", joints.join(", "));
    let limits = format!("limits = \"always\"\nstart_within = {start_within}\nfollow_within = 100");
    for (from, to) in [
        ("plant = \"libero\"", "plant = \"foreign\""),
        ("tcp/127.0.0.1:7447", endpoint),
        ("rest = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]", rest.as_str()),
        ("{ kind = \"rate\", low = -1, high = 1, acceleration = 0.5, jerk = 0.25 }", channel),
        ("limits = \"until_caught_up\"", limits.as_str()),
        // Each observation begins a period and is answered in it, so there are as many commands as observations.
        ("ask_strong = true", "ask_strong = true\npace = \"observation\""),
    ] {
        common::edit(&path, from, to);
    }
    crate::robot::wait_longer(&path);
    path
}

#[test]
fn a_foreign_plant_executes_what_carries_its_session_and_says_so() {
    let mut plant =
        ForeignPlant::start(&["--joints", "2", "--pose", "0.5,-0.5", "--command-timeout-ms", "60000"]);
    let session = aegis_link::open(Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    let mut claimed = FreeRunningPlant::claim(&session, NAME, Claimant::new("test"), |_| ()).unwrap();
    assert_eq!((claimed.claimed().action_width, claimed.claimed().period_ns), (2, 50_000_000));
    let (episode, first) = claimed.reset(Start { task: 0, initial_state: 0 }).unwrap();
    let seen = first.feature("joint_positions").unwrap();
    assert!((seen[0] - 0.5).abs() < 1e-3 && (seen[1] + 0.5).abs() < 1e-3, "a reset moves nothing: {seen:?}");
    let sender = claimed.sender().unwrap();
    let executes = |number: u32| move |line: &Value| is_period(line) && line["sequence"] == number;
    // Commands may be lost before the Zenoh route is established.
    let line = plant.until_trying(executes(1), || {
        sender.send(episode, 1, 0, 0, &[0.75, -0.5]).unwrap();
    });
    assert_eq!((executed(&line), &line["episode"]), (vec![0.75, -0.5], &Value::from(episode)));
    // A command of another episode and far away: without `--strict` this plant executes it.
    plant.until_trying(executes(2), || {
        sender.send(episode + 7, 2, 0, 0, &[-1.25, -0.5]).unwrap();
    });
    let log = plant.log();
    assert_eq!((largest_jump(&log), moved_while(&log, |line| line["episode"] == episode)), (2.0, 0.25));
    assert_eq!(log.last().unwrap()["jump"], 2.0);
    // With its commands dropped and pushed by hand, the plant no longer executes the commands.
    plant.command("drop-commands");
    // A command that arrived just before the fault is still executed.
    let now = plant.log().last().unwrap()["period"].as_u64().unwrap();
    plant.until(|line| line["period"].as_u64() > Some(now));
    plant.command("pose 0,0");
    sender.send(episode, 3, 0, 0, &[1.0, 1.0]).unwrap();
    plant.until(|line| line["message"] == "Action" && line["sequence"] == 3 && !line["event"].is_null());
    let log = plant.log();
    assert_eq!((executed(log.last().unwrap()), largest_jump(&log)), (vec![0.0, 0.0], 2.0));
    plant.kill();
    assert!(plant.log().len() >= log.len(), "a kill leaves its log");
}

#[test]
fn a_command_of_an_episode_before_the_reset_is_not_sent() {
    let plant = ForeignPlant::start(&["--joints", "1", "--command-timeout-ms", "60000"]);
    let session = aegis_link::open(Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    let mut claimed = FreeRunningPlant::claim(&session, NAME, Claimant::new("test"), |_| ()).unwrap();
    let sender = claimed.sender().unwrap();
    let start = Start { task: 0, initial_state: 0 };
    let (first, _) = claimed.reset(start).unwrap();
    assert!(sender.send(first, 1, 0, 0, &[0.25]).unwrap());
    let (second, _) = claimed.reset(start).unwrap();
    assert!(!sender.send(first, 2, 0, 0, &[0.5]).unwrap(), "as a stop would while the next episode begins");
    // Commands may be lost before the Zenoh route is established.
    let is_executed = |line: &Value| is_period(line) && line["episode"] == second;
    plant.until_trying(is_executed, || assert!(sender.send(second, 1, 0, 0, &[0.125]).unwrap()));
    assert!(!plant.log().iter().any(|line| executed(line) == [0.5]));
}
