//! Tests when a robot other than the simulator may be moved. A start counts only at the time at which it is given, and no command
//! is sent to a robot that does not follow its commands. The robot's log is judged.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::time::Duration;

use aegis_core::control::{Mode, StopReason};
use serde_json::Value;

use crate::common;
use crate::foreign::{ForeignPlant, largest_jump, robot_file};
use crate::motion::{REST, channel, is_command, operate, plant, run};
use crate::robot::{RESET_AGAIN, Run, real_time_slot, recorded, replays};

/// Time between two operator commands to a controller that is reconnecting.
const AGAIN: Duration = Duration::from_secs(1);

fn is_reset(line: &Value) -> bool {
    line["message"] == "Reset"
}

#[test]
fn a_start_that_is_said_in_a_latch_counts_for_nothing_after_the_reset() {
    let _slot = real_time_slot();
    let plant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("starting-latch", &plant, 10.0, 60);
    assert!(operate("e-stop", &plant.endpoint));
    run.until("EStop");
    assert!(operate("start", &plant.endpoint));
    run.until_trying("Idle", RESET_AGAIN, || _ = operate("reset", &plant.endpoint));
    assert!(operate("stop", &plant.endpoint));
    run.until("SafeStop");
    run.end();
    assert!(!plant.log().iter().any(is_reset), "no episode was begun");
}

#[test]
fn a_stop_and_a_reset_between_a_start_and_its_first_command_end_the_start() {
    let _slot = real_time_slot();
    for wish in ["stop", "e-stop"] {
        let mut plant = plant("tcp/127.0.0.1:0", REST);
        let mut run = run(&format!("starting-between-{wish}"), &plant, 10.0, 60);
        plant.command("late-answers 3000");
        assert!(operate("start", &plant.endpoint));
        plant.until(is_reset);
        assert!(operate(wish, &plant.endpoint));
        run.until(if wish == "stop" { "SafeStop" } else { "EStop" });
        run.until_trying("Idle", RESET_AGAIN, || _ = operate("reset", &plant.endpoint));
        let refusal = "no start: a stop or a reset came after it was said";
        if !run.has_said(refusal) {
            run.until(refusal);
        }
        plant.command("late-answers 0");
        // A new start begins the episode.
        assert!(!plant.log().iter().any(is_command), "nothing moved before");
        assert!(operate("start", &plant.endpoint));
        run.until("Weak");
        run.end();
    }
}

#[test]
fn an_e_stop_before_the_first_command_of_the_only_episode_is_no_success() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", REST);
    let folder = common::folder("starting-only");
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    common::edit(&robot, "    { task = 1, initial_state = 50 },\n", "");
    let mut run = Run::of(&robot, folder.join("run"), &["--exit-on-stop"]);
    run.until("waiting for a start");
    plant.command("late-answers 3000");
    assert!(operate("start", &plant.endpoint));
    plant.until(is_reset);
    assert!(operate("e-stop", &plant.endpoint));
    let (code, folder) = run.code();
    assert_eq!(code, Some(4));
    replays(&folder);
}

#[test]
fn a_plant_that_came_back_is_not_reset_before_an_operator_resets_the_latch() {
    let _slot = real_time_slot();
    let mut first = plant("tcp/127.0.0.1:0", REST);
    let endpoint = first.endpoint.clone();
    let mut run = run("starting-back", &first, 10.0, 30);
    assert!(operate("start", &endpoint));
    run.until("Weak");
    run.until("waiting for a start");
    first.kill();
    run.until("SafeStop");
    let second = plant(&endpoint, "-1.0, 1.5, -2.0, 1.0, -1.5, 2.0");
    // Repeat until the controller, which is in a latched mode, receives the start.
    while !operate("start", &endpoint) {}
    run.until_trying("Idle", AGAIN, || _ = operate("reset", &endpoint));
    assert!(operate("stop", &endpoint));
    run.until("SafeStop");
    run.end();
    let log = second.log();
    assert!(!log.iter().any(is_reset) && largest_jump(&log) == 0.0);
}

#[test]
fn a_reset_that_is_said_while_the_plant_is_claimed_opens_no_later_latch() {
    let _slot = real_time_slot();
    let mut first = plant("tcp/127.0.0.1:0", REST);
    let endpoint = first.endpoint.clone();
    let mut run = run("starting-stale", &first, 10.0, 60);
    first.kill();
    let mut second = plant(&endpoint, REST);
    second.command("late-answers 3000");
    second.until(|line| line["message"] == "Claim");
    assert!(operate("reset", &endpoint));
    second.command("late-answers 0");
    run.until("is known, by heartbeats");
    assert!(operate("e-stop", &endpoint));
    run.until("EStop");
    // Each command is another process: much longer than the control period in which an old reset would be obeyed.
    (0..10).for_each(|_| assert!(operate("start", &endpoint)));
    assert_eq!(run.mode(), Some(Mode::EStop), "no reset was said in the latch");
    run.end();
    assert!(!second.log().iter().any(is_command));
}

#[test]
fn operators_are_heard_although_the_plant_could_not_be_claimed() {
    let _slot = real_time_slot();
    let mut first = plant("tcp/127.0.0.1:0", REST);
    let endpoint = first.endpoint.clone();
    let mut run = run("starting-heard", &first, 10.0, 60);
    assert!(operate("start", &endpoint));
    run.until("Weak");
    first.kill();
    run.until("SafeStop");
    let mut second = plant(&endpoint, REST);
    second.command("deaf");
    run.until_trying("no reset: ", AGAIN, || _ = operate("reset", &endpoint));
    second.command("hear");
    assert!(operate("e-stop", &endpoint));
    run.until("EStop");
    run.until_trying("Idle", AGAIN, || _ = operate("reset", &endpoint));
    run.end();
}

#[test]
fn a_drive_that_is_off_stops_the_robot_and_nothing_is_sent_when_it_comes_back() {
    let _slot = real_time_slot();
    for wish in [None, Some("e-stop")] {
        let mut plant = plant("tcp/127.0.0.1:0", REST);
        let folder = common::folder(&format!("starting-drive-{}", wish.unwrap_or("none")));
        let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
        common::edit(&robot, "follow_within = 100", "follow_within = 0.3");
        let mut run = Run::of(&robot, folder.join("run"), &[]);
        run.until("waiting for a start");
        assert!(operate("start", &plant.endpoint));
        plant.until(|line| is_command(line) && line["sequence"].as_u64() >= Some(5));
        plant.command("drop-commands");
        run.until("does not follow its command");
        if let Some(wish) = wish {
            assert!(operate(wish, &plant.endpoint));
            run.until("EStop");
        }
        plant.command("take-commands");
        let back = plant.log().len();
        let folder = run.end();
        let log = plant.log();
        assert!(!log[back..].iter().any(is_command), "nothing moves it");
        assert_eq!(largest_jump(&log[back..]), 0.0);
        assert!(recorded(&folder).causes.contains(&Some(StopReason::NotFollowing)));
    }
}

#[test]
fn an_observation_that_is_said_twice_makes_no_second_command() {
    let _slot = real_time_slot();
    let mut plant: ForeignPlant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("starting-twice", &plant, 10.0, 60);
    plant.command("repeat");
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    run.until("waiting for a start");
    run.end();
    let log = plant.log();
    let count = |is_one: &dyn Fn(&Value) -> bool| log.iter().filter(|line| is_one(line)).count();
    let sent = count(&|line| line["message"] == "Action");
    let periods = count(&|line| line["what"] == "period" && !line["published"].is_null());
    assert!(sent > 20 && sent <= periods + 2, "{sent} commands for {periods} observations");
}
