//! Tests the Python peers, each a separate process on loopback. Upstream LIBERO gives the same observations as the native
//! runtime and runs the demo's arms unchanged. The Python robot stops when commands cease. Also runs the Python unit tests.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aegis_core::{Observation, Plant, PlantError, Start};
use aegis_experiments::EpisodeResult;
use aegis_link::wire::{Message, Mode, Phase};
use aegis_link::{Credentials, Endpoint, KeyExprs, LinkError, Role, Timeouts, ZenohPlant, open_guarded};
use aegis_sim::LiberoPlant;
use zenoh::Wait;

/// Long timeouts, because opening an upstream environment takes many seconds on a busy machine.
const TIMEOUT: Timeouts = Timeouts {
    heartbeat: Duration::from_secs(60),
    step: Duration::from_secs(600),
    reset: Duration::from_secs(600),
    claim: Duration::from_secs(120),
};

/// Returns a command of the Python environment that `cargo xtask test` creates.
fn python(test: &str) -> Command {
    let python = common::repository().join(".deps/python/bin/python");
    assert!(python.is_file(), "{}: missing; run `cargo xtask test`", python.display());
    let scratch = common::folder(&format!("python-{test}"));
    let mut command = Command::new(python);
    command
        .current_dir(common::repository().join("sim_bridge/link/python"))
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NUMBA_CACHE_DIR", scratch.join("numba"))
        .env("LIBERO_CONFIG_PATH", scratch.join("libero"));
    command
}

struct Peer {
    process: Child,
    endpoint: String,
}

impl Peer {
    fn start(script: &str, name: &str, arguments: &[&str]) -> Self {
        Self::start_at(script, name, "tcp", arguments)
    }

    fn start_at(script: &str, name: &str, carrier: &str, arguments: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let endpoint = format!("{carrier}/{}", free.expect("a port is free"));
        let mut process = python(name)
            .args([script, "--name", name, "--listen", &endpoint])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped"))
            .lines()
            .map(|line| line.expect("a line"));
        let ready = format!("serving {name} at ");
        assert!(lines.any(|line| line.starts_with(&ready)), "{script} ended before it was ready");
        Self { process, endpoint }
    }

    fn connect(&self) -> zenoh::Session {
        aegis_link::open(Role::Drive, &self.endpoint.parse().expect("it is an endpoint")).expect("it listens")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the largest difference between any two numbers of the observations that a policy may read: seconds, metres, radians,
/// quaternion components.
fn difference(one: &Observation, other: &Observation) -> f64 {
    let names = |seen: &Observation| {
        seen.schema
            .features()
            .iter()
            .map(|feature| (feature.name.clone(), feature.shape.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(one), names(other));
    assert_eq!(one.schema.actions(), other.schema.actions());
    assert_eq!((one.task, &one.instruction), (other.task, &other.instruction));
    let mut largest = (one.plant_time - other.plant_time).abs();
    for (feature, range) in one.schema.ranges() {
        let (one, other) = (&one.values[range.clone()], &other.values[range]);
        // A quaternion and its negative are the same rotation.
        let turned = |values: &[f64]| {
            let negative = feature.name.ends_with("quaternion")
                && values.iter().find(|value| value.abs() > 1e-6) < Some(&0.0);
            values.iter().map(|value| if negative { -value } else { *value }).collect::<Vec<_>>()
        };
        for (one, other) in turned(one).iter().zip(turned(other)) {
            largest = largest.max((one - other).abs());
        }
    }
    largest
}

#[test]
fn upstream_over_the_wire_is_a_plant_like_ours() {
    let upstream = Peer::start("../../python/serve_libero.py", "upstream", &[]);
    let study = common::Study::open();
    let session = upstream.connect();
    let mut there =
        ZenohPlant::claim(&session, "upstream", "test", Mode::LockStep, TIMEOUT).expect("nobody holds it");
    let mut here = LiberoPlant::new(study.suite.clone());
    let start = Start { task: 3, initial_state: 12 };
    let first = difference(&there.reset(start).unwrap(), &here.reset(start).unwrap());
    assert!(first < 1e-9, "the restored state differs by {first:e}");
    for step in 0..20 {
        let phase = step as f32 * 0.4;
        let action = [phase.sin(), 0.5 * phase.cos(), -0.3, 0.1 * phase.sin(), 0.0, 0.1, -1.0];
        let (there, here) = (there.step(&action).unwrap(), here.step(&action).unwrap());
        let found = difference(&there.observation, &here.observation);
        // Measured: 1e-14, from the different order of sums in linear algebra.
        assert!(found < 1e-9, "step {}: {found:e}", step + 1);
        assert_eq!(there.success, here.success);
    }
    // Restoring the same state again does not depend on the steps before.
    let again = difference(&there.reset(start).unwrap(), &here.reset(start).unwrap());
    assert!(again < 1e-9, "the state restored again differs by {again:e}");
    // In a task that begins with a drawer set, a second `reset` of upstream's environment would move the cabinet.
    let drawer = Start { task: 4, initial_state: 7 };
    for episode in 0..2 {
        there.reset(drawer).unwrap();
        here.reset(drawer).unwrap();
        for step in 0..10 {
            let action = [0.3, -0.2, -0.3, 0.0, 0.0, 0.1, -1.0];
            let (there, here) = (there.step(&action).unwrap(), here.step(&action).unwrap());
            let found = difference(&there.observation, &here.observation);
            assert!(found < 1e-9, "episode {episode}, step {}: {found:e}", step + 1);
        }
    }
    drop(there);
    drop(session);

    let out = common::folder("upstream");
    // Upstream has only the recorded initial states.
    let plan = common::repository().join("experiments/recorded.toml");
    let run = common::aegis()
        .args(["demo", "--json", "--episodes", "1", "--plan"])
        .arg(plan)
        .args(["--connect", &upstream.endpoint, "--plant", "upstream"])
        .arg("--out")
        .arg(&out)
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&run.stderr);
    // The demo refuses twins that differ before their first hand-over, so its success also shows that upstream keeps the pairing.
    assert!(run.status.success(), "{said}");
    assert!(!said.contains("interrupted"), "{said}");
    let text = std::fs::read_to_string(out.join("episodes.jsonl")).expect("the demo wrote its results");
    let arms: Vec<EpisodeResult> =
        text.lines().map(|line| serde_json::from_str(line).expect("a result")).collect();
    assert_eq!(arms.len(), 3);
    assert!(arms.iter().all(|arm| arm.steps > 0 && !arm.scores.is_empty()));
}

#[test]
fn a_robot_in_python_follows_commands_and_stops_when_they_cease() {
    let peer = Peer::start("serve_robot.py", "robot", &["--command-timeout", "2000"]);
    let session = peer.connect();
    let (sender, statuses) = std::sync::mpsc::channel();
    let _statuses = session
        .declare_subscriber(KeyExprs::of("robot").unwrap().status)
        .callback(move |sample| drop(sender.send(Message::decode(&sample.payload().to_bytes()))))
        .wait()
        .unwrap();
    let mut robot =
        ZenohPlant::claim(&session, "robot", "test", Mode::FreeRunning, Timeouts::default()).unwrap();
    let start = Start { task: 0, initial_state: 0 };
    assert_eq!(robot.reset(start).unwrap().feature("joint_positions"), Some(&[0.0; 7][..]));
    let mut last = 0.0;
    for _ in 0..10 {
        let seen = robot.step(&[0.5; 7]).unwrap().observation;
        last = seen.feature("joint_positions").unwrap()[6];
    }
    assert!(last > 0.0, "ten commands moved nothing");
    // No further commands are sent.
    let stopped =
        |message: &Message| matches!(message, Message::Status(status) if status.phase == Phase::Stopped);
    assert!(statuses.iter().any(|message| stopped(&message.unwrap())));
    let late = robot.step(&[0.5; 7]);
    assert!(matches!(late, Ok(_) | Err(PlantError::Lost(_))), "{late:?}");
    assert!(robot.reset(start).is_ok(), "a reset sets it in motion again");
}

#[test]
fn a_place_that_is_taken_and_an_open_network_are_refused() {
    let peer = Peer::start("serve_robot.py", "first", &[]);
    let refusal = |listen: &str| {
        let ended = python("second").args(["serve_robot.py", "--listen", listen]).output().unwrap();
        assert!(!ended.status.success(), "served at {listen}");
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let said = refusal(&peer.endpoint);
    assert!(said.contains(&peer.endpoint), "{said}");
    let said = refusal("tcp/0.0.0.0:7447");
    assert!(said.contains("--allow-plaintext-network"), "{said}");
}

#[test]
fn a_robot_in_python_is_driven_over_tls_by_a_controller_and_by_no_watcher() {
    if common::ran_in_a_process_of_its_own(
        "peers::a_robot_in_python_is_driven_over_tls_by_a_controller_and_by_no_watcher",
    ) {
        return;
    }
    let keys = common::folder("peers-tls").join("keys");
    common::make_keys(&keys);
    let plant = keys.join("plant");
    let peer = Peer::start_at("serve_robot.py", "guarded", "tls", &["--keys", plant.to_str().unwrap()]);
    let connect = |party: &str| {
        let endpoint: Endpoint = peer.endpoint.parse().unwrap();
        let guarded = endpoint.guard(false, Some(Credentials::open(&keys.join(party)).unwrap())).unwrap();
        open_guarded(Role::Drive, &guarded, &["guarded".into()]).expect("its certificate is good")
    };
    let claim = |session: &zenoh::Session, claim: Duration| {
        let patience = Timeouts { claim, ..Timeouts::default() };
        ZenohPlant::claim(session, "guarded", "test", Mode::FreeRunning, patience)
    };
    let refused = claim(&connect("watcher"), Duration::from_secs(1));
    assert!(matches!(refused, Err(LinkError::Nobody { .. })), "{refused:?}");
    let session = connect("controller");
    let mut robot = claim(&session, Duration::from_secs(60)).expect("a controller may");
    robot.reset(Start { task: 0, initial_state: 0 }).unwrap();
    let seen = robot.step(&[0.5; 7]).unwrap().observation;
    assert_eq!(seen.feature("joint_positions").map(<[f64]>::len), Some(7));
}

/// Runs the Python side's own tests in one of its modules.
fn unit_tests(module: &str) {
    let output = python(module)
        .args(["-m", "unittest", "-v", module])
        .env("AEGIS_BINARY", env!("CARGO_BIN_EXE_aegis"))
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("\nRan ") && !said.contains("\nRan 0 tests") && !said.contains("(skipped="),
        "{said}"
    );
}

#[test]
fn the_python_side_keeps_the_same_rules() {
    unit_tests("test_aegis_link");
    unit_tests("test_aegis_policy");
    unit_tests("test_aegis_camera");
    unit_tests("test_aegis_teleop");
}

#[test]
fn the_python_side_lets_in_over_tls_whom_its_certificates_permit() {
    unit_tests("test_aegis_tls");
}
