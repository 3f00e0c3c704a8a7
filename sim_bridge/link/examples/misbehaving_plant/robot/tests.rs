//! Tests of the state machine alone: executed actions, refusals, and each fault as a controller sees it.

use aegis_link::wire::{Code, Mode, Pulse, Release, Step};

use super::*;

const PERIOD: u64 = 50;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// Returns a robot claimed at time 0, and the session.
fn claimed(arguments: &str) -> (Robot, u64) {
    let words = arguments.split_whitespace().map(str::to_owned);
    let mut robot = Robot::new(Arguments::parse(words).unwrap(), 1000);
    let claim = Claim { controller: "test".into(), nonce: 1, mode: Mode::FreeRunning };
    match ask(&mut robot, claim, 0) {
        Message::Claimed(claimed) => (robot, claimed.session),
        other => panic!("{other:?}"),
    }
}

/// Returns a robot claimed at time 0 with episode 1 started, and the session.
fn running(arguments: &str) -> (Robot, u64) {
    let (mut robot, session) = claimed(arguments);
    assert!(matches!(reset(&mut robot, session, 1, 0), Message::Moved(_)));
    (robot, session)
}

fn ask(robot: &mut Robot, question: impl Into<Message>, at: u64) -> Message {
    let question: Message = question.into();
    Message::decode(&robot.request(&question.encode(), ms(at)).expect("it is not deaf")).unwrap()
}

fn reset(robot: &mut Robot, session: u64, episode: u64, at: u64) -> Message {
    ask(robot, Reset { session, episode, task: 0, initial_state: 0, disturbance: None }, at)
}

fn act(robot: &mut Robot, session: u64, episode: u64, sequence: u32, action: &[f32], at: u64) {
    let action = action.to_vec();
    let action = Action { session, episode, sequence, observation: 7, stamp_ns: 0, action };
    robot.action(&Message::from(action).encode(), ms(at));
}

fn tick(robot: &mut Robot, at: u64) -> Vec<Moved> {
    let moved = |bytes: Vec<u8>| match Message::decode(&bytes).unwrap() {
        Message::Moved(moved) => moved,
        other => panic!("{other:?}"),
    };
    robot.tick(ms(at)).into_iter().map(moved).collect()
}

fn fault(robot: &mut Robot, text: &str, at: u64) {
    robot.fault(&Command::parse(text, 1, 1).unwrap(), text, ms(at)).unwrap();
}

fn code(answer: Message) -> Code {
    match answer {
        Message::Refused(refused) => refused.code,
        other => panic!("{other:?}"),
    }
}

fn phase(robot: &Robot) -> Phase {
    robot.phase()
}

#[test]
fn a_position_is_executed_once_as_it_came_and_logged_with_its_numbers() {
    let (mut robot, session) = running("--joints 2 --pose 0.5,0");
    act(&mut robot, session, 1, 1, &[1.5, 0.25], 10);
    tick(&mut robot, PERIOD);
    tick(&mut robot, 2 * PERIOD);
    let lines = robot.take_lines();
    let periods: Vec<&Line> = lines.iter().filter(|line| line.what == What::Period).collect();
    assert_eq!(periods[0].executed, [1.5, 0.25]);
    assert_eq!(periods[0].command, Some(vec![1.5, 0.25]));
    assert_eq!(
        (periods[0].episode, periods[0].sequence, periods[0].observation),
        (Some(1), Some(1), Some(7))
    );
    assert_eq!((periods[0].published, periods[0].jump, periods[0].period), (Some(1), 1.0, 1));
    assert_eq!((&periods[1].command, &periods[1].executed), (&None, &vec![1.5, 0.25]), "it holds");
    let names: Vec<&str> = lines.iter().filter_map(|line| line.message).collect();
    assert_eq!(names, ["Claim", "Reset", "Action"]);
}

#[test]
fn a_rate_is_executed_in_every_period_until_the_command_timeout_stops_it() {
    let (mut robot, session) = running("--joints 1 --kind rate --command-timeout-ms 120");
    act(&mut robot, session, 1, 1, &[0.5], 0);
    for period in 1..=4 {
        tick(&mut robot, period * PERIOD);
    }
    assert_eq!(robot.body.joints(), [1.0], "two periods within 120 ms");
    assert_eq!(phase(&robot), Phase::Stopped);
    let stop =
        robot.take_lines().into_iter().find_map(|line| line.event.filter(|e| e.starts_with("stopped")));
    assert_eq!(stop.as_deref(), Some("stopped by itself: no action for 120 ms"));
    act(&mut robot, session, 1, 2, &[0.5], 210);
    tick(&mut robot, 250);
    assert_eq!(robot.body.joints(), [1.0], "a stop lasts until a reset");
    reset(&mut robot, session, 2, 260);
    act(&mut robot, session, 2, 1, &[0.5], 270);
    tick(&mut robot, 300);
    assert_eq!((robot.body.joints(), phase(&robot)), (&[1.5][..], Phase::Running));
}

#[test]
fn one_that_resumes_moves_again_without_a_reset() {
    let (mut robot, session) = running("--joints 1 --command-timeout-ms 60 --resumes");
    act(&mut robot, session, 1, 1, &[0.5], 0);
    tick(&mut robot, 50);
    tick(&mut robot, 100);
    assert_eq!(phase(&robot), Phase::Stopped);
    act(&mut robot, session, 1, 2, &[0.75], 110);
    tick(&mut robot, 150);
    assert_eq!((robot.body.joints(), phase(&robot)), (&[0.75][..], Phase::Running));
}

#[test]
fn what_carries_its_session_is_executed_and_a_strict_one_refuses_it() {
    for (strict, expected) in [("", 3.0), ("--strict", 1.0)] {
        let (mut robot, session) = running(&format!("--joints 1 {strict}"));
        act(&mut robot, session, 1, 2, &[1.0], 10);
        tick(&mut robot, 50);
        act(&mut robot, session, 1, 1, &[2.0], 60);
        tick(&mut robot, 100);
        act(&mut robot, session, 9, 3, &[3.0], 110);
        tick(&mut robot, 150);
        act(&mut robot, session + 1, 1, 4, &[4.0], 160);
        tick(&mut robot, 200);
        assert_eq!(robot.body.joints(), [expected], "{strict}");
    }
    let (mut robot, session) = claimed("--joints 1");
    act(&mut robot, session, 1, 1, &[1.0], 10);
    assert!(tick(&mut robot, 50).is_empty(), "no episode, no observation");
    assert_eq!(robot.body.joints(), [1.0], "it moves without an episode");
}

#[test]
fn what_no_drive_could_execute_is_not_and_is_logged() {
    let (mut robot, session) = running("--joints 1");
    for action in [&[f32::NAN][..], &[f32::INFINITY], &[], &[1.0, 2.0]] {
        act(&mut robot, session, 1, 1, action, 10);
    }
    tick(&mut robot, 50);
    assert_eq!((robot.body.joints(), robot.dropped), (&[0.0][..], 4));
    let cannot =
        |line: &Line| line.event.as_ref().is_some_and(|event| event.starts_with("cannot be executed"));
    assert_eq!(robot.take_lines().iter().filter(|line| cannot(line)).count(), 4);
}

#[test]
fn a_reset_moves_nothing_and_forgets_the_last_command() {
    let (mut robot, session) = running("--joints 1 --kind rate --pose 0.5");
    act(&mut robot, session, 1, 1, &[0.25], 0);
    tick(&mut robot, 50);
    let Message::Moved(moved) = reset(&mut robot, session, 2, 60) else { panic!("refused") };
    assert!((moved.observation.values[0] - 0.75).abs() < 1e-5);
    assert_eq!((moved.sequence, moved.observation.plant_time), (0, 0.0));
    tick(&mut robot, 100);
    assert_eq!(robot.body.joints(), [0.75]);
}

#[test]
fn claims_and_episodes_follow_the_protocol() {
    let (mut robot, session) = claimed("--joints 1 --strict");
    let claim = |nonce, mode| Claim { controller: "other".into(), nonce, mode };
    assert_eq!(code(ask(&mut robot, claim(2, Mode::FreeRunning), 0)), Code::Held);
    assert_eq!(code(ask(&mut robot, claim(2, Mode::LockStep), 0)), Code::Mode);
    assert_eq!(code(reset(&mut robot, session + 1, 1, 0)), Code::Session);
    let first = reset(&mut robot, session, 1, 0);
    assert_eq!(reset(&mut robot, session, 1, 5), first, "asked again");
    tick(&mut robot, 50);
    assert_eq!(code(reset(&mut robot, session, 1, 60)), Code::Episode);
    let step = Step { session, episode: 1, sequence: 1, action: vec![0.0] };
    assert_eq!(code(ask(&mut robot, step, 60)), Code::Mode);
    let wrong_task = Reset { session, episode: 2, task: 1, initial_state: 0, disturbance: None };
    assert_eq!(code(ask(&mut robot, wrong_task, 60)), Code::Plant);
    assert!(matches!(ask(&mut robot, Release { session }, 70), Message::Status(_)));
    assert_eq!(phase(&robot), Phase::Idle);
    let Message::Claimed(again) = ask(&mut robot, claim(3, Mode::FreeRunning), 80) else { panic!("refused") };
    assert_ne!(again.session, session);
    let pulse = Message::from(Pulse { session: again.session, stamp_ns: 0 }).encode();
    robot.pulse(&pulse, ms(4000));
    robot.expire(ms(8000));
    assert_eq!(phase(&robot), Phase::Held, "its heartbeat keeps the claim");
    robot.expire(ms(9001));
    assert_eq!(phase(&robot), Phase::Idle);
}

#[test]
fn the_heartbeat_says_when_the_controllers_came_on_its_own_clock() {
    for (arguments, expected) in
        [("--joints 1 --clock-offset-ms 5000", [77, 1_005_040_000_000]), ("--joints 1 --no-echo", [0; 2])]
    {
        let (mut robot, session) = claimed(arguments);
        let echoed = |robot: &Robot, at| {
            let Ok(Message::Status(status)) = Message::decode(&robot.status(ms(at)).unwrap()) else {
                panic!("no status");
            };
            [status.pulse_stamp_ns, status.pulse_received_ns]
        };
        assert_eq!(echoed(&robot, 10), [0; 2], "{arguments}: none has come");
        robot.pulse(&Message::from(Pulse { session, stamp_ns: 77 }).encode(), ms(40));
        assert_eq!(echoed(&robot, 90), expected, "{arguments}");
    }
}

#[test]
fn a_careless_one_answers_an_episode_that_was_asked_for_again_while_it_is_on() {
    let (mut robot, session) = claimed("--joints 1");
    let first = reset(&mut robot, session, 5, 0);
    tick(&mut robot, 50);
    assert_eq!(reset(&mut robot, session, 5, 60), first);
    assert_eq!(tick(&mut robot, 100)[0].sequence, 2, "the episode goes on");
    assert!(matches!(reset(&mut robot, session, 3, 110), Message::Moved(_)), "an older number is taken");
}

#[test]
fn frozen_observations_keep_their_content_and_advance_their_stamps() {
    let (mut robot, session) = running("--joints 1 --kind rate");
    fault(&mut robot, "freeze", 0);
    let before = tick(&mut robot, 50).remove(0);
    act(&mut robot, session, 1, 1, &[1.0], 60);
    let frozen = tick(&mut robot, 100).remove(0);
    assert_eq!(frozen.observation.values, before.observation.values);
    assert!(frozen.sequence > before.sequence && frozen.stamp_ns > before.stamp_ns);
    assert!(frozen.observation.plant_time > before.observation.plant_time);
    fault(&mut robot, "thaw", 110);
    let thawed = tick(&mut robot, 150).remove(0);
    assert!(thawed.observation.values[0] > 0.9);
}

#[test]
fn time_goes_backward_for_good_or_for_one_observation() {
    let (mut robot, _) = running("--joints 1");
    let stamps = |robot: &mut Robot, at| {
        let moved = tick(robot, at).remove(0);
        (moved.stamp_ns, moved.observation.plant_time)
    };
    assert_eq!(stamps(&mut robot, 50), (1_000_050_000_000, 0.05));
    fault(&mut robot, "glitch", 60);
    assert_eq!(stamps(&mut robot, 100), (999_100_000_000, -0.9));
    assert_eq!(stamps(&mut robot, 150), (1_000_150_000_000, 0.15));
    fault(&mut robot, "backward", 160);
    assert_eq!(stamps(&mut robot, 200), (999_200_000_000, -0.8));
    assert_eq!(stamps(&mut robot, 250), (999_250_000_000, -0.75));
    let lines = robot.take_lines();
    assert!(lines.is_sorted_by(|one, other| one.t <= other.t), "the log's time goes on");
}

#[test]
fn old_observations_are_published_again_after_a_new_one() {
    let (mut robot, _) = running("--joints 1");
    let sequences =
        |robot: &mut Robot, at| -> Vec<u32> { tick(robot, at).iter().map(|moved| moved.sequence).collect() };
    assert_eq!(sequences(&mut robot, 50), [1]);
    assert_eq!(sequences(&mut robot, 100), [2]);
    fault(&mut robot, "repeat", 110);
    assert_eq!(sequences(&mut robot, 150), [3, 2]);
    assert_eq!(sequences(&mut robot, 200), [4, 3]);
    fault(&mut robot, "heal", 210);
    fault(&mut robot, "old 3", 210);
    assert_eq!(sequences(&mut robot, 250), [5, 2]);
    assert_eq!(sequences(&mut robot, 300), [6]);
    let too_old = robot.fault(&Command::Old(100), "old 100", ms(310)).unwrap_err();
    assert!(too_old.contains("1 to 7") && too_old.contains("found 100"), "{too_old}");
}

#[test]
fn a_joint_that_reads_nonsense_moves_nothing() {
    let (mut robot, _) = running("--joints 1");
    fault(&mut robot, "nan 0", 0);
    assert!(tick(&mut robot, 50)[0].observation.values[0].is_nan());
    fault(&mut robot, "heal", 60);
    fault(&mut robot, "huge 0", 60);
    assert_eq!(tick(&mut robot, 100)[0].observation.values[..1], [1e30]);
    assert_eq!(robot.body.joints(), [0.0]);
    fault(&mut robot, "heal", 110);
    assert!(tick(&mut robot, 150)[0].observation.values[0].abs() < 1e-5);
    fault(&mut robot, "short", 160);
    assert_eq!(
        tick(&mut robot, 200)[0].observation.values.len(),
        7,
        "of one joint and a pose, one value less"
    );
}

#[test]
fn a_silent_one_beats_and_a_mute_one_does_not() {
    let (mut robot, _) = running("--joints 1");
    fault(&mut robot, "silent", 0);
    assert!(tick(&mut robot, 50).is_empty() && robot.status(ms(60)).is_some());
    fault(&mut robot, "mute", 70);
    assert!(tick(&mut robot, 100).is_empty() && robot.status(ms(110)).is_none());
    fault(&mut robot, "speak", 120);
    assert!(robot.status(ms(130)).is_some());
    assert_eq!(tick(&mut robot, 150)[0].sequence, 3, "the numbers of what was not said are gone");
}

#[test]
fn commands_are_dropped_on_command_until_the_plant_stops_by_itself() {
    let (mut robot, session) = running("--joints 1 --command-timeout-ms 80");
    act(&mut robot, session, 1, 1, &[1.0], 10);
    tick(&mut robot, 50);
    fault(&mut robot, "drop-commands", 55);
    act(&mut robot, session, 1, 2, &[2.0], 60);
    tick(&mut robot, 100);
    assert_eq!((robot.body.joints(), phase(&robot)), (&[1.0][..], Phase::Stopped));
}

#[test]
fn a_push_by_hand_is_logged_and_is_no_jump() {
    let (mut robot, session) = running("--joints 1");
    act(&mut robot, session, 1, 1, &[0.5], 10);
    tick(&mut robot, 50);
    fault(&mut robot, "pose 3", 60);
    tick(&mut robot, 100);
    let lines = robot.take_lines();
    let pushed = lines.iter().find(|line| line.what == What::Fault).unwrap();
    assert_eq!((pushed.event.as_deref(), &pushed.executed[..]), (Some("pose 3"), &[3.0][..]));
    let last = lines.last().unwrap();
    assert_eq!((&last.executed[..], last.jump), (&[3.0][..], 0.5), "it stays where it was pushed to");
}
