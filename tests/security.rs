//! Tests who may read and move a plant over a network: each principal's certificate, no certificate, one of another authority,
//! and plain TCP.
//! Uses certificates of the real binary and real TLS sessions on loopback. Every test also shows that the permitted principal
//! succeeds.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{self, Heard};

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use aegis_core::{Plant, Start};
use aegis_link::watchdog::{Stopper, Supervised, Supervision, attach};
use aegis_link::wire::{Claim, Claimed, Message, Mode, Phase, Pulse, Status};
use aegis_link::{Credentials, Endpoint, LinkError, Role, Timeouts, ZenohPlant, listening, open_guarded};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::sample::Locality;

const NAME: &str = "guarded";
const START: Start = Start { task: 0, initial_state: 0 };
/// Timeout of a query that must get no answer. A permitted query is answered within milliseconds.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Creates a key folder with a client certificate for any common name, signed by `authority`. The binary would not create it.
fn forge(authority: &Path, common_name: &str, out: &Path) -> PathBuf {
    let read = |name: &str| std::fs::read_to_string(authority.join(name)).unwrap();
    let signer = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), signer).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap().pem();
    folder_of(out, &read("ca.pem"), &certificate, &key.serialize_pem())
}

fn folder_of(out: &Path, authority: &str, certificate: &str, private: &str) -> PathBuf {
    std::fs::create_dir_all(out).unwrap();
    for (name, text) in [("ca.pem", authority), ("certificate.pem", certificate), ("private.pem", private)] {
        std::fs::write(out.join(name), text).unwrap();
    }
    common::mode(&out.join("private.pem"), 0o600);
    out.into()
}

fn connect(endpoint: &str, keys: &Path) -> Result<zenoh::Session, LinkError> {
    let endpoint: Endpoint = endpoint.parse()?;
    let guarded = endpoint.guard(false, Some(Credentials::open(keys)?))?;
    open_guarded(Role::Drive, &guarded, &[NAME.into()])
}

/// Opens a session that ignores the project's rules: it has no access control of its own, only the given `settings`.
fn stray(endpoint: &str, settings: &[(&str, String)]) -> zenoh::Result<zenoh::Session> {
    let mut config = zenoh::Config::default();
    let connect = format!("[{endpoint:?}]");
    for (key, value) in [
        ("mode", r#""client""#),
        ("connect/endpoints", connect.as_str()),
        ("connect/timeout_ms", "2000"),
        ("connect/exit_on_failure", "true"),
        ("scouting/multicast/enabled", "false"),
    ] {
        config.insert_json5(key, value).unwrap();
    }
    for (key, value) in settings {
        config.insert_json5(key, value).unwrap();
    }
    zenoh::open(config).wait()
}

/// Returns the Zenoh settings for [`stray`] to connect with the keys of `folder`.
fn bare(folder: &Path) -> Vec<(&'static str, String)> {
    let file = |name: &str| format!("{:?}", folder.join(name).to_str().unwrap());
    vec![
        ("transport/link/tls/root_ca_certificate", file("ca.pem")),
        ("transport/link/tls/enable_mtls", "true".into()),
        ("transport/link/tls/connect_certificate", file("certificate.pem")),
        ("transport/link/tls/connect_private_key", file("private.pem")),
    ]
}

/// A process of `aegis sim serve` over TLS, killed when the test ends.
struct Bridge {
    process: Child,
    endpoint: String,
    keys: PathBuf,
}

impl Bridge {
    fn start(folder: &Path) -> Self {
        let keys = folder.join("keys");
        common::make_keys(&keys);
        let mut process = common::aegis()
            // The sample seed of the shipped plan, because the plan's confirmation starts are sampled.
            .args(["sim", "serve", "--sample-seed", "20261125", "--name", NAME])
            .args(["--listen", "tls/127.0.0.1:0", "--keys"])
            .arg(keys.join("plant"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let endpoint = ready.trim().rsplit(' ').next().expect("an endpoint").to_owned();
        assert!(endpoint.starts_with("tls/127.0.0.1:"), "{ready}");
        Self { process, endpoint, keys }
    }

    fn connect(&self, keys: &str) -> zenoh::Session {
        connect(&self.endpoint, &self.keys.join(keys)).expect("its certificate is good")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn drive(session: &zenoh::Session) -> ZenohPlant {
    let patience = Timeouts { claim: Duration::from_secs(60), ..Timeouts::default() };
    let mut plant = ZenohPlant::claim(session, NAME, "the controller", Mode::LockStep, patience)
        .expect("a controller may");
    plant.reset(START).expect("the start exists");
    step(&mut plant, 1);
    plant
}

fn step(plant: &mut ZenohPlant, number: u32) {
    assert_eq!(plant.step(&[0.0; 7]).expect("a controller may").observation.step, number);
}

/// Waits for a status that was sent after this call.
fn status(heard: &Heard) -> Status {
    while heard.samples.try_recv().is_ok() {}
    // The first status may have been sent before the call.
    heard.status();
    heard.status()
}

/// Tries everything that a controller sends and every key that a peer could read, until `beats` has received several statuses of
/// the plant. Returns a description of every message that other sessions sent back.
fn attack(session: &zenoh::Session, beats: &Heard) -> Vec<String> {
    let mut got = Vec::new();
    let heard: Vec<_> = ["status", "observation", "pulse", "action", "*", "**"]
        .iter()
        .map(|leaf| (*leaf, common::hear(session, format!("aegis/{NAME}/{leaf}"))))
        .collect();
    let claim =
        Message::from(Claim { controller: "attacker".into(), nonce: 7, mode: Mode::LockStep }).encode();
    let pulse = Message::from(Pulse { session: 1, stamp_ns: 0 }).encode();
    for key in [format!("aegis/{NAME}/pulse"), format!("aegis/{NAME}/action"), format!("aegis/{NAME}/**")] {
        session.put(&key, pulse.clone()).wait().expect("it is sent");
        session.delete(&key).wait().expect("it is sent");
    }
    for key in [format!("aegis/{NAME}/request"), "aegis/*/request".into(), "**".into(), "@/**".into()] {
        let question = session.get(&key).payload(claim.clone()).timeout(UNANSWERED);
        let question = question.allowed_destination(Locality::Remote);
        let answers = question.with(FifoChannel::new(8)).wait().expect("it is sent");
        while let Ok(reply) = answers.recv() {
            if let Ok(sample) = reply.result() {
                got.push(format!("answer on {}", sample.key_expr()));
            }
        }
    }
    let alive = session.liveliness().get("**").timeout(UNANSWERED).wait().expect("it is sent");
    while let Ok(reply) = alive.recv() {
        got.extend(reply.result().map(|sample| format!("token {}", sample.key_expr())).ok());
    }
    for _ in 0..3 {
        status(beats);
    }
    for (leaf, heard) in heard {
        while let Ok(sample) = heard.samples.try_recv() {
            got.push(format!("sample of {} on {leaf}", sample.key_expr()));
        }
    }
    got
}

#[test]
fn a_controller_drives_and_who_has_no_certificate_of_ours_is_not_even_connected() {
    if common::ran_in_a_process_of_its_own(
        "security::a_controller_drives_and_who_has_no_certificate_of_ours_is_not_even_connected",
    ) {
        return;
    }
    let folder = common::folder("security-strangers");
    let bridge = Bridge::start(&folder);
    let session = bridge.connect("controller");
    let mut plant = drive(&session);

    let authority = format!("{:?}", bridge.keys.join("ca.pem").to_str().unwrap());
    let trusting = [("transport/link/tls/root_ca_certificate", authority)];
    assert!(stray(&bridge.endpoint, &trusting).is_err(), "without a certificate");

    let others = folder.join("others");
    common::make_keys(&others);
    let another = connect(&bridge.endpoint, &others.join("controller"));
    assert!(matches!(another, Err(LinkError::Drive { .. })), "it trusts another authority: {another:?}");
    let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
    let mixed = folder_of(
        &folder.join("mixed"),
        &read(bridge.keys.join("ca.pem")),
        &read(others.join("controller/certificate.pem")),
        &read(others.join("controller/private.pem")),
    );
    let another = connect(&bridge.endpoint, &mixed);
    // The connecting side finds the mismatch before it connects. The plant's side refuses a peer that does not check itself.
    assert!(
        matches!(another, Err(LinkError::Credentials { .. })),
        "another authority signed it: {another:?}"
    );
    assert!(stray(&bridge.endpoint, &bare(&mixed)).is_err(), "another authority signed it");

    // The plant's certificate is for listening only and opens no connection.
    assert!(stray(&bridge.endpoint, &bare(&bridge.keys.join("plant"))).is_err(), "a plant connects");

    let plain = bridge.endpoint.replace("tls/", "tcp/");
    assert!(aegis_link::open(Role::Drive, &plain.parse().unwrap()).is_err(), "plain TCP");

    step(&mut plant, 2);
    let status = status(&common::hear(&session, format!("aegis/{NAME}/status")));
    assert_eq!((status.dropped, status.refused, status.sequence), (0, 0, 2));
}

#[test]
fn a_watcher_reads_and_moves_nothing_and_a_certificate_of_nobody_does_neither() {
    if common::ran_in_a_process_of_its_own(
        "security::a_watcher_reads_and_moves_nothing_and_a_certificate_of_nobody_does_neither",
    ) {
        return;
    }
    let folder = common::folder("security-parties");
    let bridge = Bridge::start(&folder);
    let session = bridge.connect("controller");
    let mut plant = drive(&session);
    let statuses = common::hear(&session, format!("aegis/{NAME}/status"));

    let watcher = stray(&bridge.endpoint, &bare(&bridge.keys.join("watcher"))).expect("a good certificate");
    let watched = status(&common::hear(&watcher, format!("aegis/{NAME}/status")));
    assert_eq!((watched.session, watched.sequence), (plant.claimed().session, 1));
    let got = attack(&watcher, &statuses);
    // Whatever the watcher subscribes to, it receives only the status.
    let may = |line: &String| line.starts_with("sample of aegis/guarded/status on ");
    assert!(got.iter().all(may), "{got:?}");

    let forge = |name: &str| forge(&bridge.keys, name, &folder.join(name));
    for name in ["stranger", "plant", "controller.another", "policy"] {
        let peer = stray(&bridge.endpoint, &bare(&forge(name))).expect("a good certificate");
        let got = attack(&peer, &statuses);
        assert!(got.is_empty(), "{name}: {got:?}");
    }

    // Any request that reached the plant would have been refused, because the plant is held. Any heartbeat or action would have
    // been dropped, because its session is unknown. Both counts are zero.
    let after = status(&statuses);
    assert_eq!((after.dropped, after.refused, after.session), (0, 0, plant.claimed().session));
    step(&mut plant, 2);

    // The same attack with a controller's certificate reaches the plant, which shows that the attack and the counts work.
    let peer = stray(&bridge.endpoint, &bare(&forge("controller.guarded"))).expect("a good certificate");
    status(&common::hear(&peer, format!("aegis/{NAME}/status")));
    let got = attack(&peer, &statuses);
    assert!(got.iter().any(|line| line == "answer on aegis/guarded/request"), "{got:?}");
    let after = status(&statuses);
    assert!(after.dropped > 0 && after.refused == 1, "{after:?}");
    step(&mut plant, 3);
}

#[test]
fn a_watchdog_reads_what_moves_a_plant_stops_it_and_moves_nothing() {
    if common::ran_in_a_process_of_its_own(
        "security::a_watchdog_reads_what_moves_a_plant_stops_it_and_moves_nothing",
    ) {
        return;
    }
    let bridge = Bridge::start(&common::folder("security-watchdog"));
    let (session, watchdog) = (bridge.connect("controller"), bridge.connect("watchdog"));
    assert_eq!(attach(&watchdog, NAME, "a test").expect("a watchdog may").action_width, 7);
    let (sender, heard) = std::sync::mpsc::channel();
    let _supervision =
        Supervision::begin(&watchdog, NAME, move |message| drop(sender.send(message))).unwrap();
    let patience = Timeouts { claim: Duration::from_secs(60), ..Timeouts::default() };
    let mut plant = ZenohPlant::claim(&session, NAME, "the controller", Mode::FreeRunning, patience).unwrap();
    plant.reset(START).unwrap();
    let statuses = common::hear(&session, format!("aegis/{NAME}/status"));
    let (mut sent, mut executed) = (false, false);
    while !(sent && executed) {
        plant.step(&[0.0; 7]).expect("a controller may");
        for message in heard.try_iter() {
            sent |=
                matches!(&message, Supervised::Action(action) if action.session == plant.claimed().session);
            executed |= matches!(&message, Supervised::Executed(executed) if executed.command > 0);
        }
    }
    // The same as a watcher: whatever it sends on the keys of others goes nowhere. On its own key a claim is refused.
    let stray = stray(&bridge.endpoint, &bare(&bridge.keys.join("watchdog"))).expect("a good certificate");
    status(&common::hear(&stray, format!("aegis/{NAME}/status")));
    let before = status(&statuses);
    let got = attack(&stray, &statuses);
    let may = ["status on ", "action on ", "executed on "].map(|key| format!("sample of aegis/{NAME}/{key}"));
    let may = |line: &String| {
        may.iter().any(|may| line.starts_with(may)) || line == &format!("answer on aegis/{NAME}/watchdog")
    };
    assert!(got.iter().all(may), "{got:?}");
    assert_eq!(status(&statuses).session, before.session, "it is held as before");

    let (sender, answers) = std::sync::mpsc::channel();
    let stopper = Stopper::start(&watchdog, NAME, move |answer| drop(sender.send(answer))).unwrap();
    stopper.tell(Some("a test".into()));
    while !matches!(answers.recv_timeout(Duration::from_secs(60)).unwrap(), Ok(status) if status.phase == Phase::Stopped)
    {
    }
    let refused = plant.reset(START).unwrap_err().to_string();
    assert!(refused.contains("a watchdog holds the plant: a test"), "{refused}");
    // A watcher may not ask for it.
    let watcher = attach(&bridge.connect("watcher"), NAME, "a watcher");
    assert!(watcher.is_err(), "{watcher:?}");
}

#[test]
fn a_flood_costs_its_sender_its_messages_and_nobody_else_a_step() {
    if common::ran_in_a_process_of_its_own(
        "security::a_flood_costs_its_sender_its_messages_and_nobody_else_a_step",
    ) {
        return;
    }
    let folder = common::folder("security-flood");
    let bridge = Bridge::start(&folder);
    let session = bridge.connect("controller");
    let mut plant = drive(&session);
    let statuses = common::hear(&session, format!("aegis/{NAME}/status"));
    let flooder =
        stray(&bridge.endpoint, &bare(&bridge.keys.join("controller"))).expect("a good certificate");
    let pulse = Message::from(Pulse { session: 1, stamp_ns: 0 }).encode();
    let begin = Instant::now();
    for number in 2..=20 {
        for _ in 0..500 {
            flooder.put(format!("aegis/{NAME}/pulse"), pulse.clone()).wait().expect("it is sent");
            flooder.put(format!("aegis/{NAME}/pulse"), vec![0; 8192]).wait().expect("it is sent");
        }
        step(&mut plant, number);
    }
    let after = status(&statuses);
    let most = 100.0 * begin.elapsed().as_secs_f64() + 1.0;
    assert!(after.dropped > 0 && (after.dropped as f64) <= most, "{} of at most {most}", after.dropped);
}

#[test]
fn connections_that_fail_keep_out_neither_who_is_there_nor_an_operator() {
    if common::ran_in_a_process_of_its_own(
        "security::connections_that_fail_keep_out_neither_who_is_there_nor_an_operator",
    ) {
        return;
    }
    let bridge = Bridge::start(&common::folder("security-handshakes"));
    let session = bridge.connect("controller");
    let mut plant = drive(&session);
    let address = bridge.endpoint.trim_start_matches("tls/");
    // None of these connections speaks TLS, so each handshake fails at once. With Zenoh's default pause after each failure the
    // operator would wait for half a minute, and give up after five seconds.
    let failing = (0..300).map(|_| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is accepted");
        stream
    });
    let failing: Vec<TcpStream> = failing.collect();
    let operator = bridge.connect("operator");
    step(&mut plant, 2);
    drop((operator, failing));
}

#[test]
fn a_policy_cannot_pose_as_the_plant() {
    if common::ran_in_a_process_of_its_own("security::a_policy_cannot_pose_as_the_plant") {
        return;
    }
    let folder = common::folder("security-pose");
    let keys = folder.join("keys");
    common::make_keys(&keys);
    // Serves the plant's keys with the certificate of `party`, answers every claim, and claims it as a controller.
    let claim_at = |party: &str| {
        let guarded = "tls/127.0.0.1:0".parse::<Endpoint>().unwrap();
        let guarded = guarded.guard(false, Some(Credentials::open(&keys.join(party)).unwrap())).unwrap();
        let server = open_guarded(Role::Serve, &guarded, &[NAME.into()]).expect("it listens");
        let claimed = Claimed {
            instance: 1,
            session: 2,
            action_width: 7,
            tasks: 1,
            period_ns: 50_000_000,
            command_timeout_ns: 200_000_000,
            controller_timeout_ns: 5_000_000_000,
        };
        let answer = Message::from(claimed).encode();
        let _queryable = server
            .declare_queryable(format!("aegis/{NAME}/request"))
            .callback(move |query| query.reply(query.key_expr().clone(), answer.clone()).wait().unwrap())
            .wait()
            .unwrap();
        let endpoint = listening(&server).unwrap();
        let session = connect(&endpoint.to_string(), &keys.join("controller")).expect("good certificates");
        let patience = Timeouts { claim: UNANSWERED, ..Timeouts::default() };
        ZenohPlant::claim(&session, NAME, "test", Mode::LockStep, patience)
            .map(|plant| plant.claimed().session)
    };
    assert_eq!(claim_at("plant").expect("the plant's own certificate"), 2);
    assert!(matches!(claim_at("policy"), Err(LinkError::Nobody { .. })));
}

#[test]
fn a_policy_answers_a_controller_through_the_plant() {
    if common::ran_in_a_process_of_its_own("security::a_policy_answers_a_controller_through_the_plant") {
        return;
    }
    let folder = common::folder("security-policy");
    let bridge = Bridge::start(&folder);
    let policy = bridge.connect("policy");
    let key = format!("aegis/{NAME}/policy/infer");
    let _queryable = policy
        .declare_queryable(&key)
        .callback(|query| query.reply(query.key_expr().clone(), "a chunk").wait().unwrap())
        .wait()
        .unwrap();
    let ask = |keys: &str| {
        let session = bridge.connect(keys);
        let until = Instant::now() + if keys == "controller" { Duration::from_secs(60) } else { UNANSWERED };
        while Instant::now() < until {
            let question = session.get(&key).payload("an observation").timeout(UNANSWERED);
            let answers = question.with(FifoChannel::new(1)).wait().unwrap();
            if let Ok(Ok(sample)) = answers.recv().map(|reply| reply.into_result()) {
                return Some(sample.payload().try_to_string().unwrap().into_owned());
            }
        }
        None
    };
    assert_eq!(ask("controller").as_deref(), Some("a chunk"));
    assert_eq!(ask("watcher"), None);
}

#[test]
fn the_binary_drives_with_a_controllers_keys_and_not_with_a_watchers() {
    let folder = common::folder("security-binary");
    let bridge = Bridge::start(&folder);
    let demo = |party: &str| {
        let mut command = common::aegis();
        command.args(["demo", "--episodes", "1", "--connect", &bridge.endpoint, "--plant", NAME, "--keys"]);
        command.arg(bridge.keys.join(party)).arg("--out").arg(folder.join(party));
        command
    };
    common::refuses(&mut demo("watcher"), 2, &["watcher/certificate.pem: its common name is \"watcher\""]);
    let output = demo("controller").output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_operator_is_told_whether_a_controller_hears() {
    if common::ran_in_a_process_of_its_own("security::an_operator_is_told_whether_a_controller_hears") {
        return;
    }
    let folder = common::folder("security-operator");
    let bridge = Bridge::start(&folder);
    let operate = || {
        let mut command = common::aegis();
        command.args(["operate", "stop", "--plant", NAME, "--connect", &bridge.endpoint, "--keys"]);
        command.arg(bridge.keys.join("operator"));
        command
    };
    common::refuses(&mut operate(), 1, &["nobody hears the operator's key"]);
    let controller = bridge.connect("controller");
    let heard = common::hear(&controller, format!("aegis/{NAME}/operator"));
    common::succeeds(&mut operate());
    assert!(heard.samples.recv_timeout(UNANSWERED).is_ok(), "it came");
}

#[test]
fn only_an_operator_drives_by_hand_and_only_a_controller_calls() {
    if common::ran_in_a_process_of_its_own(
        "security::only_an_operator_drives_by_hand_and_only_a_controller_calls",
    ) {
        return;
    }
    let bridge = Bridge::start(&common::folder("security-by-hand"));
    let keys = aegis_link::KeyExprs::of(NAME).unwrap();
    let (controller, operator) = (bridge.connect("controller"), bridge.connect("operator"));
    let (teleops, calls) =
        (common::hear(&controller, keys.teleop.clone()), common::hear(&operator, keys.call.clone()));
    let everyone = ["controller", "watcher", "operator", "policy", "watchdog"];
    let sessions = everyone.map(|party| (party, bridge.connect(party)));
    // Messages that are permitted arrive once the routes are known; by then all others have been sent as often.
    for (heard, key, permitted) in [(&teleops, &keys.teleop, "operator"), (&calls, &keys.call, "controller")]
    {
        let mut arrived = 0;
        let begin = Instant::now();
        while arrived < 3 {
            assert!(begin.elapsed() < Duration::from_secs(60), "{permitted} is heard on {key}");
            for (party, session) in &sessions {
                session.put(key, *party).wait().unwrap();
            }
            while let Ok(sample) = heard.samples.recv_timeout(Duration::from_millis(100)) {
                assert_eq!(sample.payload().try_to_string().unwrap(), permitted, "on {key}");
                arrived += 1;
            }
        }
    }
}
