//! Tests `aegis ros2 serve` between real processes: a robot in Python as a node of ROS 2, by a client that others wrote; a router;
//! the server; and `aegis run` or a controller of the test. What the robot received and executed is judged.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;
use crate::robot::{Run, real_time_slot};

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use aegis_core::{Observation, PlantError, Start};
use aegis_link::wire::{CameraFrame, Encoding, Moved, Phase};
use aegis_link::{Claimant, CommandSender, FreeRunningPlant, Heard, Role};
use serde_json::Value;

/// Time after which a test that waits for something fails.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Where the robot stands at its start: the joints a, b and c, radians.
const POSE: [f64; 3] = [0.1, 0.0, -0.1];
/// Where the policies drive it.
const GOAL: [f64; 3] = [0.4, -0.3, 0.2];

/// A process whose lines are read, killed when the test ends.
struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// Reads lines on a thread.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// Waits for a line for which `is_asked` holds; returns it.
#[track_caller]
fn until(lines: &Receiver<String>, mut is_asked: impl FnMut(&str) -> bool) -> String {
    let (mut seen, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < TIMEOUT
        && let Ok(line) = lines.recv_timeout(TIMEOUT)
    {
        if is_asked(&line) {
            return line;
        }
        seen.push(line);
    }
    panic!("no such line in {:#?}", seen.iter().rev().take(20).collect::<Vec<_>>());
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the process starts");
        let stdin = child.stdin.take().expect("it is piped");
        let errors = lines(child.stderr.take().expect("it is piped"));
        let lines = lines(child.stdout.take().expect("it is piped"));
        Self { child, stdin, lines, errors }
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

/// Returns a Python command with a ROS 2 client at hand, for a script of this test.
fn python(script: &str) -> Command {
    let python = common::repository().join(".deps/python/bin/python");
    let client = common::repository().join(".deps/ros2");
    for place in [&python, &client] {
        assert!(place.exists(), "{}: missing; run `cargo xtask test`", place.display());
    }
    let mut command = Command::new(python);
    command
        .arg(common::repository().join("tests/ros2").join(script))
        .env("PYTHONPATH", client)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Definitions of messages come from a package, and no program of Git is needed.
        .env("GIT_PYTHON_REFRESH", "quiet");
    command
}

/// The robot's process.
struct Robot {
    process: Process,
    /// Commands that it received so far: their values, by the joints a, b and c.
    commands: Vec<Vec<f64>>,
    /// Where its joints stood last.
    positions: Vec<f64>,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

impl Robot {
    fn start(port: &str, arguments: &[&str]) -> Self {
        let process = Process::start(python("robot.py").args(["--port", port]).args(arguments));
        until(&process.lines, |line| line.contains("\"ready\""));
        Self { process, commands: Vec::new(), positions: POSE.to_vec() }
    }

    /// Takes a line; returns it.
    fn take(&mut self, line: &str) -> Value {
        let value: Value = serde_json::from_str(line).expect("a line is JSON");
        if value["what"] == "command" {
            let joints = value["joints"].as_array();
            assert!(joints.is_none_or(|joints| *joints == ["a", "b", "c"]), "{line}");
            self.commands.push(numbers(&value["values"]));
        }
        if value["what"] == "state" {
            self.positions = numbers(&value["positions"]);
        }
        value
    }

    /// Takes every line that has come.
    fn read(&mut self) {
        let all: Vec<String> = self.process.lines.try_iter().collect();
        all.iter().for_each(|line| drop(self.take(line)));
    }

    /// Takes lines until `is_asked` holds.
    #[track_caller]
    fn until(&mut self, mut is_asked: impl FnMut(&Self, &Value) -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < TIMEOUT {
            let line = self.process.lines.recv_timeout(TIMEOUT).expect("the robot lives");
            let value = self.take(&line);
            if is_asked(self, &value) {
                return;
            }
        }
        panic!(
            "commands {:?}, positions {:?}",
            self.commands.iter().rev().take(5).collect::<Vec<_>>(),
            self.positions
        );
    }

    /// Commits a fault, and waits until it has.
    fn tell(&mut self, fault: &str) {
        writeln!(self.process.stdin, "{fault}").expect("it reads its standard input");
        self.until(|_, line| line["what"] == "obeyed" && line["line"] == fault);
    }

    /// Waits until the joints have stood still for some reports.
    #[track_caller]
    fn until_still(&mut self) {
        let (mut last, mut count) = (self.positions.clone(), 0);
        self.until(|robot, line| {
            if line["what"] == "state" {
                let is_still = robot.positions.iter().zip(&last).all(|(now, then)| (now - then).abs() < 1e-9);
                count = if is_still { count + 1 } else { 0 };
                last.clone_from(&robot.positions);
            }
            count == 5
        });
    }
}

/// A robot's file.
fn ros_file(folder: &Path, port: &str, edits: &[(&str, &str)]) -> PathBuf {
    let channels: String = ["a", "b", "c"]
        .map(|joint| format!("    {{ name = \"{joint}\", low = -1, high = 1, step = 0.05 }},\n"))
        .concat();
    let text = format!(
        "plant = \"arm\"\nrate_hz = 20\ntasks = [\"reach the goal\"]\ndistribution = \"jazzy\"\n\
         router = \"tcp/127.0.0.1:{port}\"\n\n[joint_states]\ntopic = \"/joint_states\"\nnames = [\"a\", \"b\", \"c\"]\n\
         velocities = true\nmax_age_ms = 10000\n\n[rest]\nwithin = 0.005\nlasting_ms = 200\nwait_ms = 3000\n\n[commands]\n\
         kind = \"trajectory\"\ntopic = \"/arm/joint_trajectory\"\nchannels = [\n{channels}]\n"
    );
    let path = folder.join("ros2.toml");
    std::fs::write(&path, text).unwrap();
    edits.iter().for_each(|(from, to)| common::edit(&path, from, to));
    path
}

/// Changes of a robot's file for a robot that takes velocities.
const VELOCITIES: [(&str, &str); 2] = [
    ("kind = \"trajectory\"", "kind = \"velocity\"\nrobot_timeout_ms = 1000"),
    ("/arm/joint_trajectory", "/arm/commands"),
];

fn serve(file: &Path, timeout_ms: &str) -> Command {
    let mut command = common::aegis();
    command.args(["ros2", "serve"]).arg(file);
    command.args(["--listen", "tcp/127.0.0.1:0", "--command-timeout", timeout_ms]);
    command
}

/// A router, a robot, and the server between the robot and a controller.
struct Cell {
    server: Process,
    endpoint: String,
    robot: Robot,
    port: String,
    folder: PathBuf,
    _router: Process,
}

impl Cell {
    fn start(name: &str, robot: &[&str], edits: &[(&str, &str)], timeout_ms: &str) -> Self {
        let folder = common::folder(&format!("ros2-{name}"));
        let router = Process::start(&mut python("router.py"));
        let port = until(&router.lines, |line| line.parse::<u16>().is_ok());
        let robot = Robot::start(&port, robot);
        let (server, endpoint) = Self::server(&ros_file(&folder, &port, edits), timeout_ms);
        Self { server, endpoint, robot, port, folder, _router: router }
    }

    /// Starts a server of a robot's file; returns it with its endpoint.
    fn server(file: &Path, timeout_ms: &str) -> (Process, String) {
        let server = Process::start(&mut serve(file, timeout_ms));
        let Ok(ready) = server.lines.recv_timeout(TIMEOUT) else {
            panic!("{:#?}", server.errors.iter().collect::<Vec<_>>());
        };
        let endpoint = ready.rsplit(' ').next().expect("an endpoint").to_owned();
        (server, endpoint)
    }

    /// Kills the server while the robot moves, and starts another one.
    fn restart(&mut self, timeout_ms: &str) {
        self.server.child.kill().unwrap();
        self.server.ends();
        (self.server, self.endpoint) = Self::server(&self.folder.join("ros2.toml"), timeout_ms);
    }

    /// Waits until a robot that takes velocities was told zeros and stands.
    #[track_caller]
    fn until_zero(&mut self) {
        self.robot.until(|robot, _| robot.commands.last().is_some_and(|command| command == &[0.0; 3]));
        self.robot.until_still();
    }

    /// Waits for a warning of the server that contains every word.
    #[track_caller]
    fn warns(&self, words: &[&str]) {
        until(&self.server.errors, |line| words.iter().all(|word| line.contains(word)));
    }
}

/// A controller of the test.
struct Driver {
    plant: FreeRunningPlant,
    sender: CommandSender,
    heard: Receiver<Heard>,
    frames: Receiver<CameraFrame>,
    episode: u64,
    sequence: u32,
    phase: Option<Phase>,
    _session: zenoh::Session,
}

impl Driver {
    fn claim(endpoint: &str) -> Self {
        let session = aegis_link::open(Role::Drive, &endpoint.parse().unwrap()).unwrap();
        let (sender, heard) = channel();
        let (to_frames, frames) = channel();
        let claimant = Claimant { pictures: true, ..Claimant::new("test") };
        let hear = move |heard: Heard| match heard {
            Heard::Frame(frame) => drop(to_frames.send(*frame)),
            other => drop(sender.send(other)),
        };
        let plant = FreeRunningPlant::claim(&session, "arm", claimant, hear).unwrap();
        let sender = plant.sender().unwrap();
        Self { plant, sender, heard, frames, episode: 0, sequence: 0, phase: None, _session: session }
    }

    fn reset(&mut self) -> Result<Observation, PlantError> {
        let (episode, first) = self.plant.reset(Start { task: 0, initial_state: 0 })?;
        (self.episode, self.sequence) = (episode, 0);
        Ok(first)
    }

    /// Resets until the plant allows it.
    #[track_caller]
    fn reset_at_last(&mut self) -> Observation {
        let begin = Instant::now();
        loop {
            match self.reset() {
                Ok(first) => return first,
                Err(error) => assert!(begin.elapsed() < TIMEOUT, "{error}"),
            }
        }
    }

    /// Waits for the next message of the plant. Answers an observation with `action`, if there is one.
    fn hear(&mut self, action: Option<[f32; 3]>) -> Option<Box<Moved>> {
        match self.heard.recv_timeout(TIMEOUT).expect("the plant is heard") {
            Heard::Moved(moved) if moved.episode == self.episode => {
                if let Some(action) = action {
                    self.sequence += 1;
                    self.sender.send(self.episode, self.sequence, moved.sequence, 0, &action).unwrap();
                }
                Some(moved)
            }
            Heard::Status(status) => {
                self.phase = Some(status.phase);
                None
            }
            _ => None,
        }
    }

    /// Drives towards `action` until `is_asked` holds of the robot.
    #[track_caller]
    fn drive(&mut self, robot: &mut Robot, action: [f32; 3], mut is_asked: impl FnMut(&Robot) -> bool) {
        let begin = Instant::now();
        while !is_asked(robot) {
            assert!(begin.elapsed() < TIMEOUT, "{:?} after {:?}", robot.positions, robot.commands.last());
            self.hear(Some(action));
            robot.read();
        }
    }

    /// Goes on sending `action` until the robot was told to hold, many times and at one place; returns the place.
    #[track_caller]
    fn drive_until_held(&mut self, robot: &mut Robot, action: [f32; 3]) -> Vec<f64> {
        let (episode, begin) = (self.episode, Instant::now());
        let mut before = robot.commands.len();
        loop {
            assert!(
                begin.elapsed() < TIMEOUT,
                "{:?}",
                robot.commands.iter().rev().take(12).collect::<Vec<_>>()
            );
            // Observations have ceased, and an action may come all the same.
            self.sequence += 1;
            self.sender.send(episode, self.sequence, self.sequence, 0, &action).unwrap();
            self.hear(None);
            robot.read();
            let held = robot.commands.last().cloned().unwrap_or_default();
            if let Some(moved) = robot.commands.iter().rposition(|command| *command != held) {
                before = before.max(moved + 1);
            }
            if robot.commands.len() >= before + 5 && held[..] != action.map(f64::from) {
                return held;
            }
        }
    }

    /// Waits until the plant says that it is in this phase.
    #[track_caller]
    fn until_phase(&mut self, phase: Phase) {
        let begin = Instant::now();
        while self.phase != Some(phase) {
            assert!(begin.elapsed() < TIMEOUT, "{:?}", self.phase);
            self.hear(None);
        }
    }
}

/// Writes a robot file for `aegis run` with one of the policies of this test.
fn robot_file(folder: &Path, endpoint: &str, policy: &str, channel: &str, pose: &str) -> PathBuf {
    let models = common::repository().join("tests/ros2");
    for kind in ["onnx", "toml"] {
        let name = format!("{policy}.{kind}");
        std::fs::copy(models.join(&name), folder.join(&name)).unwrap();
    }
    // The shipped probe reads as many numbers; what it makes of these decides nothing here.
    let probe = std::fs::read_to_string(common::repository().join("policies/models/probe.json")).unwrap();
    let mut probe: Value = serde_json::from_str(&probe).unwrap();
    let card: toml::Table =
        std::fs::read_to_string(folder.join(format!("{policy}.toml"))).unwrap().parse().unwrap();
    probe["model_sha256"] = card["sha256"].as_str().unwrap().into();
    std::fs::write(folder.join("probe.json"), probe.to_string()).unwrap();
    let text = format!(
        "plant = \"arm\"\nconnect = \"{endpoint}\"\nrecord = \"record\"\n{pose}\n\
         starts = [{{ task = 0, initial_state = 0 }}]\n\
         [models]\nweak = \"{policy}.toml\"\nstrong = \"{policy}.toml\"\nprobe = \"probe.json\"\n\
         [control]\nrate_hz = 20\nlead_steps = 1\noverlap = \"replace\"\nweak_misses = 100\nstrong_patience_steps = 4\n\
         on_strong_loss = \"stop\"\nmax_age_ms = 10000\nstale_steps = 200\nfrozen_ms = 0\nplant_timeout_ms = 10000\n\
         out_of_bounds = \"clamp\"\nlimits = \"always\"\nchannels = [{channel}, {channel}, {channel}]\n\
         [gate]\nhorizon_steps = 400\nchunk_steps = 8\nguard_fraction = 0.2\nbudget_fraction = 0.05\nbudget_unit = \"chunks\"\n\
         duty_cap = 0.75\nhold_chunks = 4\nreturn_chunks = 2\n[rule]\nkind = \"conformal\"\n\
         [real_time]\npriority = 0\nspin_us = 100\n"
    );
    let path = folder.join("robot.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn operate(wish: &str, endpoint: &str) {
    let mut command = common::aegis();
    command.args(["operate", wish, "--plant", "arm", "--connect", endpoint]);
    assert!(command.status().expect("the binary starts").success());
}

/// Returns the largest distance of a joint from where it should be.
fn distance(positions: &[f64], from: &[f64]) -> f64 {
    positions.iter().zip(from).fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs()))
}

#[test]
fn a_policy_drives_a_robot_of_ros_by_positions_within_its_limits_and_leaves_it_at_rest() {
    let _slot = real_time_slot();
    let mut cell = Cell::start("positions", &[], &[], "10000");
    let channel =
        "{ kind = \"position\", low = -1, high = 1, velocity = 0.02, acceleration = 0.01, jerk = 0.01 }";
    let pose = "rest = [0.1, 0.0, -0.1]\npose = [\"joint_positions/0\", \"joint_positions/1\", \"joint_positions/2\"]";
    let file = robot_file(&cell.folder, &cell.endpoint, "positions", channel, pose);
    common::edit(&file, "limits = \"always\"", "limits = \"always\"\nstart_within = 0.2\nfollow_within = 10");
    let mut run = Run::of(&file, cell.folder.join("run"), &[]);
    run.until("waiting for a start");
    cell.robot.read();
    assert!(cell.robot.commands.is_empty(), "nothing is sent before a start");
    operate("start", &cell.endpoint);
    cell.robot.until(|robot, _| distance(&robot.positions, &GOAL) < 0.02);
    run.end();
    cell.robot.until_still();
    let commands = &cell.robot.commands;
    assert!(distance(&commands[0], &POSE) <= 0.02 + 1e-6, "{:?}", commands[0]);
    for pair in commands.windows(2) {
        // The server lets a change of 0.05 pass; the controller sends changes of 0.02, of which a busy machine may lose some.
        assert!(distance(&pair[1], &pair[0]) <= 0.05 + 1e-6, "{pair:?}");
    }
    let last = commands.last().unwrap();
    assert!(distance(&cell.robot.positions, last) < 1e-6 && distance(last, &GOAL) < 0.05, "{last:?}");
    common::signal(&cell.server.child, "TERM");
    assert_eq!(cell.server.ends(), Some(0));
}

#[test]
fn a_robot_of_ros_that_takes_velocities_is_told_zero_when_its_controller_is_killed() {
    let _slot = real_time_slot();
    let robot = ["--kind", "velocity", "--topic", "/arm/commands"];
    let mut cell = Cell::start("velocities", &robot, &VELOCITIES, "2000");
    let channel = "{ kind = \"rate\", low = -0.5, high = 0.5, acceleration = 0.02, jerk = 0.02 }";
    let pose = "rest = [0.0, 0.0, 0.0]\npose = [\"\", \"\", \"\"]";
    let file = robot_file(&cell.folder, &cell.endpoint, "velocities", channel, pose);
    let run = Run::of(&file, cell.folder.join("run"), &["--auto-start"]);
    // Each joint moves, in its own direction.
    cell.robot.until(|robot, _| {
        let moved: Vec<f64> = robot.positions.iter().zip(POSE).map(|(now, then)| now - then).collect();
        moved[0] > 0.02 && moved[1] < -0.02 && moved[2] > 0.02
    });
    run.signal("KILL");
    cell.robot.until(|robot, _| robot.commands.last().is_some_and(|command| command == &[0.0; 3]));
    cell.robot.until_still();
    let commands = &cell.robot.commands;
    assert!(distance(&commands[0], &[0.0; 3]) <= 0.05 + 1e-6, "{:?}", commands[0]);
    for pair in commands.windows(2).filter(|pair| pair[1] != [0.0; 3]) {
        assert!(distance(&pair[1], &pair[0]) <= 0.05 + 1e-6, "{pair:?}");
    }
}

#[test]
fn joint_states_that_are_lost_frozen_or_wrong_stop_a_robot_of_ros() {
    // So slow that it is still on its way when the joint states are too old.
    let edits = [
        ("max_age_ms = 10000", "max_age_ms = 3000"),
        ("wait_ms = 3000", "wait_ms = 500"),
        ("step = 0.05", "step = 0.006"),
    ];
    let mut cell = Cell::start("states", &[], &edits, "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    for (round, (fault, words)) in [
        ("lost", &["joint states are", "ms old; valid is at most 3000"][..]),
        ("frozen", &["its header's stamp is not later"]),
        ("back", &["its header's stamp is not later"]),
        ("nan", &["joint \"b\"", "found position NaN"]),
        ("missing", &["joint \"b\"", "not among gripper, c, a"]),
        ("still", &["found 0 velocities of 4 joints"]),
    ]
    .into_iter()
    .enumerate()
    {
        let first = driver.reset_at_last();
        let pose = first.feature("joint_positions").unwrap().to_vec();
        let target = if round % 2 == 0 { [0.9_f32, -0.9, 0.5] } else { [-0.9, 0.9, -0.5] };
        driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &pose) > 0.1);
        cell.robot.tell(fault);
        let held = driver.drive_until_held(&mut cell.robot, target);
        assert!(distance(&held, &target.map(f64::from)) > 0.0, "{fault}: it is held on its way");
        // The stop is not confirmed, and so no episode begins.
        assert_eq!(driver.phase, Some(Phase::Running), "{fault}");
        if fault == "back" {
            // A clock that was set is another one from the next reset on.
            driver.reset_at_last();
            cell.robot.tell("end back");
            continue;
        }
        let refused = driver.plant.reset(Start { task: 0, initial_state: 0 }).unwrap_err().to_string();
        assert!(refused.contains("no rest within 500 ms"), "{fault}: {refused}");
        for word in words {
            assert!(refused.contains(word), "{fault}: {refused}");
        }
        cell.robot.tell(&format!("end {fault}"));
    }
    driver.reset_at_last();
}

#[test]
fn joints_of_a_robot_of_ros_are_found_by_name_wherever_they_stand() {
    let mut cell = Cell::start("names", &[], &[], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    let first = driver.reset().unwrap();
    assert!(distance(first.feature("joint_positions").unwrap(), &POSE) < 1e-9);
    let target = [0.3_f32, -0.2, 0.0];
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &POSE) > 0.05);
    cell.robot.tell("permuted");
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &target.map(f64::from)) < 1e-6);
    // What the controller is told comes to be what the robot did, joint by joint.
    let begin = Instant::now();
    while begin.elapsed() < TIMEOUT {
        if let Some(moved) = driver.hear(Some(target))
            && distance(&moved.observation.values[..3], &target.map(f64::from)) < 1e-6
        {
            return;
        }
    }
    panic!("the joints are read as others");
}

#[test]
fn a_second_publisher_of_joint_states_or_of_commands_stops_a_robot_of_ros() {
    let mut cell = Cell::start("second", &[], &[("wait_ms = 3000", "wait_ms = 500")], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    for (fault, words) in [
        ("second", &["topic /joint_states: found 2 publishers", "/second", "valid is one"][..]),
        (
            "panel",
            &[
                "topic /arm/joint_trajectory: found 1 publishers, of /panel",
                "valid is none beside this program",
            ],
        ),
    ] {
        driver.reset_at_last();
        let begin = cell.robot.positions.clone();
        let target = if fault == "second" { [0.9_f32; 3] } else { [-0.9; 3] };
        driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &begin) > 0.1);
        cell.robot.tell(fault);
        driver.until_phase(Phase::Stopped);
        cell.robot.until_still();
        let refused = driver.reset().unwrap_err().to_string();
        words.iter().for_each(|word| assert!(refused.contains(word), "{fault}: {refused}"));
        cell.robot.tell(&format!("end {fault}"));
    }
    driver.reset_at_last();
}

#[test]
fn a_robot_of_ros_that_is_started_anew_elsewhere_is_not_moved_before_a_reset() {
    let mut cell = Cell::start("anew", &[], &[("wait_ms = 3000", "wait_ms = 500")], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset().unwrap();
    let target = [0.9_f32, -0.9, 0.5];
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &POSE) > 0.2);
    cell.robot.process.child.kill().unwrap();
    cell.warns(&["the robot is not known to stand", "no node publishes it"]);
    // The new one stands where every robot stands at first.
    cell.robot = Robot::start(&cell.port, &[]);
    driver.until_phase(Phase::Stopped);
    cell.robot.until_still();
    for command in &cell.robot.commands {
        assert!(distance(command, &POSE) < 1e-9, "{command:?}");
    }
    assert!(distance(&cell.robot.positions, &POSE) < 1e-9);
    driver.reset_at_last();
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &POSE) > 0.05);
}

#[test]
fn a_robot_of_ros_is_held_at_its_last_command_where_a_reading_cannot_be_right() {
    let mut cell = Cell::start("glitch", &[], &[], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset().unwrap();
    let target = [0.9_f32, -0.9, 0.5];
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &POSE) > 0.2);
    cell.robot.tell("glitch");
    let begin = Instant::now();
    while !driver.hear(Some(target)).is_some_and(|moved| moved.observation.values[0] == 50.0) {
        assert!(begin.elapsed() < TIMEOUT);
    }
    drop(driver);
    cell.robot.until_still();
    for command in &cell.robot.commands {
        assert!(command.iter().all(|value| value.abs() <= 1.0), "{command:?}");
    }
    assert!(distance(&cell.robot.positions, cell.robot.commands.last().unwrap()) < 1e-6);
    // Nor does an episode begin there.
    let mut driver = Driver::claim(&cell.endpoint);
    let refused = driver.reset().unwrap_err().to_string();
    assert!(refused.contains("joint \"a\": it stands at 50; valid is -1 to 1"), "{refused}");
    cell.robot.tell("end glitch");
    driver.reset_at_last();
}

#[test]
fn one_stamp_of_a_later_time_stops_a_robot_of_ros_until_its_next_reset_only() {
    let camera = "height = 48\nwidth = 64\n";
    let camera =
        format!("[[cameras]]\nname = \"front\"\ntopic = \"/front/compressed\"\n{camera}\n[commands]");
    let mut cell = Cell::start("ahead", &["--camera"], &[("[commands]", &camera)], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset().unwrap();
    let target = [0.9_f32, -0.9, 0.5];
    driver.drive(&mut cell.robot, target, |robot| distance(&robot.positions, &POSE) > 0.05);
    let picture = common::repository().join("tests/ros2/picture.jpg").display().to_string();
    cell.robot.tell(&format!("picture jpeg {picture} 1"));
    cell.robot.tell("ahead");
    cell.warns(&["/joint_states: refused", "its header's stamp is not later"]);
    cell.robot.tell(&format!("picture jpeg {picture}"));
    cell.warns(&["/front/compressed: refused", "its header's stamp is not later"]);
    driver.reset_at_last();
    let begin = cell.robot.positions.clone();
    driver.drive(&mut cell.robot, [-0.9, 0.9, -0.5], |robot| distance(&robot.positions, &begin) > 0.05);
    let (episode, begin) = (driver.episode, Instant::now());
    loop {
        assert!(begin.elapsed() < TIMEOUT, "no picture of this episode");
        cell.robot.tell(&format!("picture jpeg {picture}"));
        let frame = driver.frames.recv_timeout(Duration::from_millis(200));
        if frame.is_ok_and(|frame| frame.episode == episode) {
            return;
        }
    }
}

#[test]
fn a_terminal_that_suspends_the_server_of_a_robot_of_ros_stops_it() {
    let robot = ["--kind", "velocity", "--topic", "/arm/commands"];
    for signal in ["TSTP", "TTIN", "TTOU"] {
        let mut cell = Cell::start(&format!("suspended-{signal}"), &robot, &VELOCITIES, "60000");
        let mut driver = Driver::claim(&cell.endpoint);
        driver.reset().unwrap();
        driver.drive(&mut cell.robot, [0.3, -0.3, 0.2], |robot| distance(&robot.positions, &POSE) > 0.1);
        common::signal(&cell.server.child, signal);
        cell.until_zero();
        assert_eq!(cell.server.ends(), Some(0), "{signal}");
    }
}

#[test]
fn a_robot_of_ros_that_a_killed_server_left_in_motion_is_stopped_by_the_next_one() {
    let robot = ["--kind", "velocity", "--topic", "/arm/commands"];
    let mut cell = Cell::start("left", &robot, &VELOCITIES, "60000");
    for ended_by in ["reset", "signal", "nothing"] {
        let mut driver = Driver::claim(&cell.endpoint);
        driver.reset_at_last();
        let begin = cell.robot.positions.clone();
        driver.drive(&mut cell.robot, [0.3, -0.3, 0.2], |robot| distance(&robot.positions, &begin) > 0.1);
        let fault = if ended_by == "nothing" { "runaway" } else { "end runaway" };
        cell.robot.tell(fault);
        cell.restart("60000");
        drop(driver);
        cell.warns(&["its joints move, by no command of this program"]);
        match ended_by {
            "reset" => {
                Driver::claim(&cell.endpoint).reset_at_last();
                cell.until_zero();
                continue;
            }
            "signal" => {
                common::signal(&cell.server.child, "TERM");
                assert_eq!(cell.server.ends(), Some(0));
                cell.until_zero();
                cell.restart("60000");
            }
            _ => {
                // It moves whatever it is told.
                common::signal(&cell.server.child, "TERM");
                cell.warns(&["has not come to rest", "use its emergency stop"]);
                assert_eq!(cell.server.ends(), Some(1));
            }
        }
    }
}

#[test]
fn messages_that_come_while_nobody_drives_a_robot_of_ros_are_no_fault_of_it() {
    let mut cell = Cell::start("idle", &[], &[], "60000");
    // Ten messages for each report, and more of them than may wait.
    let mut reports = 0;
    cell.robot.until(|_, line| {
        reports += u32::from(line["what"] == "state");
        reports == 110
    });
    Driver::claim(&cell.endpoint).reset_at_last();
    common::signal(&cell.server.child, "TERM");
    let errors: Vec<String> = cell.server.errors.iter().collect();
    assert!(errors.iter().all(|line| !line.contains("refused")), "{errors:#?}");
}

#[test]
fn a_topic_of_another_type_is_refused_with_both_named() {
    let folder = common::folder("ros2-type");
    let router = Process::start(&mut python("router.py"));
    let port = until(&router.lines, |line| line.parse::<u16>().is_ok());
    let other = "std_msgs/msg/Bool";
    let _robot = Robot::start(&port, &["--states-type", other]);
    let file = ros_file(&folder, &port, &[]);
    let hash = "RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e";
    let found = "RIHS01_feb91e995ff9ebd09c0cb3d2aed18b11077585839fb5db80193b62d74528f6c9";
    let words = ["topic /joint_states", "/robot", other, found, "valid is sensor_msgs/msg/JointState", hash];
    common::refuses(&mut serve(&file, "200"), 1, &words);
    // The same types of a distribution whose keys carry no hash are other types.
    let humble = ros_file(&folder, &port, &[("\"jazzy\"", "\"humble\"")]);
    common::refuses(&mut serve(&humble, "200"), 1, &["TypeHashNotSupported", "RIHS01_"]);
    drop(router);
    common::refuses(&mut serve(&file, "200"), 1, &["router tcp/127.0.0.1:", "rmw_zenohd"]);
    // What is wrong with the file is said before anything is reached, with the file's name.
    for (from, to, words) in [
        ("plant = \"arm\"", "plant = \"a/b\"", "plant name: found \"a/b\""),
        (
            "[commands]",
            "[[cameras]]\nname = \"joint_positions\"\ntopic = \"/front\"\nheight = 48\nwidth = 64\n[commands]",
            "cameras[0].name: found \"joint_positions\"",
        ),
    ] {
        let file = ros_file(&folder, &port, &[(from, to)]);
        common::refuses(&mut serve(&file, "200"), 2, &["ros2.toml", words]);
    }
    let file = ros_file(&folder, &port, &[]);
    common::edit(&file, "names = [\"a\"", "names = [\"x\"");
    common::refuses(
        &mut serve(&file, "200"),
        2,
        &["commands.channels[0].name: found \"a\"", "joint_states.names"],
    );
}

#[test]
fn a_server_that_ends_leaves_a_robot_of_ros_at_rest_and_says_where_it_is_not() {
    let robot = ["--kind", "velocity", "--topic", "/arm/commands"];
    let patient = ("wait_ms = 3000", "wait_ms = 60000");
    let mut cell = Cell::start("end", &robot, &[&VELOCITIES[..], &[patient]].concat(), "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset().unwrap();
    driver.drive(&mut cell.robot, [0.3, -0.3, 0.2], |robot| distance(&robot.positions, &POSE) > 0.1);
    // A controller that lets go leaves it at rest too.
    drop(driver);
    cell.until_zero();
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset_at_last();
    let begin = cell.robot.positions.clone();
    driver.drive(&mut cell.robot, [-0.3, 0.3, -0.2], |robot| distance(&robot.positions, &begin) > 0.1);
    common::signal(&cell.server.child, "TERM");
    assert_eq!(cell.server.ends(), Some(0));
    cell.until_zero();
    let errors: Vec<String> = cell.server.errors.iter().collect();
    assert!(errors.is_empty(), "a stop is no failure: {errors:#?}");

    // A robot that moves on whatever it is told.
    let mut cell = Cell::start("runaway", &robot, &VELOCITIES, "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    driver.reset().unwrap();
    driver.drive(&mut cell.robot, [0.3, -0.3, 0.2], |robot| distance(&robot.positions, &POSE) > 0.1);
    cell.robot.tell("runaway");
    let refused = driver.reset().unwrap_err().to_string();
    assert!(refused.contains("no rest within 3000 ms: its joints have not stayed within 0.005"), "{refused}");
    common::signal(&cell.server.child, "TERM");
    cell.warns(&["has not come to rest", "use its emergency stop"]);
    assert_eq!(cell.server.ends(), Some(1));
}

#[test]
fn pictures_of_a_camera_of_ros_are_passed_on_as_they_are_and_wrong_ones_are_not() {
    let camera = "height = 48\nwidth = 64\n";
    let camera =
        format!("[[cameras]]\nname = \"front\"\ntopic = \"/front/compressed\"\n{camera}\n[commands]");
    let mut cell = Cell::start("pictures", &["--camera"], &[("[commands]", &camera)], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    let first = driver.reset().unwrap();
    assert_eq!(first.schema.feature("front").unwrap().to_string(), "front[48, 64, 3]");
    let path = |name: &str| common::repository().join("tests/ros2").join(name).display().to_string();
    let (whole, small) = (path("picture.jpg"), path("small.jpg"));
    // A picture belongs to an episode, which an observation begins.
    while driver.hear(None).is_none() {}
    let moved = loop {
        if let Some(moved) = driver.hear(None) {
            break moved;
        }
    };
    let mut frames = Vec::new();
    for format in ["jpeg", "rgb8;jpeg"] {
        cell.robot.tell(&format!("picture {format} {whole}"));
        frames.push(driver.frames.recv_timeout(TIMEOUT).expect("a frame"));
    }
    let data = std::fs::read(&whole).unwrap();
    for frame in &frames {
        assert_eq!(
            (&*frame.camera, frame.width, frame.height, frame.encoding),
            ("front", 64, 48, Encoding::Jpeg)
        );
        assert!(frame.data == data && frame.episode == driver.episode, "bit for bit");
        assert!(frame.stamp_ns.abs_diff(moved.stamp_ns) < 60_000_000_000, "on the plant's clock");
    }
    assert!(frames[0].stamp_ns < frames[1].stamp_ns && frames[0].sequence < frames[1].sequence);
    assert_eq!(frames[0].clone().decoded().unwrap().rgb.len(), 48 * 64 * 3);
    for (line, words) in [
        (format!("picture jpeg {small}"), &["found a JPEG file of 32×24 pixels", "valid is 64×48"][..]),
        (format!("picture png {whole}"), &["format: found \"png\"; valid is jpeg"]),
        (format!("picture jpeg {}", path("robot.py")), &["/front/compressed: refused"]),
    ] {
        cell.robot.tell(&line);
        cell.warns(words);
    }
    cell.robot.tell(&format!("picture jpeg {whole}"));
    assert_eq!(driver.frames.recv_timeout(TIMEOUT).expect("a frame").data, data);
    assert!(driver.frames.try_recv().is_err(), "none of the wrong ones was passed on");
}

#[test]
fn an_episode_of_a_robot_of_ros_is_prepared_by_a_service_and_won_by_a_topic() {
    let more =
        "[reset]\nservice = \"/prepare\"\nwait_ms = 30000\n\n[success]\ntopic = \"/done\"\n\n[commands]";
    let mut cell = Cell::start("service", &["--services"], &[("[commands]", more)], "60000");
    let mut driver = Driver::claim(&cell.endpoint);
    cell.robot.tell("unprepared");
    let refused = driver.reset().unwrap_err().to_string();
    assert!(
        refused.contains("service /prepare: it says that it has not worked: the drawer is stuck"),
        "{refused}"
    );
    cell.robot.tell("end unprepared");
    driver.reset().unwrap();
    assert!(!loop {
        if let Some(moved) = driver.hear(None) {
            break moved.success;
        }
    });
    cell.robot.tell("done");
    let begin = Instant::now();
    while !driver.hear(None).is_some_and(|moved| moved.success) {
        assert!(begin.elapsed() < TIMEOUT);
    }
    // The next episode is not won yet.
    driver.reset().unwrap();
    assert!(!loop {
        if let Some(moved) = driver.hear(None) {
            break moved.success;
        }
    });
}
