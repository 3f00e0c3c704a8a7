//! Runs the demo's arms on plants served by another process. The results must have the same bytes as in-process runs, also
//! when the plant's or the controller's process is killed during an episode.
//! Uses real processes and a real Zenoh session on loopback. Tests wait for events, not for fixed times.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aegis_core::{Plant, Start};
use aegis_link::wire::{Claim, Code, Message, Mode, Phase, Status, VERSION};
use aegis_link::{Endpoint, Role, Timeouts, ZenohPlant};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;

/// A process of `aegis sim serve` with one or more plants, killed when the test ends.
struct Bridge {
    process: Child,
    endpoint: String,
}

impl Bridge {
    fn start(names: &[&str], listen: &str) -> Self {
        let mut command = common::aegis();
        // The sample seed of the shipped plan, because the plan's confirmation starts are sampled.
        command
            .args(["sim", "serve", "--sample-seed", "20261125", "--listen", listen])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in names {
            command.args(["--name", name]);
        }
        let mut process = command.spawn().expect("the binary starts");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        // Each plant prints one line with its endpoint when it is ready.
        let ready: Vec<String> = lines.take(names.len()).map(|line| line.expect("a line")).collect();
        let endpoint = ready[0].rsplit(' ').next().expect("an endpoint").to_owned();
        Self { process, endpoint }
    }

    fn session(&self) -> zenoh::Session {
        aegis_link::open(Role::Drive, &self.endpoint()).expect("it listens")
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.parse().expect("it is an endpoint")
    }

    fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn demo(out: &Path, remote: Option<(&str, &[&str])>) -> Command {
    let mut command = common::aegis();
    command.args(["demo", "--json", "--episodes", "2", "--out"]).arg(out);
    if let Some((endpoint, plants)) = remote {
        command.args(["--connect", endpoint]);
        for plant in plants {
            command.args(["--plant", plant]);
        }
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn results(mut command: Command, out: &Path) -> (Vec<u8>, String) {
    let output = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (std::fs::read(out.join("episodes.jsonl")).expect("the demo wrote its results"), said)
}

fn in_process(folder: &Path) -> Vec<u8> {
    let out = folder.join("here");
    results(demo(&out, None), &out).0
}

/// Waits until a plant publishes a status for which `shows` holds.
fn wait_for(session: &zenoh::Session, plant: &str, shows: impl Fn(&Status) -> bool) {
    let statuses = common::hear(session, format!("aegis/{plant}/status"));
    while !shows(&statuses.status()) {}
}

/// Sends one request to a plant and returns the answer.
fn ask(session: &zenoh::Session, plant: &str, request: Vec<u8>) -> Message {
    let answers = session.get(format!("aegis/{plant}/request")).payload(request).with(FifoChannel::new(1));
    let reply = answers.wait().expect("it is sent").recv().expect("it is answered");
    let answer = reply.into_result().expect("an answer").payload().to_bytes().into_owned();
    Message::decode(&answer).expect("a message")
}

fn running(status: &Status) -> bool {
    status.phase == Phase::Running && status.episode >= 2 && status.sequence >= 15
}

#[test]
fn arms_over_the_wire_give_the_bytes_of_arms_in_process() {
    let folder = common::folder("bridge-equal");
    let bridge = Bridge::start(&["one", "two"], "tcp/127.0.0.1:0");
    let out = folder.join("there");
    let (there, said) = results(demo(&out, Some((&bridge.endpoint, &["one", "two"]))), &out);
    assert!(!said.contains("interrupted"), "{said}");
    assert!(there == in_process(&folder), "the wire changed a result");
}

#[test]
fn a_plant_whose_process_stood_still_keeps_the_controller_that_it_could_not_hear() {
    let bridge = Bridge::start(&["still"], "tcp/127.0.0.1:0");
    let session = bridge.session();
    let statuses = common::hear(&session, "aegis/still/status");
    statuses.status();
    // The claim is sent without a heartbeat, so no message of the controller is queued when the plant resumes.
    let claim = Message::from(Claim { controller: "test".into(), nonce: 1, mode: Mode::LockStep }).encode();
    let Message::Claimed(claimed) = ask(&session, "still", claim) else { panic!("nobody holds it") };
    common::signal(&bridge.process, "STOP");
    // Longer than the silence after which a plant releases its controller.
    std::thread::sleep(Duration::from_nanos(claimed.controller_timeout_ns) + Duration::from_secs(1));
    while statuses.samples.try_recv().is_ok() {}
    common::signal(&bridge.process, "CONT");
    // The first status may date from before the pause.
    statuses.status();
    assert_eq!(statuses.status().session, claimed.session);
}

#[test]
fn a_bridge_killed_mid_episode_costs_that_episode_and_nothing_else() {
    let folder = common::folder("bridge-killed");
    let mut bridge = Bridge::start(&["mortal"], "tcp/127.0.0.1:0");
    let out = folder.join("there");
    let controller = demo(&out, Some((&bridge.endpoint, &["mortal"]))).spawn().expect("the binary starts");
    wait_for(&bridge.session(), "mortal", running);
    bridge.kill();
    let _successor = Bridge::start(&["mortal"], &bridge.endpoint);
    let output = controller.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("interrupted, run again from its beginning"), "{said}");
    let there = std::fs::read(out.join("episodes.jsonl")).expect("the demo wrote its results");
    assert!(there == in_process(&folder), "the interruption changed a result");
}

#[test]
fn a_controller_killed_mid_episode_frees_the_plant_for_the_next() {
    let folder = common::folder("bridge-orphan");
    let bridge = Bridge::start(&["orphan"], "tcp/127.0.0.1:0");
    let session = bridge.session();
    let out = folder.join("killed");
    let mut first = demo(&out, Some((&bridge.endpoint, &["orphan"]))).spawn().expect("the binary starts");
    wait_for(&session, "orphan", running);
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    assert!(!out.exists(), "a killed demo leaves nothing half-written");
    wait_for(&session, "orphan", |status| status.phase == Phase::Idle);
    let out = folder.join("next");
    let (next, _) = results(demo(&out, Some((&bridge.endpoint, &["orphan"]))), &out);
    assert!(next == in_process(&folder), "what the dead controller left behind changed a result");
}

#[test]
fn a_second_controller_refuses_to_start() {
    let bridge = Bridge::start(&["held"], "tcp/127.0.0.1:0");
    let session = bridge.session();
    let mut plant = ZenohPlant::claim(&session, "held", "the first", Mode::LockStep, Timeouts::default())
        .expect("nobody holds it");
    let start = Start { task: 0, initial_state: 0 };
    plant.reset(start).expect("the start exists");
    let out = common::folder("bridge-second").join("never");
    common::refuses(&mut demo(&out, Some((&bridge.endpoint, &["held"]))), 1, &["held by \"the first\""]);
    assert!(!out.exists());
    let moved = plant.step(&[0.0; 7]).expect("the first goes on");
    assert_eq!(moved.observation.step, 1, "the second did not disturb it");
}

#[test]
fn what_is_no_message_is_refused_and_the_process_goes_on() {
    let mut bridge = Bridge::start(&["hardened"], "tcp/127.0.0.1:0");
    let session = bridge.session();
    let ask = |bytes: Vec<u8>| match ask(&session, "hardened", bytes) {
        Message::Refused(refused) => refused,
        other => panic!("{other:?}"),
    };
    let claim = Message::from(Claim { controller: "test".into(), nonce: 1, mode: Mode::LockStep }).encode();
    let mut newer = claim.clone();
    newer[4] = VERSION as u8 + 1;
    let refused = ask(newer);
    assert_eq!(refused.code, Code::Version);
    for version in [VERSION, VERSION + 1] {
        assert!(refused.reason.contains(&version.to_string()), "{}", refused.reason);
    }
    let mut oversized = claim[..8].to_vec();
    oversized.extend(b"\x83\xaacontroller\xdb\xff\xff\xff\xff");
    for bytes in [Vec::new(), claim[..claim.len() / 2].to_vec(), oversized] {
        assert_eq!(ask(bytes).code, Code::Malformed);
    }
    // A message above the size limit of messages to a plant is dropped unread.
    let answers = session.get("aegis/hardened/request").payload(vec![0; 1 << 20]).with(FifoChannel::new(1));
    assert!(answers.wait().expect("it is sent").recv().is_err(), "an answer to what is no message");
    let patience = Timeouts { claim: Duration::from_secs(60), ..Timeouts::default() };
    let mut plant =
        ZenohPlant::claim(&session, "hardened", "test", Mode::LockStep, patience).expect("it lives");
    plant.reset(Start { task: 0, initial_state: 0 }).expect("the start exists");
    bridge.kill();
    let mut said = String::new();
    bridge.process.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
    let first =
        format!("warning: hardened: dropped 1 message, the last because: schema version {}", VERSION + 1);
    assert!(said.contains(&first), "{said}");
}

#[test]
fn a_stop_that_nobody_hears_is_said_not_to_have_arrived() {
    let bridge = Bridge::start(&["alone"], "tcp/127.0.0.1:0");
    for (wish, plant) in [("e-stop", "alone"), ("reset", "nobody")] {
        let mut operate = common::aegis();
        operate.args(["operate", wish, "--plant", plant, "--connect", &bridge.endpoint]);
        common::refuses(&mut operate, 1, &[plant, "nobody hears", "`aegis run`"]);
    }
}

#[test]
fn an_endpoint_where_nobody_listens_is_named_without_zenohs_source() {
    let mut operate = common::aegis();
    operate.args(["operate", "stop", "--plant", "libero", "--connect", "tcp/127.0.0.1:9"]);
    let output = operate.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: endpoint \"tcp/127.0.0.1:9\": cannot connect: "), "{said}");
    assert!(said.contains("`aegis sim serve`") && !said.contains(".rs:"), "{said}");
}

#[test]
fn endpoints_and_names_that_are_none_are_refused_before_anything_is_loaded() {
    let out = common::folder("bridge-refused").join("never");
    let demo = |endpoint| demo(&out, Some((endpoint, &["p"])));
    common::refuses(&mut demo("tcp/192.0.2.1:7447"), 2, &["tcp/192.0.2.1:7447", "loopback"]);
    common::refuses(&mut demo("7447"), 2, &["7447", "tcp/127.0.0.1:7447"]);
    let serve = |arguments: &[&str]| {
        let mut command = common::aegis();
        command.args(["sim", "serve"]).args(arguments);
        command
    };
    common::refuses(&mut serve(&["--listen", "tcp/0.0.0.0:7447"]), 2, &["0.0.0.0", "loopback"]);
    common::refuses(&mut serve(&["--name", "a", "--name", "a"]), 2, &["--name a", "different names"]);
}
