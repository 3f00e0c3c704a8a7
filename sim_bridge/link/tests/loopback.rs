//! Tests of both ends over real Zenoh sessions on loopback TCP, with a relay that loses and repeats messages on request.
//! No test depends on durations: a slow machine makes these tests slow, but they do not fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{self, Toy};
use aegis_core::{Observation, Plant, PlantError, Start};
use aegis_link::listening;
use aegis_link::wire::{
    Channel, Claim, FramesRequest, Message, Mode, Moved, Operate, OperatorCommand, Phase, Reset, Status,
};
use aegis_link::{
    Claimant, FreeRunningPlant, Heard, Host, HostLimits, KeyExprs, LinkError, Operators, Role, Timeouts,
    ZenohPlant, open, serve,
};
use zenoh::Wait;
use zenoh::handlers::FifoChannel;

const START: Start = Start { task: 1, initial_state: 7 };

/// Long timeouts: on a busy machine heartbeats may be late, and these tests do not test timeouts.
const PATIENT: HostLimits =
    HostLimits { command_timeout: Duration::from_secs(60), controller_timeout: Duration::from_secs(60) };

fn patience() -> Timeouts {
    Timeouts { heartbeat: Duration::from_secs(30), ..Timeouts::default() }
}

/// A toy plant that is served until it is stopped.
struct Served {
    session: zenoh::Session,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Toy>,
}

impl Served {
    fn start(name: &'static str, limits: HostLimits, period: Duration) -> Self {
        let session = open(Role::Serve, &"tcp/127.0.0.1:0".parse().unwrap()).unwrap();
        Self::at(name, limits, period, session)
    }

    fn at(name: &'static str, limits: HostLimits, period: Duration, session: zenoh::Session) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (stop, session) = (Arc::clone(&stop), session.clone());
            move || {
                let info = aegis_link::PlantInfo { period, ..support::info() };
                let host = Host::new(aegis_link::instance(), info, limits);
                let mut toy = Toy::default();
                serve(&session, name, host, &mut toy, &stop, || ready.send(()).unwrap(), |_| ()).unwrap();
                toy
            }
        });
        wait.recv().unwrap();
        Self { session, stop, thread }
    }

    /// Opens a session of another peer.
    fn connect(&self) -> zenoh::Session {
        open(Role::Drive, &listening(&self.session).unwrap()).unwrap()
    }

    fn stop(self) -> Toy {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn actions() -> impl Iterator<Item = [f32; 1]> {
    (0..40u32).map(|i| [(i * 37 % 19) as f32 / 19.0 - 0.5])
}

/// Runs an episode and returns all that the plant returned.
fn run(plant: &mut dyn Plant) -> Vec<String> {
    let mut seen = vec![format!("{:?}", plant.reset(START).unwrap())];
    for action in actions() {
        let transition = plant.step(&action).unwrap();
        let mut state = Vec::new();
        plant.state(&mut state);
        let bits: Vec<u64> = state.into_iter().map(f64::to_bits).collect();
        seen.push(format!("{transition:?} {bits:?}"));
    }
    seen.push(format!("{:?}", plant.frames().unwrap()));
    seen
}

#[test]
fn an_episode_over_the_wire_is_the_episode_in_process() {
    let served = Served::start("toy", PATIENT, Duration::from_millis(50));
    let session = served.connect();
    let mut plant = ZenohPlant::claim(&session, "toy", "test", Mode::LockStep, patience()).unwrap();
    assert_eq!((plant.claimed().action_width, plant.claimed().tasks), (1, 3));
    let expected = run(&mut Toy::default());
    assert_eq!(run(&mut plant), expected);
    assert_eq!(run(&mut plant), expected, "a second episode");
    drop(plant);
    assert_eq!(served.stop().steps, 80);
}

#[test]
fn a_plant_says_when_it_heard_the_controller_whose_own_clock_stamped_that() {
    let served = Served::start("echoing", PATIENT, Duration::from_millis(50));
    let session = served.connect();
    let clock = Instant::now();
    let (sender, heard) = std::sync::mpsc::channel();
    let hear = move |heard: Heard| drop(sender.send((clock.elapsed(), heard)));
    let claimant = Claimant { clock, patience: patience(), ..Claimant::new("test") };
    let plant = FreeRunningPlant::claim(&session, "echoing", claimant, hear).unwrap();
    let echo = |(received, heard): (Duration, Heard)| match heard {
        Heard::Status(status) if status.pulse_stamp_ns > 0 => Some((received, status)),
        _ => None,
    };
    let (received, status) = heard.iter().find_map(echo).unwrap();
    let away = received.checked_sub(Duration::from_nanos(status.pulse_stamp_ns)).expect("sent before");
    let held = status.stamp_ns.checked_sub(status.pulse_received_ns).expect("heard before");
    assert!(Duration::from_nanos(held) <= away, "{held} ns of {away:?}");
    drop(plant);
    served.stop();
}

/// Starts a relay that forwards requests for plant `near` to plant `far`. `lose` returns, for the n-th request, whether
/// the request is lost, whether the answer is lost, and whether the request arrives twice.
fn relay(session: &zenoh::Session, near: &str, far: &str, lose: fn(u32) -> [bool; 3]) -> Vec<Box<dyn Send>> {
    let (near, far) = (KeyExprs::of(near).unwrap(), KeyExprs::of(far).unwrap());
    let pass = |from: String, to: String| -> Box<dyn Send> {
        let out = session.clone();
        let forward = move |sample: zenoh::sample::Sample| {
            out.put(&to, sample.payload().clone()).wait().unwrap();
        };
        Box::new(session.declare_subscriber(from).callback(forward).wait().unwrap())
    };
    let (requests, inbox) = std::sync::mpsc::channel::<zenoh::query::Query>();
    let queryable = session.declare_queryable(near.request).callback(move |query| {
        // The end of the test closes the inbox.
        let _ = requests.send(query);
    });
    let out = session.clone();
    std::thread::spawn(move || {
        let ask = |query: &zenoh::query::Query| {
            let payload = query.payload().unwrap().clone();
            let answers = out.get(&far.request).payload(payload).with(FifoChannel::new(4)).wait().unwrap();
            answers.recv().unwrap().result().unwrap().payload().clone()
        };
        for (n, query) in (1..).zip(inbox.iter()) {
            let [request_lost, answer_lost, twice] = lose(n);
            if request_lost {
                continue;
            }
            let mut answer = ask(&query);
            if twice {
                answer = ask(&query);
            }
            if !answer_lost {
                query.reply(query.key_expr().clone(), answer).wait().unwrap();
            }
        }
    });
    vec![pass(near.pulse, far.pulse), pass(far.status, near.status), Box::new(queryable.wait().unwrap())]
}

#[test]
fn whatever_the_line_loses_or_repeats_each_step_is_run_once() {
    let served = Served::start("lossy", PATIENT, Duration::from_millis(50));
    let _relay = relay(&served.session, "relay", "lossy", |n| [n % 5 == 0, n % 3 == 0, n % 4 == 1]);
    let session = served.connect();
    let mut plant = ZenohPlant::claim(&session, "relay", "test", Mode::LockStep, patience()).unwrap();
    assert_eq!(run(&mut plant), run(&mut Toy::default()));
    assert!(plant.counters().repeated > 10, "{:?}", plant.counters());
    drop(plant);
    let toy = served.stop();
    assert_eq!((toy.resets, toy.steps), (1, 40));
}

#[test]
fn a_flood_is_dropped_with_a_count_and_the_controller_goes_on() {
    let served = Served::start("flooded", PATIENT, Duration::from_millis(50));
    let (session, flooder) = (served.connect(), served.connect());
    let keys = KeyExprs::of("flooded").unwrap();
    let (sender, statuses) = std::sync::mpsc::channel();
    let _heard =
        session.declare_subscriber(&keys.status).callback(move |sample| drop(sender.send(sample))).wait();
    let mut plant = ZenohPlant::claim(&session, "flooded", "test", Mode::LockStep, patience()).unwrap();
    plant.reset(START).unwrap();
    for (number, action) in (1..).zip(actions()) {
        let unheard: Vec<_> = (0..200)
            .map(|_| {
                flooder.put(&keys.pulse, vec![0; 64]).wait().unwrap();
                flooder.put(&keys.action, vec![0; 1 << 14]).wait().unwrap();
                flooder.get(&keys.request).payload(vec![0; 64]).with(FifoChannel::new(1)).wait().unwrap()
            })
            .collect();
        assert_eq!(plant.step(&action).unwrap().observation.step, number);
        drop(unheard);
    }
    drop(plant);
    let dropped = |sample: zenoh::sample::Sample| match Message::decode(&sample.payload().to_bytes()) {
        Ok(Message::Status(status)) => status.dropped,
        other => panic!("{other:?}"),
    };
    while dropped(statuses.recv().unwrap()) == 0 {}
    let toy = served.stop();
    assert_eq!((toy.resets, toy.steps), (1, 40));
}

#[test]
fn a_second_controller_is_refused_while_the_first_lives() {
    let served = Served::start("single", PATIENT, Duration::from_millis(50));
    let (first, second) = (served.connect(), served.connect());
    let claim = |session, who| ZenohPlant::claim(session, "single", who, Mode::LockStep, patience());
    let mut plant = claim(&first, "the first").unwrap();
    plant.reset(START).unwrap();
    let refused = claim(&second, "the second").unwrap_err();
    assert!(matches!(refused, LinkError::Refused { .. }));
    assert!(refused.to_string().contains("the first"), "{refused}");
    plant.step(&[0.1]).unwrap();
    drop(plant);
    claim(&second, "the second").unwrap().reset(START).unwrap();
    assert_eq!(served.stop().resets, 2);
}

#[test]
fn a_plant_that_ends_mid_episode_is_lost_and_its_successor_does_not_go_on() {
    let served = Served::start("mortal", PATIENT, Duration::from_millis(50));
    let session = served.connect();
    let brief = Timeouts { heartbeat: Duration::from_millis(500), ..patience() };
    let mut plant = ZenohPlant::claim(&session, "mortal", "test", Mode::LockStep, brief).unwrap();
    plant.reset(START).unwrap();
    plant.step(&[0.1]).unwrap();
    let zenoh = served.session.clone();
    assert_eq!(served.stop().steps, 1);
    let lost = plant.step(&[0.1]).unwrap_err();
    assert!(matches!(&lost, PlantError::Lost(reason) if reason.contains("mortal")), "{lost}");

    // A new plant is served at the same endpoint under the same name: the old episode does not continue on it.
    let successor = Served::at("mortal", PATIENT, Duration::from_millis(50), zenoh);
    let lost = plant.step(&[0.1]).unwrap_err();
    assert!(matches!(&lost, PlantError::Lost(_)), "{lost}");
    assert!(matches!(plant.reset(START), Err(PlantError::Lost(_))), "a reset needs a new claim");
    drop(plant);
    let toy = successor.stop();
    assert_eq!((toy.resets, toy.steps), (0, 0), "nothing moved");
}

#[test]
fn nobody_there_and_a_name_taken_twice_are_told() {
    let served = Served::start("taken", PATIENT, Duration::from_millis(50));
    let session = served.connect();
    let brief = Timeouts { claim: Duration::from_millis(200), ..patience() };
    let nobody = ZenohPlant::claim(&session, "absent", "test", Mode::LockStep, brief).unwrap_err();
    assert!(
        nobody
            .to_string()
            .ends_with("nobody serves plant \"absent\" there, or it does not answer; served there: taken"),
        "{nobody}"
    );
    let host = Host::new(1, support::info(), PATIENT);
    let again = serve(&session, "taken", host, &mut Toy::default(), &AtomicBool::new(true), || (), |_| ());
    assert!(matches!(again, Err(LinkError::Served { .. })), "{again:?}");
    assert!(matches!(KeyExprs::of("a/b"), Err(LinkError::Name { .. })));
}

/// Serves a plant of a foreign implementation, whose answers `garble` changes.
fn odd(name: &str, garble: fn(Vec<u8>) -> Vec<u8>) -> (zenoh::Session, Box<dyn Send>) {
    let session = open(Role::Serve, &"tcp/127.0.0.1:0".parse().unwrap()).unwrap();
    let host = std::sync::Mutex::new((support::host(), Toy::default()));
    let answer = move |query: zenoh::query::Query| {
        let (host, toy) = &mut *host.lock().unwrap();
        let bytes = query.payload().unwrap().to_bytes();
        let answer = garble(host.request(&bytes, Duration::ZERO, toy));
        query.reply(query.key_expr().clone(), answer).wait().unwrap();
    };
    let queryable =
        session.declare_queryable(KeyExprs::of(name).unwrap().request).callback(answer).wait().unwrap();
    (session, Box::new(queryable))
}

/// Returns the bytes with the first occurrence of `from` replaced by `to`, a text of the same length.
fn with(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let Some(at) = at else { return bytes };
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn an_answer_that_cannot_be_read_is_said_with_its_field_and_not_asked_for_again() {
    let (served, _plant) = odd("odd", |bytes| with(bytes, "semantics", "semantisc"));
    let session = open(Role::Drive, &listening(&served).unwrap()).unwrap();
    let mut plant = ZenohPlant::claim(&session, "odd", "test", Mode::FreeRunning, patience()).unwrap();
    let error = plant.reset(START).unwrap_err();
    assert!(matches!(&error, PlantError::Backend(_)), "{error:?}");
    let said = error.to_string();
    let words = ["plant \"odd\": its answer to a Reset cannot be read", "Moved: schema.features[0]"];
    for word in words.into_iter().chain(["unknown field `semantisc`", "expected one of `name`, `shape`"]) {
        assert!(said.contains(word), "{word} is missing from: {said}");
    }
    assert_eq!(plant.counters().repeated, 0);
}

/// Serves a plant whose answers to resets `edit` has changed; returns what a controller's reset says.
fn reset_of(name: &'static str, edit: fn(&mut Moved)) -> Result<Observation, PlantError> {
    let served = open(Role::Serve, &"tcp/127.0.0.1:0".parse().unwrap()).unwrap();
    let host = std::sync::Mutex::new((support::host(), Toy::default()));
    let answer = move |query: zenoh::query::Query| {
        let (host, toy) = &mut *host.lock().unwrap();
        let mut answer =
            Message::decode(&host.request(&query.payload().unwrap().to_bytes(), Duration::ZERO, toy))
                .unwrap();
        if let Message::Moved(moved) = &mut answer {
            edit(moved);
        }
        query.reply(query.key_expr().clone(), answer.encode()).wait().unwrap();
    };
    let _plant =
        served.declare_queryable(KeyExprs::of(name).unwrap().request).callback(answer).wait().unwrap();
    let session = open(Role::Drive, &listening(&served).unwrap()).unwrap();
    let mut plant = ZenohPlant::claim(&session, name, "test", Mode::LockStep, patience()).unwrap();
    plant.reset(START)
}

#[test]
fn what_a_plant_announces_is_checked_when_an_episode_begins() {
    let seen = reset_of("announces", |_| ()).unwrap();
    assert_eq!(seen.feature("gripper_positions"), Some(&[0.04, -0.04][..]));
    let refused = |name, edit| reset_of(name, edit).unwrap_err().to_string();
    let error = refused("silent", |moved| moved.schema = None);
    assert!(error.contains("schema: found none in the answer to a reset; valid is its features"), "{error}");
    let error = refused("short", |moved| moved.observation.values.truncate(17));
    assert!(
        error.contains("observation.values: found 17 values; valid is 18, as the plant announced"),
        "{error}"
    );
    let error = refused("twice", |moved| {
        let features = &mut moved.schema.as_mut().unwrap().features;
        features[1].name = features[0].name.clone();
    });
    assert!(error.contains("schema.features[1].name: found \"joint_positions\" twice"), "{error}");
    let error = refused("wide", |moved| {
        let channel = |name: &str| Channel {
            name: name.into(),
            semantics: String::new(),
            bounds: [-1.0, 1.0],
            still: None,
        };
        moved.schema.as_mut().unwrap().actions = vec![channel("a"), channel("b")];
    });
    assert!(
        error.contains("schema.actions: found 2 channels; valid is 1, its action_width, or none"),
        "{error}"
    );
}

#[test]
fn a_claim_whose_answer_cannot_be_read_is_no_refusal() {
    let (served, _plant) = odd("odder", |bytes| with(bytes, "action_width", "action_wdith"));
    let session = open(Role::Drive, &listening(&served).unwrap()).unwrap();
    let error =
        ZenohPlant::claim(&session, "odder", "test", Mode::FreeRunning, patience()).unwrap_err().to_string();
    assert!(error.contains("its answer to a Claim cannot be read: Claimed: unknown field"), "{error}");
    assert!(!error.contains("refuses"), "{error}");
}

#[test]
fn pictures_come_through_shared_memory() {
    let served = Served::start("eyes", PATIENT, Duration::from_millis(50));
    let session = served.connect();
    let ask = |message: Message| {
        let payload = message.encode();
        let answers =
            session.get("aegis/eyes/request").payload(payload).with(FifoChannel::new(1)).wait().unwrap();
        answers.recv().unwrap().into_result().unwrap()
    };
    let claim = Claim { controller: "test".into(), nonce: 1, mode: Mode::LockStep };
    let Ok(Message::Claimed(claimed)) = Message::decode(&ask(claim.into()).payload().to_bytes()) else {
        panic!("not claimed")
    };
    let session_number = claimed.session;
    ask(Reset { session: session_number, episode: 1, task: 0, initial_state: 0, disturbance: None }.into());
    let pictures = ask(FramesRequest { session: session_number, episode: 1, sequence: 0 }.into());
    assert!(pictures.payload().as_shm().is_some(), "the pictures were copied over TCP");
    assert!(matches!(Message::decode(&pictures.payload().to_bytes()), Ok(Message::Pictures(_))));
}

#[test]
fn a_free_running_plant_moves_with_the_newest_action() {
    let served = Served::start("free", PATIENT, Duration::from_millis(1));
    let session = served.connect();
    let mut plant = ZenohPlant::claim(&session, "free", "test", Mode::FreeRunning, patience()).unwrap();
    plant.reset(START).unwrap();
    let mut last = 0;
    for action in actions() {
        let step = plant.step(&action).unwrap().observation.step;
        assert!(step > last, "observation {step} after {last}");
        last = step;
    }
    drop(plant);
    let toy = served.stop();
    assert!(toy.steps >= 40 && toy.steps >= last);
    // The executed actions are a subsequence of the sent ones, in order, apart from stand-still actions.
    let mut sent = std::iter::once([0.0]).chain(actions());
    let mut current = sent.next().unwrap();
    for action in toy.actions.iter().filter(|action| action[..] != [0.0]) {
        while action[..] != current {
            current = sent.next().expect("an action that was never sent, or out of order");
        }
    }
}

#[test]
fn a_message_on_another_messages_key_is_taken_for_nothing() {
    let served = Served::start("keys", PATIENT, Duration::from_secs(60));
    let (session, other) = (served.connect(), served.connect());
    let (sender, heard) = std::sync::mpsc::channel();
    let hear = move |heard| drop(sender.send(heard));
    let _operators = Operators::hear(&session, "keys", hear.clone()).unwrap();
    let _plant = FreeRunningPlant::claim(
        &session,
        "keys",
        Claimant { patience: patience(), ..Claimant::new("test") },
        hear,
    )
    .unwrap();
    let KeyExprs { operator, observation, status, .. } = KeyExprs::of("keys").unwrap();
    // What an operator's certificate may publish, and what only the plant may say: an observation and a heartbeat.
    let forged = Message::from(Status {
        instance: 1,
        session: 2,
        phase: Phase::Stopped,
        episode: 3,
        sequence: 4,
        stamp_ns: 5,
        dropped: 0,
        refused: 0,
        pulse_stamp_ns: 0,
        pulse_received_ns: 0,
    });
    let operate = Message::from(Operate { wish: OperatorCommand::Start });
    for (key, message, words) in [
        (&operator, &forged, "Status on a key of Operate"),
        (&observation, &forged, "Status on a key of Moved"),
        (&status, &operate, "Operate on a key of Status"),
    ] {
        let is_said = |heard: &Heard| matches!(heard, Heard::Malformed(reason) if reason == words);
        let is_taken = |heard: &Heard| match heard {
            Heard::Status(status) => status.instance == 1,
            Heard::Operate(_) => true,
            _ => false,
        };
        // Repeated, for a subscription may not have come to the sender yet.
        let mut found = None;
        while found.is_none() {
            other.put(key, message.encode()).wait().unwrap();
            found = heard.recv_timeout(Duration::from_millis(100)).ok().filter(|heard| {
                assert!(!is_taken(heard), "{heard:?}");
                is_said(heard)
            });
        }
    }
    served.stop();
}
