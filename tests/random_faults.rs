//! Random faults and operator commands in any order, between processes: `aegis run` against a robot that is not the simulator
//! and fails on command. The executed commands are judged by the rules of `controller/core/tests/random_faults.rs`. These rules
//! do not depend on timing, so the tests do not depend on the speed of the machine.
//!
//! Ages are judged at the time of the controller's decision, because the controller cannot know the delay of its command. When a
//! policy's command is decided, the newest known observation is at most `max_age` plus `stale_steps − 1` periods old. When the
//! chunk of an accepted answer was requested, the observation that it was inferred from was at most `max_age` old. The times at
//! which observations were taken come from the robot's log.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

#[path = "../controller/core/tests/random_faults/judge.rs"]
mod judge;
mod record;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aegis_core::control::Mode;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::common;
use crate::foreign::{ForeignPlant, largest_jump, position_channel, robot_file};
use crate::motion::operate;
use crate::robot::{Run, real_time_slot, recorded, replays};
use judge::Violation;
use record::Record;

const REST: &str = "0.1, 0.2, 0.3, 0.4, 0.5, 0.6";
/// Joint positions of a restarted robot, radians.
const ELSEWHERE: &str = "-1.0, 1.5, -2.0, 1.0, -1.5, 2.0";
/// Limits of velocity, acceleration and jerk: radians per control period, per period² and per period³.
const LIMITS: [f64; 3] = [0.05, 0.02, 0.01];
/// Number of faults and operator commands in a run.
const CARDS: usize = 9;
/// Control periods of the robot between two cards, in addition to the latency of a command.
const BETWEEN: u64 = 6;
/// Time after which a wait fails.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Time between two readings of the robot's log or of the controller's output.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A fault or an operator command.
#[derive(Clone, Copy, Debug)]
enum Card {
    /// Fault commands for the robot, their duration in control periods, and the commands that end the fault.
    Fault(&'static [&'static str], u64, &'static [&'static str]),
    /// The latency of both directions is 150 ms larger for this number of control periods.
    Slow(u64),
    /// An operator command.
    OperatorCommand(&'static str),
    /// The robot's process is killed and restarted with the pose [`ELSEWHERE`].
    Restart,
}

const DECK: [Card; 16] = [
    Card::Fault(&["freeze"], 12, &["thaw"]),
    Card::Fault(&["backward"], 4, &[]),
    Card::Fault(&["glitch"], 2, &[]),
    Card::Fault(&["repeat"], 8, &["heal"]),
    Card::Fault(&["old 4"], 2, &[]),
    Card::Fault(&["nan 2"], 8, &["heal"]),
    Card::Fault(&["huge 4"], 8, &["heal"]),
    Card::Fault(&["silent"], 24, &["speak"]),
    Card::Fault(&["mute"], 34, &["speak"]),
    Card::Fault(&["drop-commands"], 5, &["take-commands"]),
    Card::Slow(10),
    Card::OperatorCommand("stop"),
    Card::OperatorCommand("e-stop"),
    Card::OperatorCommand("reset"),
    Card::OperatorCommand("start"),
    Card::Restart,
];

/// Kind of arm, latency, and the controller's greatest observation age.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    kind: &'static str,
    /// Latency in each direction, milliseconds.
    latency_ms: u64,
    max_age_ms: u64,
}

impl Case {
    fn plant(self, listen: &str, pose: &str) -> ForeignPlant {
        let (pose, latency) = (pose.replace(' ', ""), self.latency_ms.to_string());
        ForeignPlant::start(&[
            "--listen",
            listen,
            "--pose",
            &pose,
            "--kind",
            self.kind,
            "--command-timeout-ms",
            "10000",
            "--libero-observation",
            "--latency-out-ms",
            &latency,
            "--latency-in-ms",
            &latency,
        ])
    }

    /// Writes a robot file whose control periods follow the controller's clock. Returns its path.
    fn robot(self, folder: &Path, endpoint: &str) -> PathBuf {
        let [velocity, acceleration, jerk] = LIMITS;
        let path = if self.kind == "rate" {
            let channel = format!(
                "{{ kind = \"rate\", low = -1, high = 1, velocity = {velocity}, acceleration = {acceleration}, jerk = {jerk} }}"
            );
            let path = robot_file(folder, endpoint, &channel, "0.0, 0.0, 0.0, 0.0, 0.0, 0.0", 10.0);
            for joint in 0..6 {
                common::edit(&path, &format!("\"joint_positions/{joint}\""), "\"\"");
            }
            path
        } else {
            robot_file(folder, endpoint, &position_channel(velocity, acceleration, jerk), REST, 10.0)
        };
        let start = "    { task = 1, initial_state = 50 },\n";
        for (from, to) in [
            ("pace = \"observation\"", "pace = \"clock\"".to_owned()),
            ("max_age_ms = 10000", format!("max_age_ms = {}", self.max_age_ms)),
            ("stale_steps = 200", "stale_steps = 4".to_owned()),
            ("plant_timeout_ms = 10000", "plant_timeout_ms = 1500".to_owned()),
            ("frozen_ms = 0", "frozen_ms = 400".to_owned()),
            // Each operator start uses up one entry of `starts`.
            (start, start.repeat(100)),
        ] {
            common::edit(&path, from, &to);
        }
        path
    }
}

/// A run with its current robot, and the logs of the robots before the current one.
struct Cell {
    case: Case,
    run: Run,
    plant: ForeignPlant,
    endpoint: String,
    logs: Vec<Vec<Value>>,
}

impl Cell {
    fn start(case: Case) -> Self {
        let plant = case.plant("tcp/127.0.0.1:0", REST);
        let folder = common::folder(case.name);
        let robot = case.robot(&folder, &plant.endpoint);
        let mut run = Run::of(&robot, folder.join("run"), &[]);
        run.until("waiting for a start");
        let endpoint = plant.endpoint.clone();
        Self { case, run, plant, endpoint, logs: Vec::new() }
    }

    /// Waits until `is_asked` returns true. `is_asked` may act on the run.
    #[track_caller]
    fn until(&mut self, is_asked: impl Fn(&mut Self) -> bool) {
        let begin = Instant::now();
        while !is_asked(self) {
            let mode = self.run.mode();
            assert!(begin.elapsed() < TIMEOUT, "in vain, in {mode:?}: {:#?}", self.run.seen);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for a number of control periods of the robot.
    fn pass(&mut self, periods: u64) {
        let until = period(&self.plant) + periods;
        self.until(|cell| period(&cell.plant) > until);
    }

    /// Sends operator resets and starts until a policy drives, then waits for [`BETWEEN`] periods plus the latency.
    fn drive(&mut self) {
        self.until(|cell| {
            // A command may be lost, or the robot may still be moving, so commands are repeated.
            let wish = match cell.run.mode() {
                Some(Mode::Weak | Mode::Strong) => return true,
                Some(Mode::Holding) => return false,
                Some(Mode::SafeStop | Mode::EStop) => "reset",
                Some(Mode::Idle) | None => "start",
            };
            operate(wish, &cell.endpoint);
            false
        });
        self.pass(BETWEEN + self.case.latency_ms / 50);
    }

    fn is_latched(&mut self) -> bool {
        self.run.mode().is_some_and(Mode::is_latched)
    }

    fn play(&mut self, card: Card) {
        match card {
            Card::Fault(begin, periods, end) => {
                begin.iter().for_each(|line| self.plant.command(line));
                self.pass(periods);
                end.iter().for_each(|line| self.plant.command(line));
            }
            Card::Slow(periods) => {
                let base = self.case.latency_ms;
                for latency in [base + 150, base] {
                    for line in ["latency-out", "latency-in"] {
                        self.plant.command(&format!("{line} {latency}"));
                    }
                    self.pass(periods);
                }
            }
            Card::OperatorCommand(wish) => {
                let stops = matches!(wish, "stop" | "e-stop");
                self.until(|cell| {
                    let is_heard = operate(wish, &cell.endpoint);
                    if stops { cell.is_latched() } else { is_heard }
                });
            }
            Card::Restart => {
                self.plant.kill();
                self.logs.push(self.plant.log());
                // The restarted robot does not stand at the last executed command.
                self.plant = self.case.plant(&self.endpoint, ELSEWHERE);
                self.until(Self::is_latched);
            }
        }
    }

    /// Ends the run and checks that its record replays. Returns its folder and every robot's log.
    fn end(mut self) -> (PathBuf, Vec<Vec<Value>>) {
        self.run.signal("TERM");
        let (code, folder) = self.run.code();
        assert_eq!(code, Some(5));
        replays(&folder);
        self.logs.push(self.plant.log());
        (folder, self.logs)
    }
}

/// Returns the number of the robot's newest control period. Logs grow long, so only the last line is parsed.
fn period(plant: &ForeignPlant) -> u64 {
    let text = std::fs::read_to_string(&plant.log_file).expect("it made its log before it was ready");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = &whole[whole.rfind('\n').map_or(0, |end| end + 1)..];
    let line: Value = serde_json::from_str(line).expect("each line is JSON");
    line["period"].as_u64().expect("every line has its period")
}

/// Plays a run with [`CARDS`] random cards, one of them a restart, and checks that no rule was violated.
fn hold(case: Case, seed: u64) {
    let _slot = real_time_slot();
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut cards = DECK;
    cards[..DECK.len() - 1].shuffle(&mut generator);
    let mut cards = [&cards[..CARDS - 1], &[Card::Restart]].concat();
    cards.shuffle(&mut generator);
    let mut cell = Cell::start(case);
    for card in &cards {
        cell.drive();
        cell.play(*card);
    }
    cell.drive();
    let (folder, logs) = cell.end();
    let record = Record::read(&folder);
    let (executed, found) = record.judge(&logs, Duration::from_millis(case.latency_ms));
    let first: Vec<&Violation> = found.iter().take(8).collect();
    assert!(found.is_empty(), "{} violations after {cards:?}: {first:#?}", found.len());
    // The run has to contain enough driven and latched commands for the rules to mean something.
    let of = |is_asked: fn(Mode) -> bool| executed.iter().filter(|one| is_asked(one.place.mode)).count();
    let (driven, latched) = (of(Mode::drives), of(Mode::is_latched));
    assert!(driven > 40 && latched > 0, "{driven} of a policy, {latched} in a latch");
    assert!(logs.len() == 2 && logs.iter().all(|log| largest_jump(log) > 1e-3), "both robots moved");
}

#[test]
fn a_position_arm_keeps_its_limits_through_faults_in_any_order() {
    let case = Case { name: "random-position", kind: "position", latency_ms: 0, max_age_ms: 800 };
    hold(case, 1);
}

#[test]
fn a_rate_arm_keeps_its_limits_through_faults_in_any_order() {
    hold(Case { name: "random-rate", kind: "rate", latency_ms: 0, max_age_ms: 800 }, 2);
}

#[test]
fn an_arm_300_ms_away_keeps_its_limits_through_faults_in_any_order() {
    hold(Case { name: "random-away", kind: "position", latency_ms: 300, max_age_ms: 800 }, 3);
}

#[test]
fn an_arm_whose_observations_take_longer_than_they_may_is_not_driven() {
    let _slot = real_time_slot();
    let case = Case { name: "random-far", kind: "position", latency_ms: 300, max_age_ms: 200 };
    let mut cell = Cell::start(case);
    cell.until(|cell| operate("start", &cell.endpoint));
    cell.run.until("no start: ");
    cell.pass(2 * BETWEEN + case.latency_ms / 50);
    let (folder, logs) = cell.end();
    let decided = recorded(&folder);
    assert!(!decided.modes.iter().any(|mode| mode.is_on()), "no episode was begun");
    assert!(logs.iter().all(|log| largest_jump(log) == 0.0));
}
