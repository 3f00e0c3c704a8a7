//! Benchmark of the latency that Zenoh adds to a control step, on loopback between two processes:
//! `cargo run --release -p aegis-link --example lockstep_bench [-- STEPS]`
//!
//! The plant does nothing, and its observations are as large as those of a LIBERO scene. For comparison the benchmark
//! also measures bare Zenoh round trips of the same bytes: a query answered in Zenoh's callback, a query answered from a
//! separate thread as `serve` answers, and a publication answered by a publication.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may panic")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aegis_core::{Frame, Observation, Plant, PlantError, Start, Transition};
use aegis_link::listening;
use aegis_link::wire::{Message, Mode, Moved, Step};
use aegis_link::{Host, HostLimits, PlantInfo, Role, Timeouts, ZenohPlant, open, serve};
use hdrhistogram::Histogram;
use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::query::Query;

const STATE: usize = 92 + 36;
const START: Start = Start { task: 0, initial_state: 0 };

/// Plant that counts steps and returns a constant observation.
struct Still {
    step: u32,
    observation: Observation,
}

impl Still {
    fn new() -> Self {
        let names: Vec<[String; 2]> = (1..=5)
            .map(|index| {
                ["position", "quaternion"]
                    .map(|part| format!("object/glazed_rim_porcelain_ramekin_{index}/{part}"))
            })
            .collect();
        let mut features: Vec<(&str, &[f64])> = vec![
            ("joint_positions", &[0.123_456_789; 7]),
            ("eef_position", &[0.0; 3]),
            ("eef_site_quaternion", &[0.0, 0.0, 0.0, 1.0]),
            ("gripper_positions", &[0.04, -0.04]),
        ];
        for [position, quaternion] in &names {
            features.push((position, &[0.1, 0.2, 0.3]));
            features.push((quaternion, &[0.0, 0.0, 0.0, 1.0]));
        }
        let instruction =
            Arc::from("pick up the black bowl between the plate and the ramekin and place it on the plate");
        let observation = Observation {
            plant_time: 0.05,
            instruction,
            ..Observation::of(&features).expect("these features are valid")
        };
        Self { step: 0, observation }
    }
}

impl Plant for Still {
    fn reset(&mut self, _: Start) -> Result<Observation, PlantError> {
        self.step = 0;
        Ok(self.observation.clone())
    }

    fn step(&mut self, _: &[f32]) -> Result<Transition, PlantError> {
        self.step += 1;
        Ok(Transition {
            observation: Observation { step: self.step, ..self.observation.clone() },
            success: false,
        })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.extend([0.987_654_321; STATE]);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        let frame = |camera| Frame {
            camera: Arc::from(camera),
            width: 256,
            height: 256,
            rgb: vec![7; 256 * 256 * 3],
        };
        Ok(vec![frame("agentview"), frame("robot0_eye_in_hand")])
    }
}

fn messages() -> (Vec<u8>, Vec<u8>) {
    let still = Still::new();
    let mut state = Vec::new();
    still.state(&mut state);
    let (session, episode, sequence, stamp_ns) = (u64::MAX / 3, 1, 1000, 1 << 40);
    let observation = (&still.observation).into();
    (
        Message::from(Step { session, episode, sequence, action: vec![0.1; 7] }).encode(),
        Message::from(Moved {
            session,
            episode,
            sequence,
            stamp_ns,
            success: false,
            observation,
            schema: None,
            state,
        })
        .encode(),
    )
}

/// Runs the serving process until its standard input ends.
fn serving() {
    let session = open(Role::Serve, &"tcp/127.0.0.1:0".parse().unwrap()).unwrap();
    let answer = messages().1;
    let reply = move |query: Query| query.reply(query.key_expr().clone(), answer.clone()).wait().unwrap();
    let _inline = session.declare_queryable("bench/inline").callback(reply.clone()).wait().unwrap();
    let (queue, inbox) = mpsc::sync_channel(16);
    let _threaded =
        session.declare_queryable("bench/threaded").callback(move |q| queue.send(q).unwrap()).wait().unwrap();
    std::thread::spawn(move || inbox.iter().for_each(reply));
    let pong = session.declare_publisher("bench/pong").express(true).wait().unwrap();
    let (queue, inbox) = mpsc::sync_channel(16);
    let _ping =
        session.declare_subscriber("bench/ping").callback(move |_| queue.send(()).unwrap()).wait().unwrap();
    std::thread::spawn(move || inbox.iter().for_each(|()| pong.put(messages().1).wait().unwrap()));
    let stop = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        until.store(true, Ordering::Relaxed);
    });
    let period = Duration::from_millis(50);
    let info = PlantInfo { action_width: 7, tasks: 1, period, stand_still: vec![0.0; 7] };
    let host = Host::new(aegis_link::instance(), info, HostLimits::default());
    let ready = || println!("{}", listening(&session).unwrap());
    serve(&session, "bench", host, &mut Still::new(), &stop, ready, |_| ()).unwrap();
}

fn measure(what: &str, times: u32, mut once: impl FnMut()) {
    (0..times / 10).for_each(|_| once());
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    for _ in 0..times {
        let begin = Instant::now();
        once();
        histogram.record(u64::try_from(begin.elapsed().as_nanos()).unwrap()).unwrap();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "| {what:<42} | {times:>6} | {:>7.1} | {:>7.1} | {:>7.1} | {:>8.1} | {:>8.1} |",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        histogram.max() as f64 / 1000.0
    );
}

fn main() {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        return serving();
    }
    let steps: u32 = argument.map_or(20_000, |text| text.parse().expect("a number of steps"));
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut endpoint = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    let session = open(Role::Drive, &endpoint.trim().parse().unwrap()).unwrap();
    let (question, answer) = messages();
    println!(
        "question {} bytes, answer {} bytes, two processes on loopback; microseconds",
        question.len(),
        answer.len()
    );
    println!(
        "| {:<42} | {:>6} | {:>7} | {:>7} | {:>7} | {:>8} | {:>8} |",
        "", "n", "p50", "p90", "p99", "p99.9", "max"
    );

    measure("encode and decode both messages, no wire", steps, || {
        let (question, answer) = messages();
        assert!(Message::decode(&question).is_ok() && Message::decode(&answer).is_ok());
    });
    let mut plant =
        ZenohPlant::claim(&session, "bench", "bench", Mode::LockStep, Timeouts::default()).unwrap();
    plant.reset(START).unwrap();
    measure("ZenohPlant::step", steps, || {
        plant.step(&[0.1; 7]).unwrap();
    });
    measure("ZenohPlant::frames, 2 x 256 x 256 x 3", steps / 10, || {
        assert_eq!(plant.frames().unwrap().len(), 2);
    });
    drop(plant);
    for (key, what) in [
        ("bench/inline", "bare query, answered in the callback"),
        ("bench/threaded", "bare query, answered from a thread"),
    ] {
        let querier = session.declare_querier(key).express(true).wait().unwrap();
        measure(what, steps, || {
            let answers = querier.get().payload(question.clone()).with(FifoChannel::new(4)).wait().unwrap();
            assert_eq!(answers.recv().unwrap().result().unwrap().payload().len(), answer.len());
        });
    }
    let (queue, inbox) = mpsc::sync_channel(16);
    let _pong = session
        .declare_subscriber("bench/pong")
        .callback(move |s| queue.send(s.payload().len()).unwrap())
        .wait();
    let ping = session.declare_publisher("bench/ping").express(true).wait().unwrap();
    measure("publication answered by a publication", steps, || {
        ping.put(question.clone()).wait().unwrap();
        assert_eq!(inbox.recv().unwrap(), answer.len());
    });
    drop(server.stdin.take());
    server.wait().unwrap();
}
