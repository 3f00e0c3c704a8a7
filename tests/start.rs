//! When a robot may move: after an operator's start, and never before; and what must not hold up the end of a run.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::time::{Duration, Instant};

use aegis_core::control::Mode;

use crate::common;
use crate::robot::{Plant, Run, command, real_time_slot, recorded, replays, robot_file};

#[test]
fn nothing_moves_before_a_start_nor_after_a_reset_without_another() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run = Run::waiting("start-waits", &plant.endpoint, &[], &[]);
    run.until("waiting for a start");
    plant.operate("start");
    run.until("episode 1");
    run.until("Weak");
    plant.operate("e-stop");
    run.until("EStop");
    plant.operate("reset");
    run.until("waiting for a start");
    // A start that was said to a latch, or before the wait, is none.
    run.signal("TERM");
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    let record = recorded(&folder);
    let stopped = record.modes.iter().position(|mode| *mode == Mode::EStop).expect("it was stopped");
    assert!(record.modes[..stopped].contains(&Mode::Weak));
    let after = &record.modes[stopped..];
    assert!(!after.iter().any(|mode| mode.is_on()), "no episode is on after the reset");
    replays(&folder);
}

#[test]
fn a_viewer_that_is_not_there_is_refused_before_any_work() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("start-viewer");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let out = folder.join("run");
    let begin = Instant::now();
    let mut run = command(&robot, &out);
    run.args(["--exit-on-stop", "--rerun", "rerun+http://127.0.0.1:1/proxy"]);
    common::refuses(&mut run, 2, &["127.0.0.1:1", "viewer"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "it does not wait for a viewer");
}
