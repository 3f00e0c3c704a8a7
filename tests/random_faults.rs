//! Faults and wishes in any order, between processes: `aegis run` against a robot that is not the simulator and fails on
//! command. Judged on what the robot executed, by the rules of `controller/core/tests/random_faults.rs`, which hold whatever
//! the timing; so nothing here depends on how fast the machine is.
//!
//! Of an answer's age only what the controller can know is judged here, at the moment of its decision: the newest observation
//! known is at most `max_age` and `stale_steps − 1` periods old, and a chunk that counts was asked for when what it read was at
//! most `max_age` old; by the robot's own log, which observations were taken at what time.
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
/// Where a robot stands that has restarted.
const ELSEWHERE: &str = "-1.0, 1.5, -2.0, 1.0, -1.5, 2.0";
/// Radians per control period, and the changes of these.
const LIMITS: [f64; 3] = [0.05, 0.02, 0.01];
/// Faults and wishes of a run.
const CARDS: usize = 9;
/// Periods of the robot between two of them, beside those that a command is on its way.
const BETWEEN: u64 = 6;
/// Ends a test that would hang.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Between two looks at a log or at what the controller says.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Card {
    /// Commands to the robot, so many of its periods, and the commands that end the fault.
    Fault(&'static [&'static str], u64, &'static [&'static str]),
    /// Both lines take 150 ms more for so many periods.
    Slow(u64),
    /// What an operator says.
    OperatorCommand(&'static str),
    /// The robot's process is killed, and comes back elsewhere.
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

/// An arm and the controller's patience with it.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    kind: &'static str,
    /// Of both lines, milliseconds.
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

    /// Commands by the controller's own clock: control steps are time.
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
            // Every start that an operator says takes one.
            (start, start.repeat(100)),
        ] {
            common::edit(&path, from, &to);
        }
        path
    }
}

/// A run with its robot, and the logs of the robots before it.
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

    /// Waits until it is as asked, with something done before each look.
    #[track_caller]
    fn until(&mut self, is_asked: impl Fn(&mut Self) -> bool) {
        let begin = Instant::now();
        while !is_asked(self) {
            let mode = self.run.mode();
            assert!(begin.elapsed() < TIMEOUT, "in vain, in {mode:?}: {:#?}", self.run.seen);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// So many control periods of the robot go by.
    fn pass(&mut self, periods: u64) {
        let until = period(&self.plant) + periods;
        self.until(|cell| period(&cell.plant) > until);
    }

    /// An operator resets and starts until a policy drives, whatever had stopped it; then the robot may move for a while.
    fn drive(&mut self) {
        self.until(|cell| {
            // Nobody may hear it, or it may still move: it is said again.
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
                // What the robot executed last is not what the next one stands at.
                self.plant = self.case.plant(&self.endpoint, ELSEWHERE);
                self.until(Self::is_latched);
            }
        }
    }

    /// Ends the run; returns its folder and every robot's log.
    fn end(mut self) -> (PathBuf, Vec<Vec<Value>>) {
        self.run.signal("TERM");
        let (code, folder) = self.run.code();
        assert_eq!(code, Some(5));
        replays(&folder);
        self.logs.push(self.plant.log());
        (folder, self.logs)
    }
}

/// Number of a robot's newest control period. A log grows long, so only its last line is read.
fn period(plant: &ForeignPlant) -> u64 {
    let text = std::fs::read_to_string(&plant.log_file).expect("it made its log before it was ready");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = &whole[whole.rfind('\n').map_or(0, |end| end + 1)..];
    let line: Value = serde_json::from_str(line).expect("each line is JSON");
    line["period"].as_u64().expect("every line has its period")
}

/// Plays a run of some cards, a restart among them, and holds that nothing happened that must not.
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
    // None of it is said of nothing.
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
