//! Tests `aegis watchdog` between real processes: a robot in Python that says what its driver is told, or the simulator; a
//! controller that sends what it should not, or `aegis run`; and the watchdog. Each trip leads to a robot that has stopped and
//! executes nothing more, whatever the controller tries.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;
use crate::foreign::{ForeignPlant, NAME};
use crate::robot::{self, Run, real_time_slot};

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time after which a test that waits for a line fails.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest silence that a busy machine may cause and that is no fault, milliseconds.
const BUSY_MS: u32 = 30_000;

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

    /// Waits for a line that begins with `word`; returns it.
    #[track_caller]
    fn until(&self, word: &str) -> String {
        let (mut seen, begin) = (Vec::new(), Instant::now());
        while begin.elapsed() < TIMEOUT
            && let Ok(line) = self.lines.recv_timeout(TIMEOUT)
        {
            if line.starts_with(word) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {word:?} in {seen:#?}");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it reads its standard input");
    }

    fn ends(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file of bounds of seven velocities, −0.9 to 0.9.
fn bounds(folder: &Path, silence_ms: u32, step: f64) -> PathBuf {
    let mut text = format!("rate_hz = 20\nsilence_ms = {silence_ms}\n");
    for joint in 1..=7 {
        text += &format!(
            "[[channels]]\nname = \"joint{joint}\"\nlow = -0.9\nhigh = 0.9\nstep = {step}\nstill = 0\n"
        );
    }
    let path = folder.join("bounds.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn command(name: &str, endpoint: &str, bounds: &Path) -> Command {
    let mut command = common::aegis();
    command.args(["watchdog", "--json", "--plant", name, "--connect", endpoint, "--bounds"]).arg(bounds);
    command
}

/// Waits for a watchdog's next event, which has to be `event`.
#[track_caller]
fn event(watchdog: &Process, event: &str) -> Value {
    let line = watchdog.lines.recv_timeout(TIMEOUT).expect("an event");
    let found: Value = serde_json::from_str(&line).expect("an event is JSON");
    assert_eq!(found["event"], event, "{line}");
    found
}

/// A robot in Python, its watchdog, and a controller that drives it.
struct Cell {
    watchdog: Process,
    controller: Process,
    robot: Process,
}

impl Cell {
    fn start(name: &str, silence_ms: u32, step: f64) -> Self {
        let folder = common::folder(&format!("watchdog-{name}"));
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let endpoint = format!("tcp/{}", free.expect("a port is free"));
        // The robot's own timeout is too long to stop it within a test.
        let served = ["--name", "arm", "--listen", &endpoint, "--command-timeout", "60000"];
        let robot = Process::start(python("robot.py").args(served));
        robot.until("serving arm at");
        let watchdog =
            Process::start(&mut self::command("arm", &endpoint, &bounds(&folder, silence_ms, step)));
        event(&watchdog, "watching");
        let driven = ["--name", "arm", "--connect", &endpoint];
        let controller = Process::start(python("controller.py").args(driven));
        controller.until("driving");
        robot.until("step");
        Self { watchdog, controller, robot }
    }

    /// Waits for a trip, for its stop of the robot, and until the plant says so; returns the trip.
    #[track_caller]
    fn trips(&self) -> Value {
        let tripped = event(&self.watchdog, "tripped");
        self.robot.until("stop");
        let answer = event(&self.watchdog, "stopped");
        // A controller that has given the robot back meanwhile, or claimed it anew, has begun no episode.
        assert!(["stopped", "held", "idle"].iter().any(|phase| answer["phase"] == *phase), "{answer}");
        tripped["trip"].clone()
    }

    /// Checks that the robot is told nothing but to hold and to stop, sixty times.
    #[track_caller]
    fn executes_nothing(&self) {
        for _ in 0..60 {
            let told = self.robot.lines.recv_timeout(TIMEOUT).expect("the watchdog asks for a stop again");
            assert!(told == "hold" || told == "stop", "{told} after a stop");
        }
    }
}

/// Returns a command of the Python environment that `cargo xtask test` creates, for a script of this test.
fn python(script: &str) -> Command {
    let python = common::repository().join(".deps/python/bin/python");
    assert!(python.is_file(), "{}: missing; run `cargo xtask test`", python.display());
    let mut command = Command::new(python);
    command
        .arg(common::repository().join("tests/watchdog").join(script))
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Drives a robot, commits a fault, and checks that it trips as `kind`, and that the controller cannot undo the stop.
#[track_caller]
fn trips(fault: &str, kind: &str, step: f64) -> Value {
    let mut cell = Cell::start(fault, BUSY_MS, step);
    cell.controller.tell(fault);
    let trip = cell.trips();
    assert_eq!(trip["kind"], kind, "{trip}");
    let refused = cell.controller.until("refused: ");
    assert!(refused.contains("a watchdog holds the plant") && refused.contains(kind), "{refused}");
    cell.executes_nothing();
    common::signal(&cell.watchdog.child, "TERM");
    assert_eq!(cell.watchdog.ends(), Some(4), "it ended with a trip");
    trip
}

#[test]
fn a_jump_stops_the_robot() {
    let trip = trips("jump", "jump", 0.1);
    assert_eq!((trip["channel"].as_str(), trip["limit"].as_f64()), (Some("joint1"), Some(0.1)));
    assert!(
        (trip["value"].as_f64().unwrap() - 0.5).abs() < 1e-6 && trip["step"].as_u64() > Some(0),
        "{trip}"
    );
}

#[test]
fn a_command_out_of_bounds_stops_the_robot() {
    let trip = trips("bounds", "out_of_bounds", 2.0);
    assert_eq!((trip["channel"].as_str(), trip["limit"].as_f64()), (Some("joint1"), Some(0.9)));
    assert!((trip["value"].as_f64().unwrap() - 0.95).abs() < 1e-6, "{trip}");
}

#[test]
fn a_command_that_is_not_a_number_stops_the_robot() {
    let trip = trips("nan", "not_finite", 2.0);
    assert_eq!((trip["channel"].as_str(), &trip["value"]), (Some("joint1"), &Value::Null));
}

#[test]
fn a_second_controller_stops_the_robot() {
    trips("second", "second_controller", 2.0);
}

#[test]
fn a_step_that_was_sent_before_stops_the_robot() {
    trips("old", "old_step", 2.0);
}

#[test]
fn what_is_no_action_stops_the_robot() {
    trips("unreadable", "unreadable", 2.0);
}

#[test]
fn a_controller_that_is_suspended_stops_the_robot_and_cannot_undo_it_when_it_goes_on() {
    let cell = Cell::start("suspended", 2000, 2.0);
    common::signal(&cell.controller.child, "STOP");
    let trip = cell.trips();
    assert_eq!((trip["kind"].as_str(), trip["limit"].as_f64()), (Some("ceased"), Some(2000.0)), "{trip}");
    assert!(trip["value"].as_f64() > Some(2000.0), "{trip}");
    common::signal(&cell.controller.child, "CONT");
    cell.executes_nothing();
}

#[test]
fn only_an_operator_at_the_watchdogs_terminal_ends_a_trip() {
    let mut cell = Cell::start("reset", BUSY_MS, 0.1);
    cell.watchdog.tell("reset");
    cell.controller.tell("jump");
    cell.trips();
    cell.executes_nothing();
    cell.watchdog.tell("go on");
    cell.watchdog.tell(&format!("reset{}", " ".repeat(100)));
    cell.executes_nothing();
    cell.watchdog.tell("reset");
    event(&cell.watchdog, "reset");
    // The controller has tried all the time; the robot takes it up when the watchdog's last order has lapsed.
    cell.controller.until("reset granted");
    cell.robot.until("step");
    common::signal(&cell.watchdog.child, "TERM");
    assert_eq!(cell.watchdog.ends(), Some(0), "no trip is latched");
}

#[test]
fn a_robot_whose_server_is_suspended_is_stopped_when_it_goes_on() {
    let cell = Cell::start("server", 2000, 2.0);
    common::signal(&cell.robot.child, "STOP");
    let trip = event(&cell.watchdog, "tripped")["trip"].clone();
    // Its echo and its heartbeat cease at the same time, and so do the commands of a controller that it tells nothing.
    assert!(
        ["no_echo", "plant_silent", "ceased"].contains(&trip["kind"].as_str().unwrap_or_default()),
        "{trip}"
    );
    assert_eq!(trip["limit"].as_f64(), Some(2000.0), "{trip}");
    event(&cell.watchdog, "unanswered");
    common::signal(&cell.robot.child, "CONT");
    event(&cell.watchdog, "stopped");
    cell.robot.until("stop");
    cell.executes_nothing();
}

#[test]
fn a_controller_that_comes_to_rest_and_ends_trips_nothing() {
    let mut cell = Cell::start("rest", 2000, 0.1);
    cell.controller.tell("end");
    cell.controller.until("at rest");
    // Longer than `silence_ms`, by the robot's own periods of 50 ms.
    for _ in 0..60 {
        cell.robot.until("step");
    }
    cell.controller.tell("release");
    assert_eq!(cell.controller.ends(), Some(0));
    cell.robot.until("stop");
    common::signal(&cell.watchdog.child, "TERM");
    assert_eq!(cell.watchdog.ends(), Some(0));
    assert_eq!(cell.watchdog.lines.iter().collect::<Vec<_>>(), Vec::<String>::new());
}

/// Starts a watchdog of the simulator `cell`, whose commands may be anything from −1 to 1.
fn watch_the_simulator(name: &str, plant: &robot::Plant, silence_ms: u32) -> Process {
    let path = bounds(&common::folder(&format!("watchdog-{name}")), silence_ms, 2.0);
    common::edit(&path, "0.9", "1");
    // The gripper's command is a position.
    common::edit(
        &path,
        "name = \"joint7\"\nlow = -1\nhigh = 1\nstep = 2\nstill = 0",
        "name = \"gripper\"\nlow = -1\nhigh = 1\nstep = 2",
    );
    let watchdog = Process::start(&mut command("cell", &plant.endpoint, &path));
    event(&watchdog, "watching");
    watchdog
}

#[test]
fn a_run_without_a_fault_ends_with_no_trip() {
    let _slot = real_time_slot();
    let plant = robot::Plant::serve("tcp/127.0.0.1:0");
    // A little less than the plant's own timeout, which would end the run as well.
    let mut watchdog = watch_the_simulator("run", &plant, 3900);
    let short = ("horizon_steps = 220", "horizon_steps = 48");
    let run = Run::start("watchdog-whole-run", &plant.endpoint, &[short], &[]);
    let (code, _) = run.code();
    assert_eq!(code, Some(0));
    common::signal(&watchdog.child, "TERM");
    assert_eq!(watchdog.ends(), Some(0));
    assert_eq!(watchdog.lines.iter().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_run_that_is_killed_while_it_drives_is_a_trip_and_no_other_controller_drives_after_it() {
    let _slot = real_time_slot();
    let plant = robot::Plant::serve("tcp/127.0.0.1:0");
    let watchdog = watch_the_simulator("killed", &plant, 1500);
    let mut run = Run::start("watchdog-killed", &plant.endpoint, &[], &[]);
    run.until("Weak");
    run.signal("KILL");
    let trip = event(&watchdog, "tripped")["trip"].clone();
    assert_eq!(trip["kind"], "ceased", "{trip}");
    assert_eq!(event(&watchdog, "stopped")["phase"], "stopped");
    drop(run);
    let session = aegis_link::open(aegis_link::Role::Drive, &plant.endpoint.parse().unwrap()).unwrap();
    let statuses = common::hear(&session, "aegis/cell/status");
    while statuses.status().session != 0 {}
    let run = Run::start("watchdog-after", &plant.endpoint, &[], &["--exit-on-stop"]);
    let (code, folder) = run.code();
    assert_eq!(code, Some(1), "its reset is refused");
    let said = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    assert!(!said.contains("\"Weak\""), "{said}");
}

#[test]
fn a_plant_that_says_not_what_it_executes_is_refused() {
    let folder = common::folder("watchdog-silent");
    let path = bounds(&folder, 150, 0.1);
    let plant = ForeignPlant::start(&["--listen", "tcp/127.0.0.1:0"]);
    common::refuses(
        &mut command(NAME, &plant.endpoint, &path),
        1,
        &[NAME, "it answers no watchdog, so it neither says what it executes nor stops", "aegis_link.py"],
    );
    common::refuses(
        &mut command("nobody", &plant.endpoint, &path),
        1,
        &["nobody serves plant \"nobody\"", NAME],
    );
}

#[test]
fn bounds_that_are_wrong_or_of_another_plant_are_refused_with_file_and_field() {
    let folder = common::folder("watchdog-bounds");
    let path = bounds(&folder, 150, 0.1);
    let file = path.to_str().unwrap().to_owned();
    let plant = robot::Plant::serve("tcp/127.0.0.1:0");
    let refused = |from: &str, to: &str, expected: &str| {
        bounds(&folder, 150, 0.1);
        common::edit(&path, from, to);
        common::refuses(&mut command("cell", &plant.endpoint, &path), 2, &[&file, expected]);
    };
    refused("rate_hz = 20", "rate_hz = 50", "rate_hz: found 50; valid is 20, the plant's");
    refused(
        "name = \"joint1\"",
        "name = \"joint2\"",
        "channels[1].name: found \"joint2\", which is channels[0] too",
    );
    refused("silence_ms = 150", "silence_ms = 0", "silence_ms: found 0; valid is 1 to 60000");
    refused("high = 0.9", "hihg = 0.9", "hihg");
    bounds(&folder, 150, 0.1);
    common::edit(
        &path,
        "[[channels]]\nname = \"joint7\"\nlow = -0.9\nhigh = 0.9\nstep = 0.1\nstill = 0\n",
        "",
    );
    common::refuses(
        &mut command("cell", &plant.endpoint, &path),
        2,
        &[&file, "channels: found 6; valid is 7"],
    );
    std::fs::remove_file(&path).unwrap();
    common::refuses(&mut command("cell", &plant.endpoint, &path), 2, &[&file, "cannot read"]);
}
