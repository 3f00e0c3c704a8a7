//! Tests of the host's rules without a network or a clock: one controller, each step once, and a stop that latches.
//! Times are values; no test waits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::time::Duration;

use crate::support::{self, Toy, host};
use aegis_core::disturbance::Effect;
use aegis_core::{Disturbance, Observation, Plant, PlantError, Standstill, Start, Transition};
use aegis_link::Host;
use aegis_link::wire::{
    Action, Attach, Claim, Code, Executed, FramesRequest, Message, Mode, Moved, Phase, Pulse, Release, Reset,
    Status, Step, StopRequest, VERSION,
};

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn claim(nonce: u64, mode: Mode) -> Message {
    Claim { controller: format!("controller {nonce}"), nonce, mode }.into()
}

fn claimed(host: &mut Host, plant: &mut Toy, mode: Mode) -> u64 {
    match Message::decode(&host.request(&claim(1, mode).encode(), at(0), plant)).unwrap() {
        Message::Claimed(claimed) => claimed.session,
        other => panic!("{other:?}"),
    }
}

fn reset(session: u64, episode: u64) -> Message {
    Reset { session, episode, task: 1, initial_state: 7, disturbance: None }.into()
}

fn step(session: u64, episode: u64, sequence: u32, value: f32) -> Message {
    Step { session, episode, sequence, action: vec![value] }.into()
}

#[track_caller]
fn moved(answer: &[u8]) -> Moved {
    match Message::decode(answer).unwrap() {
        Message::Moved(moved) => moved,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(answer: &[u8]) -> (Code, String) {
    match Message::decode(answer).unwrap() {
        Message::Refused(refused) => (refused.code, refused.reason),
        other => panic!("{other:?}"),
    }
}

fn status(host: &Host, now: Duration) -> Status {
    match host.status(now) {
        Message::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_asked_twice_is_run_once() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let first = host.request(&reset(session, 1).encode(), at(1), &mut plant);
    assert_eq!(host.request(&reset(session, 1).encode(), at(2), &mut plant), first);
    assert_eq!((plant.resets, moved(&first).sequence), (1, 0));
    let one = host.request(&step(session, 1, 1, 0.5).encode(), at(3), &mut plant);
    assert_eq!(host.request(&step(session, 1, 1, 0.5).encode(), at(4), &mut plant), one);
    assert_eq!(plant.steps, 1);
    let two = moved(&host.request(&step(session, 1, 2, 0.5).encode(), at(5), &mut plant));
    let mut state = Vec::new();
    plant.state(&mut state);
    assert_eq!((plant.steps, two.sequence, two.state), (2, 2, state));
}

#[test]
fn a_time_in_which_nothing_was_taken_in_is_no_silence_of_the_controllers() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    // The process was suspended for a minute, and messages from that time are not in the inbox yet.
    host.discount(at(60_000), at(60_100));
    host.expire(at(60_100));
    assert_eq!(status(&host, at(60_100)).session, session);
    // The time last heard never lies in the future.
    host.discount(at(60_000), at(60_200));
    host.expire(at(65_200));
    assert_eq!(status(&host, at(65_200)).session, session);
    host.expire(at(65_201));
    assert_eq!(status(&host, at(65_201)).session, 0, "five seconds of silence");
}

#[test]
fn a_request_that_waited_behind_a_heartbeat_takes_nothing_back_from_it() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let pulse: Message = Pulse { session, stamp_ns: 0 }.into();
    host.pulse(&pulse.encode(), at(4000));
    host.request(&reset(session, 1).encode(), at(1), &mut plant);
    let other = host.request(&claim(2, Mode::LockStep).encode(), at(8000), &mut plant);
    assert_eq!(refused(&other).0, Code::Held);
}

#[test]
fn a_status_echoes_the_newest_heartbeat_of_whoever_holds_the_plant() {
    let (mut host, mut plant) = (host(), Toy::default());
    let echo = |host: &Host, now| {
        let Status { pulse_stamp_ns, pulse_received_ns, .. } = status(host, at(now));
        (pulse_stamp_ns, pulse_received_ns)
    };
    let ns = |milliseconds: u64| milliseconds * 1_000_000;
    assert_eq!(echo(&host, 0), (0, 0), "nobody holds it");
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    assert_eq!(echo(&host, 1), (0, 0), "none has come");
    // Stamps are on the controller's clock, arrivals on the plant's; the host does not compare them.
    for (stamp_ns, arrival) in [(u64::MAX, 10), (7, 110)] {
        host.pulse(&Message::from(Pulse { session, stamp_ns }).encode(), at(arrival));
        assert_eq!(
            echo(&host, arrival + 50),
            (stamp_ns, ns(arrival)),
            "when it arrived, not when it was told of"
        );
    }
    host.pulse(&Message::from(Pulse { session: session + 1, stamp_ns: 8 }).encode(), at(200));
    host.pulse(b"AEGS", at(200));
    assert_eq!(echo(&host, 201), (7, ns(110)), "of nobody who holds it");
    assert_eq!(claimed(&mut host, &mut plant, Mode::FreeRunning), session);
    assert_eq!(echo(&host, 211), (7, ns(110)), "the same claim again");
    host.request(&Message::from(Release { session }).encode(), at(220), &mut plant);
    assert_eq!(echo(&host, 221), (0, 0));
    host.request(&claim(2, Mode::FreeRunning).encode(), at(230), &mut plant);
    assert_eq!(echo(&host, 231), (0, 0), "another claim begins anew");
}

#[test]
fn a_skipped_or_past_step_is_refused_and_moves_nothing() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let early = host.request(&step(session, 1, 1, 0.0).encode(), at(1), &mut plant);
    assert_eq!(refused(&early).0, Code::Episode);
    host.request(&reset(session, 1).encode(), at(1), &mut plant);
    for sequence in [0, 2, u32::MAX] {
        let answer = host.request(&step(session, 1, sequence, 0.0).encode(), at(2), &mut plant);
        assert_eq!(refused(&answer).0, Code::Sequence, "step {sequence}");
    }
    host.request(&step(session, 1, 1, 0.0).encode(), at(3), &mut plant);
    host.request(&step(session, 1, 2, 0.0).encode(), at(4), &mut plant);
    assert_eq!(
        refused(&host.request(&step(session, 1, 1, 0.0).encode(), at(5), &mut plant)).0,
        Code::Sequence
    );
    assert_eq!(
        refused(&host.request(&step(session, 2, 3, 0.0).encode(), at(5), &mut plant)).0,
        Code::Episode
    );
    assert_eq!(plant.steps, 2);
}

#[test]
fn a_disturbance_reaches_a_plant_that_can_apply_it_and_no_other() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let disturbance = |force: f64| {
        let effect = Effect::Push { force: [force, 0.0, 0.0], steps: 2 };
        Some(Disturbance { step: 3, effect })
    };
    let ask = |episode, disturbance| {
        Message::from(Reset { session, episode, task: 1, initial_state: 7, disturbance }).encode()
    };
    let (code, reason) = refused(&host.request(&ask(1, disturbance(5.0)), at(1), &mut plant));
    assert_eq!((code, plant.resets), (Code::Plant, 0), "{reason}");
    assert!(reason.contains("no disturbances of its own"), "{reason}");
    plant.is_disturbable = true;
    let (code, reason) = refused(&host.request(&ask(2, disturbance(f64::NAN)), at(2), &mut plant));
    assert_eq!((code, plant.resets), (Code::Malformed, 0), "{reason}");
    assert!(reason.contains("disturbance.force"), "{reason}");
    let question = ask(3, disturbance(5.0));
    let first = host.request(&question, at(3), &mut plant);
    assert_eq!(moved(&first).sequence, 0);
    assert_eq!((plant.resets, plant.disturbance), (1, disturbance(5.0)));
    assert_eq!(host.request(&question, at(4), &mut plant), first, "asked twice, begun once");
    moved(&host.request(&ask(4, None), at(5), &mut plant));
    assert_eq!(plant.disturbance, None);
}

#[test]
fn an_episode_is_never_taken_up_again() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&reset(session, 5).encode(), at(1), &mut plant);
    host.request(&step(session, 5, 1, 0.0).encode(), at(2), &mut plant);
    for episode in [5, 4] {
        let answer = host.request(&reset(session, episode).encode(), at(3), &mut plant);
        assert_eq!(refused(&answer).0, Code::Episode, "episode {episode}");
    }
    assert_eq!(plant.resets, 1);
    assert_eq!(moved(&host.request(&reset(session, 6).encode(), at(4), &mut plant)).episode, 6);
}

#[test]
fn a_second_controller_waits_until_the_first_is_gone() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let other = claim(2, Mode::LockStep).encode();
    let (code, reason) = refused(&host.request(&other, at(10), &mut plant));
    assert_eq!(code, Code::Held);
    assert!(reason.contains("\"controller 1\", heard 0.0 s ago"), "{reason}");
    assert!(reason.contains("is let go 5 s after it was last heard: try again"), "{reason}");
    // A repeated claim does not count as a second controller.
    assert_eq!(claimed(&mut host, &mut plant, Mode::LockStep), session);
    host.pulse(&Message::from(Pulse { session, stamp_ns: 0 }).encode(), at(4000));
    assert_eq!(refused(&host.request(&other, at(8999), &mut plant)).0, Code::Held, "the pulse held it");
    assert!(matches!(Message::decode(&host.request(&other, at(9001), &mut plant)), Ok(Message::Claimed(_))));
    // The first controller returns and no longer holds the plant.
    let answer = host.request(&reset(session, 1).encode(), at(9002), &mut plant);
    assert_eq!(refused(&answer).0, Code::Session);
    assert_eq!(plant.resets, 0);
}

#[test]
fn a_release_frees_the_plant_at_once() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&Message::from(Release { session }).encode(), at(1), &mut plant);
    assert_eq!(status(&host, at(1)).phase, Phase::Idle);
    assert!(matches!(
        Message::decode(&host.request(&claim(2, Mode::LockStep).encode(), at(2), &mut plant)),
        Ok(Message::Claimed(_))
    ));
}

#[test]
fn what_is_no_message_is_dropped_with_a_count_and_moves_nothing() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&reset(session, 1).encode(), at(1), &mut plant);
    let good = step(session, 1, 1, 0.5).encode();
    for cut in 0..good.len() {
        assert_eq!(refused(&host.request(&good[..cut], at(2), &mut plant)).0, Code::Malformed, "{cut} bytes");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(refused(&host.request(&long, at(2), &mut plant)).0, Code::Malformed);
    let wrong_way = host.request(&host.status(at(2)).encode(), at(2), &mut plant);
    assert_eq!(refused(&wrong_way).0, Code::Malformed);
    assert_eq!(status(&host, at(2)).dropped, good.len() as u64 + 1);
    assert_eq!(plant.steps, 0);
    assert_eq!(moved(&host.request(&good, at(3), &mut plant)).sequence, 1, "the episode goes on");
}

#[test]
fn another_version_is_refused_with_both_named() {
    let (mut host, mut plant) = (host(), Toy::default());
    let mut other = claim(1, Mode::LockStep).encode();
    other[4] = 9;
    let (code, reason) = refused(&host.request(&other, at(0), &mut plant));
    assert_eq!(code, Code::Version);
    assert!(reason.contains("version 9") && reason.contains(&format!("version {VERSION}")), "{reason}");
}

#[test]
fn a_restarted_host_knows_nothing_of_the_old_session() {
    let (mut old, mut plant) = (host(), Toy::default());
    let session = claimed(&mut old, &mut plant, Mode::FreeRunning);
    old.request(&reset(session, 1).encode(), at(1), &mut plant);
    let (mut new, mut plant) =
        (Host::new(2000, support::info(), aegis_link::HostLimits::default()), Toy::default());
    new.action(&command(session, 1, 1, 0.9), at(2));
    assert_eq!(new.tick(at(3), &mut plant), None);
    let answer = new.request(&step(session, 1, 1, 0.0).encode(), at(4), &mut plant);
    assert_eq!(refused(&answer).0, Code::Session);
    assert_eq!((plant.steps, status(&new, at(4)).dropped), (0, 1));
}

#[test]
fn a_step_that_failed_is_not_run_again() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&reset(session, 1).encode(), at(1), &mut plant);
    plant.stuck = true;
    let first = host.request(&step(session, 1, 1, 0.5).encode(), at(2), &mut plant);
    assert_eq!(refused(&first).0, Code::Plant);
    let again = host.request(&step(session, 1, 1, 0.5).encode(), at(3), &mut plant);
    assert_eq!((refused(&again).0, plant.steps), (Code::Episode, 1));
}

fn command(session: u64, episode: u64, sequence: u32, value: f32) -> Vec<u8> {
    let action = vec![value];
    Message::from(Action { session, episode, sequence, observation: 0, stamp_ns: 0, action }).encode()
}

#[test]
fn a_free_running_plant_stands_until_commanded_and_stops_when_commands_cease() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    assert_eq!((host.period(), host.tick(at(0), &mut plant)), (None, None));
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    assert_eq!(host.period(), Some(at(50)));
    moved(&host.tick(at(50), &mut plant).unwrap());
    host.action(&command(session, 1, 1, 0.9), at(60));
    for tick in [100, 150, 200, 250] {
        moved(&host.tick(at(tick), &mut plant).unwrap());
    }
    // 200 ms after the last command the plant stops, and it stays stopped when further commands arrive.
    moved(&host.tick(at(261), &mut plant).unwrap());
    assert_eq!(status(&host, at(262)).phase, Phase::Stopped);
    host.action(&command(session, 1, 2, 0.9), at(270));
    moved(&host.tick(at(300), &mut plant).unwrap());
    assert_eq!(plant.actions, [[0.0], [0.9], [0.9], [0.9], [0.9], [0.0], [0.0]]);
    assert_eq!(status(&host, at(301)).dropped, 1);
    // Only an explicit reset lets the plant move again.
    host.request(&reset(session, 2).encode(), at(310), &mut plant);
    host.action(&command(session, 2, 1, 0.4), at(320));
    moved(&host.tick(at(350), &mut plant).unwrap());
    assert_eq!(plant.actions.last().unwrap(), &[0.4]);
}

#[test]
fn a_command_that_comes_after_the_timeout_does_not_undo_the_stop() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    host.action(&command(session, 1, 1, 0.9), at(10));
    host.action(&command(session, 1, 2, 0.9), at(211));
    assert_eq!(status(&host, at(212)).phase, Phase::Running, "it has not been told to stand still yet");
    moved(&host.tick(at(250), &mut plant).unwrap());
    assert_eq!((status(&host, at(251)).phase, &plant.actions[..]), (Phase::Stopped, &[vec![0.0]][..]));
}

#[test]
fn a_plant_that_fails_is_told_to_stand_still_every_period_and_has_not_stopped_before_that_has_worked() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    host.action(&command(session, 1, 1, 0.9), at(10));
    plant.stuck = true;
    let mut told = Vec::new();
    for tick in 1..=30 {
        assert_eq!(host.tick(at(50 * tick), &mut plant), None);
        assert_eq!(status(&host, at(50 * tick)).phase, Phase::Running, "nobody knows that it stands");
        told.extend(host.warning(at(50 * tick)));
    }
    assert_eq!(plant.actions.iter().filter(|action| action[..] == [0.0]).count(), 29, "again and again");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("a control period failed: ") && !told[0].contains("times"), "{told:?}");
    assert!(told[1].ends_with(" (20 times, this the last)"), "{told:?}");
    plant.stuck = false;
    moved(&host.tick(at(1550), &mut plant).unwrap());
    assert_eq!(status(&host, at(1551)).phase, Phase::Stopped);
}

#[test]
fn a_command_that_answers_an_observation_older_than_the_timeout_is_dropped() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    let answering = |observation, sequence| {
        let action = vec![0.9];
        Message::from(Action { session, episode: 1, sequence, observation, stamp_ns: 0, action }).encode()
    };
    // A command arrives in every period and answers the observation of 250 ms before: a constant network delay.
    for period in 1..=8_u32 {
        moved(&host.tick(at(50 * u64::from(period)), &mut plant).unwrap());
        if period > 5 {
            host.action(&answering(period - 5, period), at(50 * u64::from(period) + 1));
        }
    }
    assert!(plant.actions.iter().all(|action| action == &[0.0]), "{:?}", plant.actions);
    assert_eq!(status(&host, at(402)).dropped, 3);
    // A command that answers an observation that was never published is dropped too.
    host.action(&answering(9, 19), at(402));
    assert_eq!(status(&host, at(402)).dropped, 4);
    // A command that answers the observation of 200 ms ago is recent enough.
    host.action(&answering(4, 20), at(403));
    moved(&host.tick(at(450), &mut plant).unwrap());
    assert_eq!(plant.actions.last().unwrap(), &[0.9]);
}

#[test]
fn stale_duplicated_and_unfit_commands_are_dropped() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 3).encode(), at(0), &mut plant);
    host.action(&command(session, 3, 5, 0.5), at(10));
    let wide = Action { session, episode: 3, sequence: 9, observation: 0, stamp_ns: 0, action: vec![1.0; 2] };
    for bytes in [
        command(session, 3, 5, 0.1),
        command(session, 3, 4, 0.1),
        command(session, 2, 9, 0.1),
        command(session + 1, 3, 9, 0.1),
        command(session, 3, 9, f32::NAN),
        Message::from(wide).encode(),
        vec![0; 3],
    ] {
        host.action(&bytes, at(20));
    }
    assert_eq!(status(&host, at(20)).dropped, 7);
    host.tick(at(50), &mut plant);
    assert_eq!(plant.actions, [[0.5]]);
    let answer = host.request(&step(session, 3, 1, 0.0).encode(), at(60), &mut plant);
    assert_eq!(refused(&answer).0, Code::Mode);
}

#[test]
fn pictures_belong_to_a_step() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    let look = |sequence| Message::from(FramesRequest { session, episode: 1, sequence }).encode();
    let answer = host.request(&look(0), at(1), &mut plant);
    let Ok(Message::Pictures(pictures)) = Message::decode(&answer) else { panic!("no pictures") };
    assert_eq!(pictures.pictures[0].rgb.len(), 64 * 64 * 3);
    assert_eq!(refused(&host.request(&look(1), at(1), &mut plant)).0, Code::Sequence);
}

#[test]
fn what_the_plant_refuses_is_told_and_leaves_no_episode() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    let bad =
        Message::from(Reset { session, episode: 1, task: 3, initial_state: 0, disturbance: None }).encode();
    let (code, reason) = refused(&host.request(&bad, at(0), &mut plant));
    assert_eq!(code, Code::Plant);
    assert!(reason.contains("unknown task 3"), "{reason}");
    assert_eq!(status(&host, at(1)).phase, Phase::Held);
}

fn stop_request(hold: Duration) -> Vec<u8> {
    Message::from(StopRequest { reason: "a jump".into(), hold_ns: hold.as_nanos() as u64 }).encode()
}

fn executed(host: &mut Host) -> Option<Executed> {
    host.executed().map(|bytes| match Message::decode(&bytes).unwrap() {
        Message::Executed(executed) => executed,
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_period_says_what_it_executed() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    assert_eq!(executed(&mut host), None);
    host.tick(at(50), &mut plant);
    let stood = executed(&mut host).unwrap();
    assert_eq!((stood.session, stood.episode, stood.sequence), (session, 1, 1));
    assert_eq!((stood.command, stood.action), (0, vec![]));
    assert_eq!(executed(&mut host), None, "it is said once");
    host.action(&command(session, 1, 9, 0.5), at(60));
    host.tick(at(100), &mut plant);
    let moved = executed(&mut host).unwrap();
    assert_eq!((moved.sequence, moved.command, moved.action), (2, 9, vec![0.5]));
    // What has failed may have moved the plant.
    plant.stuck = true;
    host.action(&command(session, 1, 10, 0.7), at(110));
    assert_eq!(host.tick(at(150), &mut plant), None);
    assert_eq!(executed(&mut host).unwrap().action, vec![0.7]);
}

#[test]
fn a_watchdogs_stop_outlives_whatever_a_controller_asks_for() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    host.tick(at(50), &mut plant);
    host.action(&command(session, 1, 1, 0.5), at(60));
    host.watchdog(&stop_request(at(3000)), at(70));
    for sequence in 2..5 {
        host.action(&command(session, 1, sequence, 0.5), at(80));
        host.tick(at(100), &mut plant);
        assert_eq!(executed(&mut host).unwrap().command, 0);
    }
    assert_eq!(plant.actions, vec![vec![0.0]; 4], "it stood still before and after");
    assert_eq!(status(&host, at(110)).phase, Phase::Stopped);
    // Neither a reset nor a release with a new claim changes that; a claim moves nothing and is granted.
    let (code, reason) = refused(&host.request(&reset(session, 2).encode(), at(120), &mut plant));
    assert!(code == Code::Stopped && reason.contains("a watchdog holds the plant: a jump"), "{reason}");
    host.request(&Message::from(Release { session }).encode(), at(130), &mut plant);
    let again =
        match Message::decode(&host.request(&claim(2, Mode::FreeRunning).encode(), at(140), &mut plant)) {
            Ok(Message::Claimed(claimed)) => claimed.session,
            other => panic!("{other:?}"),
        };
    assert_eq!(refused(&host.request(&reset(again, 1).encode(), at(150), &mut plant)).0, Code::Stopped);
    // The request is repeated while the watchdog holds the plant, and lapses after it.
    host.watchdog(&stop_request(at(3000)), at(3000));
    host.pulse(&Message::from(Pulse { session: again, stamp_ns: 1 }).encode(), at(5000));
    assert_eq!(refused(&host.request(&reset(again, 1).encode(), at(5999), &mut plant)).0, Code::Stopped);
    assert_eq!(moved(&host.request(&reset(again, 1).encode(), at(6000), &mut plant)).sequence, 0);
    assert_eq!(plant.resets, 2);
}

#[test]
fn a_watchdogs_stop_ends_an_episode_in_lock_step_too() {
    let (mut host, mut plant) = (host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::LockStep);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    host.request(&step(session, 1, 1, 0.5).encode(), at(10), &mut plant);
    host.watchdog(&stop_request(at(100)), at(20));
    assert_eq!(status(&host, at(20)).phase, Phase::Stopped);
    for now in [30, 200] {
        let answer = host.request(&step(session, 1, 2, 0.5).encode(), at(now), &mut plant);
        assert_eq!(refused(&answer).0, Code::Stopped);
    }
    assert_eq!(plant.steps, 1);
}

#[test]
fn a_watchdog_is_told_what_the_plant_offers_and_can_ask_for_nothing_else() {
    let (mut host, mut plant) = (host(), Toy::default());
    let answer = host.watchdog(&Message::from(Attach { watchdog: "dog".into() }).encode(), at(0));
    let Ok(Message::Attached(attached)) = Message::decode(&answer) else { panic!("it attaches") };
    assert_eq!((attached.action_width, attached.period_ns), (1, 50_000_000));
    assert_eq!(attached.command_timeout_ns, 200_000_000);
    for other in [claim(1, Mode::LockStep), reset(1, 1), step(1, 1, 1, 0.5)] {
        assert_eq!(refused(&host.watchdog(&other.encode(), at(0))).0, Code::Malformed);
    }
    assert_eq!(status(&host, at(0)).phase, Phase::Idle);
    // And a controller asks for no stop on its own key.
    assert_eq!(refused(&host.request(&stop_request(at(1)), at(0), &mut plant)).0, Code::Malformed);
}

/// A robot that comes to rest by its own means, after as many attempts as it is told, and says what it was asked.
#[derive(Debug, Default)]
struct Robot {
    toy: Toy,
    asked: Vec<String>,
    attempts: u32,
    refuses: bool,
    age: Duration,
}

impl Plant for Robot {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.asked.push("reset".into());
        if self.refuses {
            return Err(PlantError::Backend("no rest".into()));
        }
        self.toy.reset(start)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.asked.push(format!("step {}", action[0]));
        self.toy.step(action)
    }

    fn stand(&mut self, standstill: Standstill) -> Option<Result<Transition, PlantError>> {
        self.asked.push(format!("{standstill:?}"));
        if standstill == Standstill::Stopping && self.attempts > 0 {
            self.attempts -= 1;
            return Some(Err(PlantError::Backend("it still moves".into())));
        }
        Some(self.toy.step(&[0.0]))
    }

    fn age(&self) -> Duration {
        self.age
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.toy.state(out);
    }
}

fn robot_episode(host: &mut Host, plant: &mut Robot) -> u64 {
    let answer = host.request(&claim(1, Mode::FreeRunning).encode(), at(0), plant);
    let Ok(Message::Claimed(claimed)) = Message::decode(&answer) else { panic!("{answer:?}") };
    moved(&host.request(&reset(claimed.session, 1).encode(), at(0), plant));
    claimed.session
}

#[test]
fn a_robot_is_not_claimed_in_lock_step() {
    let (mut host, mut plant) = (host().robot(), Robot::default());
    let answer = host.request(&claim(1, Mode::LockStep).encode(), at(0), &mut plant);
    let (code, reason) = refused(&answer);
    assert!(code == Code::Mode && reason.contains("does not move in lock-step"), "{reason}");
    robot_episode(&mut host, &mut plant);
}

#[test]
fn a_robot_that_stands_by_its_own_means_has_stopped_once_it_says_so() {
    let (mut host, mut plant) = (host().robot(), Robot { attempts: 2, ..Robot::default() });
    let session = robot_episode(&mut host, &mut plant);
    moved(&host.tick(at(50), &mut plant).unwrap());
    host.action(&command(session, 1, 1, 0.5), at(60));
    moved(&host.tick(at(100), &mut plant).unwrap());
    // 200 ms without a command: it is asked to stop until it has.
    for tick in [300, 350] {
        assert_eq!(host.tick(at(tick), &mut plant), None);
        assert_eq!(status(&host, at(tick)).phase, Phase::Running);
    }
    moved(&host.tick(at(400), &mut plant).unwrap());
    assert_eq!(status(&host, at(400)).phase, Phase::Stopped);
    assert_eq!(plant.asked, ["reset", "Waiting", "step 0.5", "Stopping", "Stopping", "Stopping"]);
    assert!(host.settle(at(1000), &mut plant) && plant.asked.len() == 6, "it stands");
}

#[test]
fn a_robot_that_nobody_drives_any_more_is_brought_to_rest() {
    let (mut host, mut plant) = (host().robot(), Robot { attempts: 1, ..Robot::default() });
    let session = robot_episode(&mut host, &mut plant);
    assert!(host.settle(at(1000), &mut plant) && plant.asked == ["reset"], "no command has moved it");
    host.action(&command(session, 1, 1, 0.5), at(10));
    moved(&host.tick(at(50), &mut plant).unwrap());
    assert!(!host.settle(at(1000), &mut plant) && plant.asked.len() == 2, "its episode is on");
    host.request(&Message::from(Release { session }).encode(), at(60), &mut plant);
    assert!(
        !host.settle(at(1000), &mut plant)
            && host.settle(at(1000), &mut plant)
            && host.settle(at(1000), &mut plant)
    );
    assert_eq!(plant.asked, ["reset", "step 0.5", "Stopping", "Stopping"]);
    // A simulator stands still without being asked.
    let (mut host, mut plant) = (support::host(), Toy::default());
    let session = claimed(&mut host, &mut plant, Mode::FreeRunning);
    host.request(&reset(session, 1).encode(), at(0), &mut plant);
    host.action(&command(session, 1, 1, 0.5), at(10));
    moved(&host.tick(at(50), &mut plant).unwrap());
    host.free();
    assert!(host.settle(at(1000), &mut plant) && plant.steps == 1);
}

#[test]
fn a_robot_that_may_have_been_left_in_motion_is_stopped_without_a_command_of_this_server() {
    // A watchdog's stop, and the end.
    for end in [false, true] {
        let (mut host, mut plant) =
            (host().robot().perhaps_moving(), Robot { attempts: 1, ..Robot::default() });
        assert!(host.settle(at(0), &mut plant) && plant.asked.is_empty(), "nothing is sent unasked");
        if end {
            host.free();
        } else {
            host.watchdog(&stop_request(at(100)), at(10));
        }
        assert!(!host.settle(at(20), &mut plant) && host.unsettled().contains("it still moves"));
        assert!(host.settle(at(30), &mut plant) && host.settle(at(40), &mut plant));
        assert_eq!(plant.asked, ["Stopping", "Stopping"]);
    }
    // A reset that it refuses.
    let (mut host, mut plant) = (host().robot().perhaps_moving(), Robot::default());
    let answer = host.request(&claim(1, Mode::FreeRunning).encode(), at(0), &mut plant);
    let Ok(Message::Claimed(claimed)) = Message::decode(&answer) else { panic!("{answer:?}") };
    plant.refuses = true;
    refused(&host.request(&reset(claimed.session, 1).encode(), at(0), &mut plant));
    assert!(host.settle(at(10), &mut plant) && plant.asked == ["reset", "Stopping"]);
    // Once it was seen to stand, nothing is suspected any more.
    host.free();
    assert!(host.settle(at(20), &mut plant) && plant.asked.len() == 2);
}

#[test]
fn a_stop_is_no_warning_before_its_time() {
    let mut host = host().robot().rest_within(at(300));
    let mut plant = Robot { attempts: 9, ..Robot::default() };
    let session = robot_episode(&mut host, &mut plant);
    host.action(&command(session, 1, 1, 0.5), at(10));
    moved(&host.tick(at(50), &mut plant).unwrap());
    host.request(&Message::from(Release { session }).encode(), at(60), &mut plant);
    for now in [100, 399] {
        assert!(!host.settle(at(now), &mut plant) && host.warning(at(now)).is_none());
    }
    assert!(!host.settle(at(400), &mut plant));
    let warning = host.warning(at(400)).unwrap();
    assert_eq!(warning, "told to stop 0.3 s ago, and not at rest: plant: it still moves");
}

#[test]
fn an_observation_has_the_time_of_its_readings_and_never_an_earlier_one_than_before() {
    let (mut host, mut plant) = (host().robot(), Robot { age: at(30), ..Robot::default() });
    robot_episode(&mut host, &mut plant);
    let mut stamp = |host: &mut Host, tick: u64, age: u64| {
        plant.age = at(age);
        moved(&host.tick(at(tick), &mut plant).unwrap()).stamp_ns / 1_000_000
    };
    assert_eq!(stamp(&mut host, 100, 30), 70);
    assert_eq!(stamp(&mut host, 150, 81), 70, "the same readings, dated a little earlier");
    assert_eq!(stamp(&mut host, 200, 10), 190);
    assert_eq!(host.moment().map(|moment| moment.stamp_ns), Some(190_000_000));
}
