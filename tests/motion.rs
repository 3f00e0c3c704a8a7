//! Tests what a robot other than the simulator executes. Every command keeps every limit and starts from the robot's measured
//! pose. No command of another claim, from another pose, or from an invalid observation is executed. The robot's log is judged.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::Path;

use aegis_core::control::StopReason;
use serde_json::Value;

use crate::common;
use crate::foreign::{
    ForeignPlant, NAME, executed, is_period, largest_jump, oldest_answer, position_channel, robot_file,
};
use crate::robot::{RESET_AGAIN, Run, command, real_time_slot, recorded, replays};

pub const REST: &str = "0.1, 0.2, 0.3, 0.4, 0.5, 0.6";
/// Limits of velocity, acceleration and jerk: radians per control period, per period² and per period³.
const LIMITS: [f64; 3] = [0.05, 0.02, 0.01];

/// Returns the TOML of a position channel with [`LIMITS`].
pub fn channel() -> String {
    let [velocity, acceleration, jerk] = LIMITS;
    position_channel(velocity, acceleration, jerk)
}

/// Starts a plant with six position joints at `pose` (comma-separated radians).
pub fn plant(listen: &str, pose: &str) -> ForeignPlant {
    let pose = pose.replace(' ', "");
    let timeout = ["--command-timeout-ms", "10000", "--libero-observation"];
    ForeignPlant::start(&[&["--listen", listen, "--pose", &pose], &timeout[..]].concat())
}

pub fn run(name: &str, plant: &ForeignPlant, start_within: f64, horizon: u32) -> Run {
    let folder = common::folder(name);
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, start_within);
    common::edit(&robot, "horizon_steps = 220", &format!("horizon_steps = {horizon}"));
    let mut run = Run::of(&robot, folder.join("run"), &[]);
    run.until("waiting for a start");
    run
}

/// Starts a plant with a latency of `out_ms` to the controller and `in_ms` from it, whose clock is one day ahead, and a run that
/// ignores observations older than `max_age_ms`.
fn delayed(name: &str, [out_ms, in_ms]: [&str; 2], max_age_ms: &str) -> (ForeignPlant, Run) {
    let pose = REST.replace(' ', "");
    let plant = ForeignPlant::start(&[
        "--latency-out-ms",
        out_ms,
        "--latency-in-ms",
        in_ms,
        "--clock-offset-ms",
        "86400000",
        "--command-timeout-ms",
        "10000",
        "--libero-observation",
        "--pose",
        &pose,
    ]);
    let folder = common::folder(name);
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    common::edit(&robot, "max_age_ms = 10000", &format!("max_age_ms = {max_age_ms}"));
    // 60 periods are three seconds: a busy machine may stall any process for one second, and an episode takes eleven.
    common::edit(&robot, "stale_steps = 200", "stale_steps = 60");
    let mut run = Run::of(&robot, folder.join("run"), &[]);
    run.until("waiting for a start");
    (plant, run)
}

fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

/// Sends an operator command with `aegis operate` and returns whether a controller received it.
pub fn operate(wish: &str, endpoint: &str) -> bool {
    let mut command = common::aegis();
    command.args(["operate", wish, "--plant", NAME, "--connect", endpoint]);
    command.output().expect("the binary starts").status.success()
}

pub fn is_command(line: &Value) -> bool {
    is_period(line) && !line["command"].is_null()
}

/// Returns episode, sequence number and joint positions (radians) for each period in which a command was executed.
fn commands(log: &[Value]) -> Vec<(u64, u64, Vec<f64>)> {
    let number = |line: &Value, key: &str| line[key].as_u64().expect("a command has its numbers");
    let all = log.iter().filter(|line| is_command(line));
    all.map(|line| (number(line, "episode"), number(line, "sequence"), executed(line))).collect()
}

#[test]
fn every_command_is_within_its_limits_and_the_first_starts_where_the_robot_stands() {
    let _slot = real_time_slot();
    let plant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("motion-limits", &plant, 10.0, 60);
    for episode in 1..=2 {
        assert!(operate("start", &plant.endpoint));
        run.until("Weak");
        if episode == 1 {
            run.until("waiting for a start");
        }
    }
    plant.until(|line| line["episode"] == 2 && line["sequence"].as_u64() >= Some(30) && is_command(line));
    run.signal("TERM");
    let (code, folder) = run.code();
    assert!(matches!(code, Some(0 | 5)), "{code:?}");
    replays(&folder);
    let log = plant.log();
    assert!(oldest_answer(&log) < 3.5, "no command answers an observation older than max_age_ms and a chunk");
    let commands = commands(&log);
    assert!(
        commands.len() > 60 && commands.last().unwrap().0 == 2,
        "two episodes: {} commands",
        commands.len()
    );
    let mut moved = 0.0_f64;
    for pair in commands.windows(2) {
        let ((episode, number, from), (next, newer, to)) = (&pair[0], &pair[1]);
        // Commands between two periods of the plant were not executed, so a step may span several commands.
        let passed = if episode == next { (newer - number) as f64 } else { 1.0 };
        for (from, to) in from.iter().zip(to) {
            moved = moved.max((to - from).abs());
            assert!((to - from).abs() <= LIMITS[0] * passed + 1e-5, "{from} to {to} in {passed} commands");
        }
    }
    assert!(moved > 0.01, "it moved at all");
    let record = recorded(&folder);
    let values = |channel: usize| record.commands.iter().map(move |command| f64::from(command[channel]));
    for channel in 0..6 {
        // The decided commands of the run: their first, second and third differences are within velocity, acceleration and jerk.
        let differences =
            |values: Vec<f64>| values.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        let velocity = differences(values(channel).collect());
        let acceleration = differences(velocity.clone());
        let jerk = differences(acceleration.clone());
        for (found, limit) in [(velocity, LIMITS[0]), (acceleration, LIMITS[1]), (jerk, LIMITS[2])] {
            let largest = found.into_iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            assert!(largest <= limit + 1e-4, "channel {channel}: {largest} beyond {limit}");
        }
    }
}

#[test]
fn a_robot_that_restarts_elsewhere_is_not_moved_by_a_reset_nor_by_an_e_stop() {
    let _slot = real_time_slot();
    let mut first = plant("tcp/127.0.0.1:0", REST);
    let endpoint = first.endpoint.clone();
    let mut run = run("motion-restart", &first, 10.0, 60);
    assert!(operate("start", &endpoint));
    first.until(|line| line["sequence"].as_u64() >= Some(5) && is_command(line));
    first.kill();
    run.until("SafeStop");
    let second = plant(&endpoint, "-1.0, 1.5, -2.0, 1.0, -1.5, 2.0");
    // Until the controller has reconnected, no controller receives a reset.
    run.until_trying("Idle", std::time::Duration::from_secs(1), || _ = operate("reset", &endpoint));
    assert!(operate("e-stop", &endpoint));
    run.until("EStop");
    run.until_trying("Idle", RESET_AGAIN, || _ = operate("reset", &endpoint));
    assert!(operate("stop", &endpoint));
    run.until("SafeStop");
    run.end();
    let log = second.log();
    assert!(!log.iter().any(is_command), "nothing was executed");
    assert_eq!(largest_jump(&log), 0.0);
}

#[test]
fn a_dry_run_decides_and_sends_nothing() {
    let _slot = real_time_slot();
    let plant = plant("tcp/127.0.0.1:0", REST);
    let folder = common::folder("motion-dry");
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    let mut run = Run::of(&robot, folder.join("run"), &["--dry-run", "--auto-start"]);
    run.until("Weak");
    run.until("Strong");
    run.signal("TERM");
    run.until("dry run: sent nothing, and would have sent ");
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    replays(&folder);
    let log = plant.log();
    assert!(log.iter().any(|line| line["message"] == "Reset"), "it had the plant");
    assert!(!log.iter().any(|line| line["message"] == "Action" || is_command(line)));
}

#[test]
fn a_start_too_far_from_rest_is_refused_and_one_near_it_is_not() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", "0.1, 0.2, 0.3, 2.4, 0.5, 0.6");
    let mut run = run("motion-far", &plant, 1.8, 60);
    assert!(operate("start", &plant.endpoint));
    run.until("no start: ");
    let line = run.seen.last().unwrap();
    assert!(line.contains("channel 3") && line.contains("start_within"), "{line}");
    assert!(!plant.log().iter().any(is_command));
    plant.command("pose 0.1,0.2,0.3,0.4,0.5,0.6");
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    plant.until(is_command);
}

#[test]
fn a_first_action_too_far_from_where_the_robot_stands_is_a_safe_stop() {
    let _slot = real_time_slot();
    let plant = plant("tcp/127.0.0.1:0", REST);
    // The shipped policies' rates, taken as positions, are far from the robot's pose.
    let mut run = run("motion-first", &plant, 0.01, 60);
    assert!(operate("start", &plant.endpoint));
    run.until("SafeStop");
    run.signal("TERM");
    let (_, folder) = run.code();
    assert_eq!(recorded(&folder).causes.last().unwrap(), &Some(StopReason::FarFromStart));
    // The robot may be commanded to stay at its measured pose, which differs by the noise of its encoders.
    assert!(largest_jump(&plant.log()) < 1e-5);
}

#[test]
fn a_position_without_limits_or_without_a_reading_of_its_own_is_refused() {
    let folder = common::folder("motion-file");
    let channel = |limits: &str| format!("{{ kind = \"position\", low = -3, high = 3{limits} }}");
    for (number, (limits, edit, words)) in [
        ("", None, &["control.channels[0].velocity: found none, or inf", "limits = \"always\""][..]),
        (", velocity = 0.05, acceleration = 0.02", None, &["control.channels[0].jerk: found none"]),
        (", velocity = 0.05, acceleration = inf, jerk = 0.01", None, &["control.channels[0].acceleration"]),
        (
            ", velocity = 0.05, acceleration = 0.02, jerk = 0.01",
            Some(("\"joint_positions/4\"", "\"joint_positions/2\"")),
            &["pose[4]: found \"joint_positions/2\", which is pose[2] too"],
        ),
        (
            ", velocity = 1, acceleration = 0.02, jerk = 5e-5",
            None,
            &["control.channels[0]: found limits within which a stop takes", "at most 10 s"],
        ),
        (
            ", velocity = 0.05, acceleration = 0.02, jerk = 0.01",
            Some(("stale_steps = 200", "stale_steps = 4000000000")),
            &["control.stale_steps: found 4000000000", "at most 60 s"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = folder.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let robot = robot_file(&folder, "tcp/127.0.0.1:7447", &channel(limits), REST, 0.1);
        if let Some((from, to)) = edit {
            common::edit(&robot, from, to);
        }
        common::refuses(&mut command(&robot, &folder.join("run")), 2, words);
    }
}

#[test]
fn observations_that_must_not_count_reach_no_policy_and_stop_the_robot() {
    let _slot = real_time_slot();
    for (name, fault, said) in [
        ("nan", "nan 2", "[2] (joint3): found NaN; valid are finite numbers"),
        ("huge", "huge 2", "[2] (joint3): found 1"),
        ("backward", "backward", "valid is a finite time, later than"),
        ("short", "short", "observation.values: found 50 values; valid is 51"),
    ] {
        let mut plant = plant("tcp/127.0.0.1:0", REST);
        let mut run = run(&format!("motion-{name}"), &plant, 10.0, 220);
        assert!(operate("start", &plant.endpoint));
        run.until("Weak");
        plant.until(is_command);
        plant.command(fault);
        run.until("is refused");
        assert!(run.seen.last().unwrap().contains(said), "{:?}", run.seen.last());
        if name != "backward" {
            run.until("waiting for a reset: `aegis operate reset --plant foreign`");
            assert!(run.seen.last().unwrap().contains("is refused"), "{:?}", run.seen.last());
            if !run.has_said("SafeStop  for too long") {
                run.until("SafeStop  for too long");
            }
        }
        run.signal("TERM");
        let (code, folder) = run.code();
        assert_eq!(code, Some(5), "{name}");
        replays(&folder);
    }
}

#[test]
fn an_old_observation_among_new_ones_is_answered_by_no_command() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("motion-repeat", &plant, 10.0, 60);
    plant.command("repeat");
    assert!(operate("start", &plant.endpoint));
    plant.until(|line| line["sequence"].as_u64() >= Some(8) && is_command(line));
    for _ in 0..5 {
        plant.command("old 4");
    }
    run.until("waiting for a start");
    run.signal("TERM");
    let (_, folder) = run.code();
    replays(&folder);
    let log = plant.log();
    let answered: Vec<u64> = log
        .iter()
        .filter(|line| is_command(line))
        .map(|line| line["observation"].as_u64().unwrap())
        .collect();
    assert!(answered.len() > 20 && answered.is_sorted(), "{answered:?}");
    let summary = std::fs::read_to_string(Path::new(&folder).join("summary.json")).unwrap();
    assert!(summary.contains("an observation that is not newer was dropped"), "{summary}");
}

#[test]
fn a_latency_beyond_the_greatest_age_starts_nothing_and_stops_a_robot_that_drives() {
    let _slot = real_time_slot();
    let (mut plant, mut run) = delayed("motion-slow-line", ["300"; 2], "250");
    assert!(operate("start", &plant.endpoint));
    run.until("no start: ");
    let line = run.seen.last().unwrap();
    assert!(line.contains("max_age_ms = 250") && line.contains("ms old by the plant's clock"), "{line}");
    assert!(!plant.log().iter().any(is_command), "nothing was sent");
    plant.command("latency-out 20");
    plant.command("latency-in 20");
    // Messages in transit arrive first, and on a busy machine an observation may be late once more, so the start is repeated.
    let endpoint = plant.endpoint.clone();
    run.until_trying("Weak", std::time::Duration::from_secs(5), || _ = operate("start", &endpoint));
    plant.until(is_command);
    plant.command("latency-out 400");
    run.until("SafeStop");
    let folder = run.end();
    assert_eq!(recorded(&folder).causes.last().unwrap(), &Some(StopReason::Stale));
}

#[test]
fn a_line_that_is_slow_one_way_makes_no_observation_younger_than_it_is() {
    let _slot = real_time_slot();
    // Split evenly, a round trip of 400 ms would be 200 ms each way, which is less than `max_age_ms`.
    let (plant, mut run) = delayed("motion-one-way", ["400", "0"], "250");
    assert!(operate("start", &plant.endpoint));
    run.until("no start: ");
    let line = run.seen.last().unwrap();
    assert!(line.contains("max_age_ms = 250") && line.contains("ms old by the plant's clock"), "{line}");
    run.signal("TERM");
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    assert!(summary(&folder)["plant_round_trip_us"].as_f64() >= Some(400_000.0), "there and back");
    assert!(!plant.log().iter().any(is_command), "nothing was sent");
}

#[test]
fn an_observation_whose_age_is_not_known_counts_as_old() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("motion-no-age", &plant, 10.0, 2000);
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    plant.until(is_command);
    // Every stamp lies in the future until heartbeats with the new time have been exchanged.
    plant.command("forward");
    run.until("the age of observation");
    let last = plant.log().last().unwrap()["period"].as_u64().unwrap();
    plant.until(|line| is_command(line) && line["period"].as_u64() > Some(last + 20));
    plant.command("no-echo");
    run.until("the age of observation");
    run.until("SafeStop");
    let folder = run.end();
    assert_eq!(recorded(&folder).causes.last().unwrap(), &Some(StopReason::Stale));
}

#[test]
fn an_answer_to_a_reset_that_comes_late_is_not_where_the_robot_starts_from() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", REST);
    let mut run = run("motion-late-answer", &plant, 10.0, 60);
    plant.command("late-answers 2000");
    assert!(operate("start", &plant.endpoint));
    plant.until(|line| line["message"] == "Reset");
    // Move the robot by hand while the answer, whose observation was taken before, is delayed.
    plant.command("pose -0.4,0.7,-0.2,0.9,0.0,0.1");
    run.until("Weak");
    plant.until(|line| line["sequence"].as_u64() >= Some(20) && is_command(line));
    run.end();
    let commands = commands(&plant.log());
    let (_, number, first) = &commands[0];
    for (from, to) in [-0.4, 0.7, -0.2, 0.9, 0.0, 0.1].iter().zip(first) {
        let passed = *number as f64;
        assert!((to - from).abs() <= LIMITS[0] * passed + 1e-5, "{from} to {to} in {passed} commands");
    }
}

#[test]
fn an_episode_begins_although_the_robot_stopped_by_itself_after_the_one_before() {
    let _slot = real_time_slot();
    let pose = REST.replace(' ', "");
    let timeout = ["--command-timeout-ms", "2000", "--libero-observation", "--pose", &pose];
    let plant = ForeignPlant::start(&timeout);
    let mut run = run("motion-again", &plant, 10.0, 30);
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    run.until("waiting for a start");
    // The plant's heartbeat states `stopped` ten times a second.
    let stopped = plant.until(|line| line["phase"] == "stopped")["period"].as_u64().unwrap();
    plant.until(|line| line["period"].as_u64() > Some(stopped + 10));
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    let (code, folder) = run.code();
    assert_eq!(code, Some(0));
    replays(&folder);
    assert_eq!(summary(&folder)["episodes"], serde_json::json!(["horizon", "horizon"]));
}

#[test]
fn a_stop_between_episodes_sends_nothing_to_a_robot_that_may_stand_elsewhere() {
    let _slot = real_time_slot();
    for wish in ["stop", "e-stop"] {
        let pose = REST.replace(' ', "");
        let options = ["--command-timeout-ms", "2000", "--resumes", "--libero-observation", "--pose", &pose];
        let mut plant = ForeignPlant::start(&options);
        let mut run = run(&format!("motion-between-{wish}"), &plant, 10.0, 30);
        assert!(operate("start", &plant.endpoint));
        run.until("Weak");
        run.until("waiting for a start");
        plant.until(|line| line["phase"] == "stopped");
        plant.command("pose 1.5,-1.5,1.5,-1.5,1.5,-1.5");
        let pushed = plant.log().len();
        assert!(operate(wish, &plant.endpoint));
        run.until(if wish == "stop" { "SafeStop" } else { "EStop" });
        run.end();
        let log = plant.log();
        assert!(!log[pushed..].iter().any(is_command), "nothing moves it back");
        assert_eq!(largest_jump(&log[pushed..]), 0.0);
    }
}

#[test]
fn a_controller_that_was_suspended_sends_nothing_to_a_robot_that_was_moved_meanwhile() {
    let _slot = real_time_slot();
    let pose = REST.replace(' ', "");
    let options = ["--command-timeout-ms", "300", "--resumes", "--libero-observation", "--pose", &pose];
    let mut plant = ForeignPlant::start(&options);
    let folder = common::folder("motion-suspended");
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    common::edit(&robot, "plant_timeout_ms = 10000", "plant_timeout_ms = 1000");
    let mut run = Run::of(&robot, folder.join("run"), &[]);
    run.until("waiting for a start");
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    // Suspended just after a command has arrived, not while the transport has one to send, which nobody could take back.
    plant.until(is_command);
    run.signal("STOP");
    let stopped = plant.until(|line| line["phase"] == "stopped")["period"].as_u64().unwrap();
    // 30 periods of 50 ms: longer than `plant_timeout_ms`, by the robot's own clock.
    plant.until(|line| line["period"].as_u64() > Some(stopped + 30));
    plant.command("pose 1.5,-1.5,1.5,-1.5,1.5,-1.5");
    let moved = plant.log().len();
    run.signal("CONT");
    run.until("SafeStop");
    let folder = run.end();
    let log = plant.log();
    assert!(!log[moved..].iter().any(is_command), "nothing moves it back");
    assert_eq!(largest_jump(&log[moved..]), 0.0);
    assert!(recorded(&folder).causes.contains(&Some(StopReason::Suspended)));
}

#[test]
fn a_signal_ends_a_run_that_waits_for_an_answer() {
    let _slot = real_time_slot();
    for message in ["Claim", "Reset"] {
        let mut plant = plant("tcp/127.0.0.1:0", REST);
        let folder = common::folder(&format!("motion-deaf-{message}"));
        let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
        if message == "Claim" {
            plant.command("deaf");
        }
        let mut run = Run::of(&robot, folder.join("run"), &[]);
        if message == "Reset" {
            run.until("waiting for a start");
            plant.command("deaf");
            assert!(operate("start", &plant.endpoint));
        }
        plant.until(|line| line["message"] == message && line["event"] == "not answered");
        let begin = std::time::Instant::now();
        run.signal("TERM");
        let (code, folder) = run.code();
        assert_eq!(code, Some(5), "{message}");
        // The timeout of a reset is two minutes, that of a claim ten seconds.
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{message}");
        assert!(folder.join("summary.json").is_file(), "{message}");
    }
}

#[test]
fn a_latency_within_the_greatest_age_lets_the_robot_drive_on() {
    let _slot = real_time_slot();
    let (plant, mut run) = delayed("motion-line", ["40"; 2], "150");
    assert!(operate("start", &plant.endpoint));
    run.until("Weak");
    run.until("waiting for a start");
    let folder = run.end();
    let summary = summary(&folder);
    assert_eq!(summary["episodes"], serde_json::json!(["horizon"]), "no stop ended it");
    assert!(summary["plant_round_trip_us"].as_f64() >= Some(80_000.0), "{summary}");
    let log = plant.log();
    assert!(commands(&log).len() > 20 && oldest_answer(&log) >= 0.08);
}

#[test]
fn a_plant_that_never_says_when_it_heard_the_controller_is_not_started() {
    let _slot = real_time_slot();
    let pose = REST.replace(' ', "");
    let plant = ForeignPlant::start(&["--no-echo", "--libero-observation", "--pose", &pose]);
    let folder = common::folder("motion-no-echo");
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    let mut run = command(&robot, &folder.join("run"));
    run.arg("--auto-start");
    common::refuses(
        &mut run,
        1,
        &["plant foreign: Status: pulse_stamp_ns", "how old", "docs/reference/protocol.md"],
    );
    let log = plant.log();
    assert!(log.iter().any(|line| line["message"] == "Claim"), "it had the plant");
    assert!(!log.iter().any(|line| line["message"] == "Reset" || is_command(line)), "and started nothing");
}

#[test]
fn a_run_that_begins_by_itself_says_why_it_cannot() {
    let _slot = real_time_slot();
    let mut plant = plant("tcp/127.0.0.1:0", REST);
    plant.command("nan 2");
    let folder = common::folder("motion-nan-start");
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    let mut run = command(&robot, &folder.join("run"));
    common::refuses(
        run.arg("--auto-start"),
        1,
        &["no observation that a policy may read came within 3 s of the reset", "found NaN"],
    );
    assert!(!plant.log().iter().any(is_command));
}
