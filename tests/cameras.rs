//! Tests `aegis run` with a policy that reads pictures, on a robot that is not the project's simulator, while each of its cameras
//! fails: what the robot executed is judged by its own log.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use aegis_core::{Frame, Plant, Start};
use aegis_link::wire::CameraFrame;
use aegis_link::{Claimant, FreeRunningPlant, Heard, Role};
use aegis_sim::{Cameras, LiberoPlant, Suite};
use serde_json::Value;

use crate::common;
use crate::foreign::{ForeignPlant, is_period, moved_while, robot_file};
use crate::motion::{REST, channel, is_command, operate};
use crate::robot::{Run, real_time_slot, replays};

/// Settings of both cameras. Ages are long because a busy machine may stall any process for a second.
const CAMERAS: &str = "cameras = [
    { name = \"agentview\", max_age_ms = 2000, max_skew_ms = 10, frozen_ms = 1000 },
    { name = \"robot0_eye_in_hand\", max_age_ms = 2000, max_skew_ms = 10, frozen_ms = 1000 },
]
channels = [";

/// Starts a robot with two cameras, and a run whose weak policy reads them.
fn filmed(name: &str) -> (ForeignPlant, Run) {
    let pose = REST.replace(' ', "");
    let arguments = ["--libero-observation", "--cameras", "--command-timeout-ms", "60000", "--pose", &pose];
    let plant = ForeignPlant::start(&arguments);
    let folder = common::folder(name);
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    let models = common::repository().join("policies/models");
    for (from, to) in [("weak.toml", "weak_vision.toml"), ("probe.json", "probe_vision.json")] {
        common::edit(&robot, &format!("../policies/models/{from}"), models.join(to).to_str().unwrap());
    }
    common::edit(&robot, "channels = [", CAMERAS);
    // Some periods of one second and a half: longer than frames may be old, and short enough for a test.
    common::edit(&robot, "stale_steps = 200", "stale_steps = 10");
    common::edit(&robot, "horizon_steps = 220", "horizon_steps = 100000");
    let starts = "{ task = 0, initial_state = 50 },".repeat(8);
    common::edit(&robot, "starts = [", &format!("starts = [{starts}"));
    let mut run = Run::of(&robot, folder.join("run"), &["--auto-start"]);
    run.until("Weak");
    (plant, run)
}

fn counters(folder: &Path) -> Value {
    let summary: Value =
        serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap();
    assert!(summary["frame_age_us"]["agentview"]["n"].as_u64() > Some(10), "{summary}");
    summary
}

#[test]
fn a_camera_that_fails_stops_the_robot_and_one_that_works_again_drives_it_after_a_reset() {
    let _slot = real_time_slot();
    let (mut plant, mut run) = filmed("cameras-faults");
    let faults = [
        ("camera 0 lost", "no young enough frame"),
        ("camera 1 frozen", "do not change"),
        ("camera 0 black", "every pixel is [0, 0, 0]"),
        ("camera 1 small", "valid is what the plant announced, 128 rows of 128"),
        ("camera 0 garbage", "camera agentview: frame"),
        ("camera 1 backward", "its time is not later"),
        ("camera 0 late 4000", "no young enough frame"),
        ("camera 1 early 25", "no frames and observation from the same time"),
    ];
    for (fault, said) in faults {
        plant.command(fault);
        run.until("SafeStop");
        assert!(run.has_said(said), "{fault}: {:?}", run.seen);
        let named = match fault {
            "camera 0 lost" | "camera 0 late 4000" => "camera agentview: its newest frame is ",
            "camera 1 frozen" => "camera robot0_eye_in_hand: its pixels are the same since ",
            _ => "SafeStop",
        };
        assert!(run.has_said(named), "{fault}: {:?}", run.seen);
        let camera = &fault[..8];
        plant.command(&format!("{camera} ok"));
        // Commands come to rest within their limits; then nothing moves before the reset.
        run.until("waiting for a reset");
        let stands = plant.log().last().unwrap()["period"].as_u64().unwrap();
        plant.until(|line| line["period"].as_u64() > Some(stands + 5));
        let rest = |line: &Value| is_period(line) && line["period"].as_u64() > Some(stands);
        assert!(moved_while(&plant.log(), rest) < 1e-6, "{fault}: at rest until a reset");
        assert!(operate("reset", &plant.endpoint));
        run.until("Weak");
    }
    run.signal("TERM");
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    replays(&folder);
    let summary = counters(&folder);
    let stops = summary["stops"].as_array().unwrap();
    let by_camera = stops.iter().filter(|stop| stop["cause"] == "camera_stale").count();
    assert_eq!(by_camera, faults.len(), "{summary}");
    assert!(plant.log().iter().any(is_command));
}

#[test]
fn a_frame_that_is_published_is_what_the_plant_draws_in_process() {
    let mut process = common::aegis();
    process.args(["sim", "serve", "--name", "cell", "--listen", "tcp/127.0.0.1:0", "--pictures", "96x128"]);
    let (_served, ready) = common::Served::start(&mut process);
    let endpoint = ready.rsplit(' ').next().unwrap().to_owned();
    let session = aegis_link::open(Role::Drive, &endpoint.parse().unwrap()).unwrap();
    let (sender, heard) = mpsc::channel();
    let claimant = Claimant { pictures: true, ..Claimant::new("test") };
    let hear = move |heard| drop(sender.send(heard));
    let mut plant = FreeRunningPlant::claim(&session, "cell", claimant, hear).unwrap();
    let start = Start { task: 3, initial_state: 5 };
    plant.reset(start).unwrap();
    // Stamps of the observations, by the control steps from the reset.
    let mut stamps = vec![plant.stamp_ns()];
    let mut frames: Vec<CameraFrame> = Vec::new();
    let step = loop {
        match heard.recv_timeout(Duration::from_secs(120)).unwrap() {
            Heard::Frame(frame) if frames.len() < 2 => frames.push(*frame),
            Heard::Moved(moved) => stamps.push(moved.stamp_ns),
            _ => {}
        }
        let seen = frames.last().map(|frame| frame.stamp_ns);
        let step = stamps.iter().position(|stamp| Some(*stamp) == seen);
        if let Some(step) = step.filter(|_| frames.len() == 2) {
            break step;
        }
    };
    assert!(frames.iter().all(|frame| (frame.sequence, frame.stamp_ns) == (1, stamps[step])));
    let suite = Suite::load(&common::scenes()).unwrap();
    let cameras = Cameras::new(&Cameras::LIBERO, 128, 96).unwrap();
    let mut native = LiberoPlant::with_cameras(suite, cameras);
    native.reset(start).unwrap();
    // Without an action the environment stands still.
    (0..step).for_each(|_| drop(native.step(&[0.0; 7]).unwrap()));
    let published: Vec<Frame> = frames.into_iter().map(|frame| frame.decoded().unwrap()).collect();
    assert!(published == native.frames().unwrap(), "bit for bit, at control step {step}");
}
