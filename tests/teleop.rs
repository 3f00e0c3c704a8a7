//! Tests a person as the backup between real processes: `aegis run`, a robot of six position joints that is not the simulator, and an
//! operator's program that does what it should not (`tests/teleop/person.py`) or the project's own (`teleop.py`). What the robot
//! executed is judged by its own log.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use aegis_core::control::{Mode, RefusalReason, StopReason, TeleopFault, TickRecord};
use aegis_recorder::run_log::RunReader;
use serde_json::Value;

use crate::common;
use crate::foreign::{ForeignPlant, NAME, executed, is_period, robot_file};
use crate::motion::{self, REST, is_command, operate};
use crate::robot::{Run, command, real_time_slot, recorded, replays};

/// Time after which a test that waits for a line fails.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longest silence of an operator's program that a busy machine may cause and that is no fault, milliseconds.
const BUSY_MS: u32 = 10_000;
/// Largest change of a joint's command in one control period, as `motion::channel` has it, radians.
const VELOCITY: f64 = 0.05;

/// A process whose lines are read, killed when the test ends.
struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the process starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let stdin = child.stdin.take().expect("it is piped");
        Self { child, stdin, lines }
    }

    /// Waits for a line that contains `word`; returns it.
    #[track_caller]
    fn until(&self, word: &str) -> String {
        let (mut seen, begin) = (Vec::new(), Instant::now());
        while begin.elapsed() < TIMEOUT
            && let Ok(line) = self.lines.recv_timeout(TIMEOUT)
        {
            if line.contains(word) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {word:?} in {seen:#?}");
    }

    /// Writes a line that the process confirms.
    #[track_caller]
    fn tell(&mut self, line: &str) {
        self.type_in(line);
        self.until(&format!("ok {line}"));
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it reads its standard input");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a command of the Python environment that `cargo xtask test` creates, for a script of this repository.
fn python(script: &str) -> Command {
    let python = common::repository().join(".deps/python/bin/python");
    assert!(python.is_file(), "{}: missing; run `cargo xtask test`", python.display());
    let mut command = Command::new(python);
    command
        .arg(common::repository().join(script))
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TERM", "xterm");
    command
}

fn operator(endpoint: &str) -> Process {
    Process::start(python("tests/teleop/person.py").args(["--name", NAME, "--connect", endpoint]))
}

/// Writes the robot file of an arm whose gate fires by the schedule `at`, and whose backup is a person.
fn by_hand(folder: &Path, endpoint: &str, at: &str, [stream_ms, answer_ms]: [u32; 2]) -> PathBuf {
    let robot = robot_file(folder, endpoint, &motion::channel(), REST, 10.0);
    let person = format!(
        "strong = {{ operator = {{ stream_timeout_ms = {stream_ms}, answer_within_ms = {answer_ms} }} }}"
    );
    for (from, to) in [
        ("strong = \"../policies/models/strong.toml\"", &*person),
        ("ask_strong = true", "ask_strong = false"),
        ("kind = \"conformal\"", &format!("kind = \"blind\"\nschedule = {at}")),
        ("guard_fraction = 0.20", "guard_fraction = 0.0"),
        ("horizon_steps = 220", "horizon_steps = 2000"),
        ("duty_cap = 0.75", "duty_cap = 1.0"),
    ] {
        common::edit(&robot, from, to);
    }
    robot
}

/// A robot, its run, and an operator's program that has been called.
struct Cell {
    operator: Process,
    run: Run,
    plant: ForeignPlant,
}

impl Cell {
    fn called(name: &str, at: &str, times: [u32; 2]) -> Self {
        let plant = motion::plant("tcp/127.0.0.1:0", REST);
        let folder = common::folder(name);
        let robot = by_hand(&folder, &plant.endpoint, at, times);
        let mut run = Run::of(&robot, folder.join("run"), &[]);
        run.until("waiting for a start");
        let operator = operator(&plant.endpoint);
        operator.until("quiet 0");
        assert!(operate("start", &plant.endpoint));
        run.until("Weak");
        run.until("call 1: an operator is called");
        operator.until("called 1");
        Self { operator, run, plant }
    }

    /// Lets the operator take over at the robot's last command.
    fn driven(name: &str, at: &str, times: [u32; 2]) -> Self {
        let mut cell = Self::called(name, at, times);
        cell.comes_to_rest();
        cell.operator.tell("engage");
        cell.operator.until("mine 1");
        cell.run.until("Strong");
        cell
    }

    /// Returns the number of the plant's newest period.
    fn now(&self) -> u64 {
        self.plant.log().iter().rev().find_map(|line| line["period"].as_u64()).expect("it runs")
    }

    /// Waits until the robot has executed ten more periods.
    fn ten_periods(&self) -> Vec<f64> {
        let now = self.now();
        executed(&self.plant.until(|line| is_period(line) && line["period"].as_u64() >= Some(now + 10)))
    }

    /// Waits until the robot stands still; returns where.
    fn comes_to_rest(&self) -> Vec<f64> {
        let mut last = self.ten_periods();
        loop {
            let next = self.ten_periods();
            if next == last {
                return last;
            }
            last = next;
        }
    }

    /// Waits for a safe stop, ends the run, and checks the reason, the record and that nothing jumped.
    #[track_caller]
    fn stops(mut self, cause: StopReason) -> PathBuf {
        self.run.until("SafeStop");
        self.comes_to_rest();
        self.has_stopped(cause)
    }

    /// Ends a run that has stopped, and checks the reason, the record and that nothing jumped.
    #[track_caller]
    fn has_stopped(self, cause: StopReason) -> PathBuf {
        self.nothing_jumped();
        let folder = self.run.end();
        assert_eq!(recorded(&folder).causes.last().unwrap(), &Some(cause));
        folder
    }

    /// Checks that no joint moved by more in one command than its limit allows, and to no value that is not finite.
    #[track_caller]
    fn nothing_jumped(&self) {
        let log = self.plant.log();
        let commands: Vec<&Value> = log.iter().filter(|line| is_command(line)).collect();
        for pair in commands.windows(2) {
            let number = |line: &Value| line["sequence"].as_u64().expect("a command has a number");
            let passed = (number(pair[1]) - number(pair[0])) as f64;
            for (from, to) in executed(pair[0]).iter().zip(executed(pair[1])) {
                assert!(
                    (to - from).abs() <= VELOCITY * passed.max(1.0) + 1e-5,
                    "{from} to {to}: {}",
                    pair[1]
                );
            }
        }
    }
}

fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

/// Returns why first commands were refused, by the record.
fn refusals(folder: &Path) -> Vec<RefusalReason> {
    let mut reader = RunReader::open(&folder.join("run.aegis")).expect("it was recorded");
    let mut refused = Vec::new();
    while let Some(bytes) = reader.next_period().unwrap() {
        let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).expect("a period");
        refused.extend(period.output.call.and_then(|report| report.refused).map(|refused| refused.reason));
    }
    refused
}

#[test]
fn an_operator_takes_over_without_a_jump_and_the_weak_policy_drives_when_they_let_go() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-whole", "{ every = { first = 1, period = 10 } }", [BUSY_MS, 120_000]);
    let from = cell.ten_periods();
    cell.operator.tell("move 0 0.3");
    cell.plant.until(|line| is_period(line) && (executed(line)[0] - from[0] - 0.3).abs() < 1e-4);
    cell.operator.tell("release");
    cell.run.until("call 1: the operator has let go");
    cell.run.until("Weak");
    // The second fire calls again; the answer to the first call is none to the second.
    cell.run.until("call 2: an operator is called");
    cell.operator.until("called 2");
    cell.comes_to_rest();
    cell.operator.tell("engage");
    cell.operator.until("mine 2");
    cell.nothing_jumped();
    let folder = cell.run.end();
    let record = recorded(&folder);
    // The decided commands: their first, second and third differences are within velocity, acceleration and jerk.
    for channel in 0..6 {
        let differences =
            |values: Vec<f64>| values.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        let values = record.commands.iter().map(|command| f64::from(command[channel])).collect();
        let velocity = differences(values);
        let acceleration = differences(velocity.clone());
        let jerk = differences(acceleration.clone());
        for (found, limit) in [(velocity, 0.05), (acceleration, 0.02), (jerk, 0.01)] {
            let largest = found.into_iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            assert!(largest <= limit + 1e-4, "channel {channel}: {largest} beyond {limit}");
        }
    }
    let operator = &summary(&folder)["operator"];
    let count = |key: &str| operator[key].as_u64();
    assert_eq!(
        [count("calls"), count("answered"), count("unanswered"), count("let_go")],
        [Some(2), Some(2), Some(0), Some(1)],
        "{operator}"
    );
    let share = operator["share"].as_f64().unwrap();
    let driven = record.modes.iter().filter(|mode| **mode == Mode::Strong).count() as f64;
    let on = record.modes.iter().filter(|mode| mode.is_on()).count() as f64;
    assert!((share - driven / on).abs() < 1e-9 && share > 0.0 && share < 1.0, "{operator}");
    let answers = operator["answer_s"]["each"].as_array().unwrap();
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer.as_f64() > Some(0.0)), "{operator}");
    assert!(operator["answer_s"]["max"].as_f64() >= operator["answer_s"]["p50"].as_f64());
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(events.contains("\"answer_s\":"), "an event has the time of the answer");
}

#[test]
fn a_first_command_far_from_the_robot_is_never_executed_and_the_operator_is_told_how_far_it_is() {
    let _slot = real_time_slot();
    let mut cell = Cell::called("teleop-far", "{ at = [1] }", [BUSY_MS, 120_000]);
    let still = cell.comes_to_rest();
    cell.operator.tell("jump 2 0.5");
    assert_eq!(cell.operator.until("refused"), "refused 2 +0.500");
    cell.run.until("may not take over yet: channel 2 is +0.5000 from the last command");
    assert_eq!(cell.ten_periods(), still, "the robot holds");
    // A gripper that would open at the take-over is too far as well.
    cell.operator.tell("jump 6 2");
    cell.operator.until("refused 6 +2.000");
    assert_eq!(cell.ten_periods(), still);
    cell.operator.tell("engage");
    cell.operator.until("mine 1");
    cell.nothing_jumped();
    let folder = cell.run.end();
    assert!(summary(&folder)["operator"]["refused_first_commands"].as_u64() > Some(1));
}

#[test]
fn a_first_command_that_is_not_finite_or_of_another_length_is_refused() {
    let _slot = real_time_slot();
    let mut cell = Cell::called("teleop-first", "{ at = [1] }", [BUSY_MS, 120_000]);
    let still = cell.comes_to_rest();
    // Far away, so that only the faulty command could take over.
    cell.operator.tell("jump 2 0.5");
    cell.operator.until("refused 2 +0.500");
    for fault in ["nan", "width"] {
        cell.operator.tell(fault);
        assert_eq!(cell.ten_periods(), still);
    }
    let refused = refusals(&cell.run.end());
    for fault in [TeleopFault::NotFinite, TeleopFault::Width] {
        assert!(refused.contains(&RefusalReason::Faulty(fault)), "{fault:?}");
    }
}

#[test]
fn a_value_that_is_not_finite_while_a_person_drives_is_a_safe_stop() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-nan", "{ at = [1] }", [BUSY_MS, 120_000]);
    cell.operator.tell("move 1 0.3");
    cell.operator.tell("nan");
    cell.stops(StopReason::OperatorFault);
}

#[test]
fn a_command_of_another_length_while_a_person_drives_is_a_safe_stop() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-width", "{ at = [1] }", [BUSY_MS, 120_000]);
    cell.operator.tell("move 1 -0.3");
    cell.operator.tell("width");
    cell.stops(StopReason::OperatorFault);
}

#[test]
fn a_stream_that_dies_while_a_person_drives_is_a_safe_stop() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-silence", "{ at = [1] }", [3000, 120_000]);
    cell.operator.tell("silence");
    let folder = cell.stops(StopReason::OperatorLost);
    assert_eq!(summary(&folder)["operator"]["answered"], 1);
}

#[test]
fn an_operators_process_that_is_killed_while_they_drive_is_a_safe_stop() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-killed", "{ at = [1] }", [3000, 120_000]);
    cell.operator.tell("move 3 0.4");
    cell.operator.child.kill().unwrap();
    cell.stops(StopReason::OperatorLost);
}

#[test]
fn a_call_that_nobody_answers_is_a_safe_stop_after_the_time_for_an_answer() {
    let _slot = real_time_slot();
    let cell = Cell::called("teleop-nobody", "{ at = [1] }", [BUSY_MS, 3000]);
    let folder = cell.stops(StopReason::Unanswered);
    let operator = &summary(&folder)["operator"];
    assert_eq!((&operator["calls"], &operator["unanswered"]), (&1.into(), &1.into()), "{operator}");
    assert!(operator["answer_s"]["max"].is_null() && operator["share"] == 0.0, "{operator}");
}

#[test]
fn commands_of_another_claim_or_episode_and_old_ones_are_dropped_and_counted_and_the_person_drives_on() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-stray", "{ at = [1] }", [BUSY_MS, 120_000]);
    let from = cell.comes_to_rest();
    cell.operator.tell("stray");
    cell.operator.tell("move 0 0.2");
    // Each of the other commands wants every joint a whole radian further.
    cell.plant.until(|line| is_period(line) && (executed(line)[0] - from[0] - 0.2).abs() < 1e-4);
    let found = cell.comes_to_rest();
    assert!((found[0] - from[0] - 0.2).abs() < 1e-4, "{found:?}");
    assert_eq!(found[1..], from[1..]);
    cell.nothing_jumped();
    let folder = cell.run.end();
    let dropped = summary(&folder)["operator"]["dropped_commands"].as_u64().unwrap();
    assert!(dropped > 30, "{dropped}");
}

#[test]
fn of_two_operators_the_first_drives_and_the_other_takes_nothing_over() {
    let _slot = real_time_slot();
    let mut cell = Cell::driven("teleop-two", "{ at = [1] }", [3000, 120_000]);
    let still = cell.comes_to_rest();
    let mut second = operator(&cell.plant.endpoint);
    second.until("other 1");
    second.tell("engage");
    second.tell("move 4 1.0");
    assert_eq!(cell.ten_periods(), still);
    cell.operator.tell("move 0 0.1");
    cell.plant.until(|line| is_period(line) && (executed(line)[0] - still[0] - 0.1).abs() < 1e-4);
    // The one who drives is gone: the other is no operator whom the robot has called.
    cell.operator.child.kill().unwrap();
    cell.run.until("SafeStop");
    let found = cell.comes_to_rest();
    assert_eq!(found[1..], still[1..]);
    cell.has_stopped(StopReason::OperatorLost);
}

/// Starts a plant, a run of it that calls an operator at its second boundary, and the project's own operator with a script, up to
/// where the script drives. `name` is that of the folder.
fn driven_by_script(name: &str, steps: &str) -> (ForeignPlant, Run, Process) {
    let plant = motion::plant("tcp/127.0.0.1:0", REST);
    let folder = common::folder(name);
    let robot = by_hand(&folder, &plant.endpoint, "{ at = [1] }", [BUSY_MS, 120_000]);
    let mut run = Run::of(&robot, folder.join("run"), &[]);
    run.until("waiting for a start");
    let script = folder.join("moves");
    std::fs::write(&script, steps).unwrap();
    let mut teleop = python("sim_bridge/link/python/teleop.py");
    teleop.args(["--name", NAME, "--connect", &plant.endpoint, "--script"]).arg(&script);
    let teleop = Process::start(&mut teleop);
    teleop.until("quiet");
    assert!(operate("start", &plant.endpoint));
    teleop.until("driving 1");
    (plant, run, teleop)
}

#[test]
fn the_projects_own_operator_answers_a_call_by_a_script() {
    let _slot = real_time_slot();
    let steps =
        "wait called\nsend 50\nengage\nwait driving\nadd 0 0.2\nsend 200\nrelease\nwait quiet\nsay over\n";
    let (_plant, mut run, mut teleop) = driven_by_script("teleop-script", steps);
    run.until("Strong");
    run.until("Weak");
    teleop.until("over");
    assert_eq!(teleop.child.wait().unwrap().code(), Some(0));
    let folder = run.end();
    // Before the call it sends nothing that the new episode would have to drop.
    assert_eq!(dropped_before_the_first_call(&folder), 0);
    let record = recorded(&folder);
    let strong = record.modes.iter().zip(&record.commands).filter(|(mode, _)| **mode == Mode::Strong);
    let joint: Vec<f32> = strong.map(|(_, command)| command[0]).collect();
    assert!((joint[joint.len() - 1] - joint[0] - 0.2).abs() < 0.01, "{:?}", joint.last());
}

/// Returns the number of an operator's commands that a run dropped before it called anybody, by the record.
fn dropped_before_the_first_call(folder: &Path) -> u32 {
    let mut reader = RunReader::open(&folder.join("run.aegis")).expect("it was recorded");
    let mut dropped = 0;
    while let Some(bytes) = reader.next_period().unwrap() {
        let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).expect("a period");
        match period.output.call {
            Some(report) if report.call == 0 => dropped += report.dropped,
            Some(_) => break,
            None => {}
        }
    }
    dropped
}

#[test]
fn an_operators_program_that_fails_while_it_drives_lets_go() {
    let _slot = real_time_slot();
    let steps = "wait called\nengage\nwait driving\nsend 20\nset 99 1\nsend 20000\n";
    let (_plant, mut run, mut teleop) = driven_by_script("teleop-fails", steps);
    run.until("call 1: the operator has let go");
    run.until("Weak");
    assert_eq!(teleop.child.wait().unwrap().code(), Some(1));
    assert_eq!(summary(&run.end())["operator"]["let_go"], 1);
}

#[test]
fn a_call_rings_the_terminals_bell_and_a_person_answers_with_the_keyboard() {
    let _slot = real_time_slot();
    let plant = motion::plant("tcp/127.0.0.1:0", REST);
    let folder = common::folder("teleop-keyboard");
    let robot = by_hand(&folder, &plant.endpoint, "{ at = [1] }", [BUSY_MS, 120_000]);
    let in_terminal = |program: &str| {
        let mut command = python("tests/teleop/terminal.py");
        command.arg(program);
        command
    };
    let mut run = in_terminal(env!("CARGO_BIN_EXE_aegis"));
    run.arg("run").arg(&robot).arg("--out").arg(folder.join("run"));
    let mut run = Process::start(&mut run);
    run.until("waiting for a start");
    let mut teleop = in_terminal(common::repository().join(".deps/python/bin/python").to_str().unwrap());
    teleop.arg(common::repository().join("sim_bridge/link/python/teleop.py"));
    teleop.args(["--name", NAME, "--connect", &plant.endpoint]);
    let mut teleop = Process::start(&mut teleop);
    teleop.until("quiet");
    // Without a call there is nothing to take hold of.
    teleop.type_in("\\s");
    assert!(operate("start", &plant.endpoint));
    run.until("<bell>");
    teleop.until("<bell>");
    run.until("<bell>");
    teleop.type_in("\\s");
    teleop.until("driving 1");
    let from = plant.log().iter().rev().find(|line| is_period(line)).map(executed).unwrap();
    teleop.type_in("q");
    // One period's worth of the first channel.
    plant.until(|line| is_period(line) && (executed(line)[0] - from[0] - VELOCITY).abs() < 1e-3);
    teleop.type_in("\\s");
    run.until("Weak");
    teleop.type_in("x");
    assert_eq!(teleop.child.wait().unwrap().code(), Some(0));
    // Ctrl-C.
    run.type_in("\u{3}");
    assert_eq!(run.child.wait().unwrap().code(), Some(5));
    replays(&folder.join("run"));
}

#[test]
fn an_operator_in_a_robot_file_is_checked_by_its_keys() {
    let folder = common::folder("teleop-file");
    let refused = |number: usize, from: &str, to: &str, words: &[&str]| {
        let folder = folder.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let robot = by_hand(&folder, "tcp/127.0.0.1:7447", "{ at = [1] }", [300, 60_000]);
        common::edit(&robot, from, to);
        common::refuses(&mut command(&robot, &folder.join("run")), 2, words);
    };
    for (number, (from, to, words)) in [
        ("stream_timeout_ms = 300", "stream_timeout_ms = 50", &["models.strong.operator.stream_timeout_ms: found 50; valid is 100 (two control periods) to 10000"][..]),
        ("answer_within_ms = 60000", "answer_within_ms = 0", &["models.strong.operator.answer_within_ms: found 0"]),
        ("answer_within_ms = 60000", "answer_within = 60", &["unknown field `answer_within`"]),
        ("strong = { operator", "strong = { person", &["unknown field `person`, expected `operator`"]),
        ("answer_within_ms = 60000", "answer_within_ms = 60000, first_within = [0.1]", &["models.strong.operator.first_within: found 1 values; valid is one for each of 7 channels"]),
        ("ask_strong = false", "ask_strong = true", &["ask_strong: found true; valid is false where models.strong is an operator"]),
        ("on_strong_loss = \"stop\"", "on_strong_loss = \"weak_if_calm\"", &["control.on_strong_loss: found \"weak_if_calm\""]),
        ("[control]", "[remote_strong]\ndeadline_ms = 1000\n\n[control]", &["remote_strong: found a deadline; valid is none"]),
    ]
    .into_iter()
    .enumerate()
    {
        refused(number, from, to, words);
    }
}
