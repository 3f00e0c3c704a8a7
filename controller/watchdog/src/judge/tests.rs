//! Tests of a watchdog's decisions: each trip, what does not trip, and that a trip stays. Times are values; no test waits.

use super::*;

const HOLDER: u64 = 7;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Bounds of a plant with a velocity and a position, 20 periods a second.
fn bounds() -> Bounds {
    Bounds::parse(
        "rate_hz = 20\nsilence_ms = 150\nchannels = [\n\
         { name = \"speed\", low = -1, high = 1, step = 0.1, still = 0 },\n\
         { name = \"hand\", low = -1, high = 1, step = 0.5 },\n]",
    )
    .unwrap()
}

fn status(phase: Phase, session: u64, episode: u64) -> Status {
    Status {
        instance: 1,
        session,
        phase,
        episode,
        sequence: 0,
        stamp_ns: 0,
        dropped: 0,
        refused: 0,
        pulse_stamp_ns: 0,
        pulse_received_ns: 0,
    }
}

fn action(episode: u64, sequence: u32, speed: f32) -> Action {
    let action = vec![speed, 0.5];
    Action { session: HOLDER, episode, sequence, observation: 0, stamp_ns: 0, action }
}

fn executed(episode: u64, sequence: u32, command: u32, speed: f32) -> Executed {
    let action = if command == 0 { vec![] } else { vec![speed, 0.5] };
    Executed { session: HOLDER, episode, sequence, stamp_ns: 0, command, action }
}

/// Returns a watchdog of a plant that is held, in an episode that stands still.
fn held() -> Watchdog {
    let mut watchdog = Watchdog::new(bounds());
    watchdog.status(&status(Phase::Running, HOLDER, 1), ms(0));
    watchdog.executed(&executed(1, 1, 0, 0.0), ms(10));
    watchdog
}

/// Returns a watchdog of a plant that is driven at a constant speed until 100 ms, the end of control step 3.
fn driven() -> Watchdog {
    let mut watchdog = held();
    for step in 1..=2 {
        watchdog.action(&action(1, step, 0.05), ms(50 * u64::from(step) - 10));
        watchdog.executed(&executed(1, step + 1, step, 0.05), ms(50 * u64::from(step)));
        watchdog.tick(ms(50 * u64::from(step)));
    }
    assert_eq!(watchdog.trip(), None);
    watchdog
}

#[track_caller]
fn tripped(watchdog: &Watchdog, kind: Kind) -> Trip {
    let trip = watchdog.trip().unwrap_or_else(|| panic!("no trip")).clone();
    assert_eq!(trip.kind, kind, "{trip}");
    trip
}

#[test]
fn a_plant_that_is_driven_within_its_bounds_trips_nothing() {
    let mut watchdog = held();
    for step in 1..1000_u32 {
        let at = ms(50 * u64::from(step));
        let speed = (f64::from(step) * 0.09).sin() as f32;
        watchdog.action(&action(1, step, speed), at - ms(5));
        watchdog.executed(&executed(1, step + 1, step, speed), at);
        if step % 2 == 0 {
            watchdog.status(&status(Phase::Running, HOLDER, 1), at);
        }
        watchdog.tick(at);
        assert_eq!(watchdog.trip(), None, "step {step}");
    }
}

#[test]
fn a_bound_itself_and_a_change_of_a_whole_step_trip_nothing() {
    let mut watchdog = held();
    for (sequence, speed) in (1..=11).map(|tenths| (tenths, (tenths - 1) as f32 / 10.0)) {
        watchdog.action(&action(1, sequence, speed), ms(20));
        watchdog.executed(&executed(1, sequence + 1, sequence, speed), ms(20));
    }
    assert_eq!(watchdog.trip(), None);
}

#[test]
fn commands_that_cease_while_one_moves_the_plant_trip() {
    let mut watchdog = driven();
    for step in 4..=5 {
        watchdog.executed(&executed(1, step, 2, 0.05), ms(50 * u64::from(step) - 50));
    }
    watchdog.tick(ms(240));
    assert_eq!(watchdog.trip(), None, "150 ms are not more than 150");
    watchdog.executed(&executed(1, 6, 2, 0.05), ms(241));
    watchdog.tick(ms(241));
    let trip = tripped(&watchdog, Kind::Ceased);
    assert_eq!((trip.value, trip.limit, trip.episode, trip.step), (Some(151.0), Some(150.0), 1, 6));
}

#[test]
fn commands_may_cease_where_the_plant_stands_still() {
    // A velocity of nothing and a hand that does not move: the end of an episode.
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 0.0), ms(140));
    for step in 4..20 {
        watchdog.executed(&executed(1, step, 3, 0.0), ms(50 * u64::from(step) - 50));
        watchdog.tick(ms(50 * u64::from(step) - 50));
    }
    assert_eq!(watchdog.trip(), None);
    // A plant that has stopped by itself stands still after any command.
    let mut watchdog = driven();
    watchdog.executed(&executed(1, 4, 0, 0.0), ms(150));
    watchdog.tick(ms(900));
    assert_eq!(watchdog.trip(), None);
    // And before the first command of an episode a plant may stand for any time.
    let mut watchdog = held();
    for step in 2..100 {
        watchdog.status(&status(Phase::Running, HOLDER, 1), ms(50 * u64::from(step)));
        watchdog.executed(&executed(1, step, 0, 0.0), ms(50 * u64::from(step)));
        watchdog.tick(ms(50 * u64::from(step)));
    }
    assert_eq!(watchdog.trip(), None);
}

#[test]
fn a_position_that_moves_does_not_stand_still() {
    let mut watchdog = held();
    for (sequence, hand) in [(1, 0.5), (2, 0.6)] {
        watchdog.action(&Action { action: vec![0.0, hand], ..action(1, sequence, 0.0) }, ms(20));
        let step = Executed { action: vec![0.0, hand], ..executed(1, sequence + 1, sequence, 0.0) };
        watchdog.executed(&step, ms(20));
    }
    watchdog.executed(&Executed { action: vec![0.0, 0.6], ..executed(1, 4, 2, 0.0) }, ms(180));
    watchdog.tick(ms(180));
    tripped(&watchdog, Kind::Ceased);
}

#[test]
fn a_jump_trips_where_it_is_sent_and_where_it_is_executed() {
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 0.16), ms(140));
    let trip = tripped(&watchdog, Kind::Jump);
    assert_eq!((trip.channel.as_deref(), trip.step), (Some("speed"), 3));
    assert!((trip.value.unwrap() - 0.11).abs() < 1e-6 && trip.limit == Some(0.1), "{trip:?}");
    // Of two commands a plant executes the second alone, so that the change from one period to the next is too large.
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 0.14), ms(140));
    watchdog.action(&action(1, 4, 0.23), ms(145));
    assert_eq!(watchdog.trip(), None);
    watchdog.executed(&executed(1, 4, 4, 0.23), ms(150));
    let trip = tripped(&watchdog, Kind::Jump);
    assert!((trip.value.unwrap() - 0.18).abs() < 1e-6, "{trip:?}");
    // A lost echo allows the change of one more period.
    for (speed, kind) in [(0.25, None), (0.26, Some(Kind::Jump))] {
        let mut watchdog = driven();
        watchdog.executed(&executed(1, 5, 4, speed), ms(200));
        assert_eq!(watchdog.trip().map(|trip| trip.kind), kind, "{speed}");
    }
    // A controller is allowed no larger change by leaving out sequence numbers.
    let mut watchdog = driven();
    watchdog.action(&action(1, 900, 0.9), ms(140));
    watchdog.executed(&executed(1, 4, 900, 0.9), ms(150));
    tripped(&watchdog, Kind::Jump);
}

#[test]
fn a_value_out_of_bounds_or_not_finite_trips_wherever_it_is_seen() {
    for (speed, kind, limit) in [
        (1.01, Kind::OutOfBounds, Some(1.0)),
        (-1.01, Kind::OutOfBounds, Some(-1.0)),
        (f32::NAN, Kind::NotFinite, None),
        (f32::INFINITY, Kind::NotFinite, None),
    ] {
        let mut watchdog = held();
        watchdog.action(&action(1, 1, speed), ms(20));
        let trip = tripped(&watchdog, kind);
        assert_eq!((trip.channel.as_deref(), trip.limit), (Some("speed"), limit));
        let mut watchdog = held();
        watchdog.executed(&executed(1, 2, 1, speed), ms(20));
        tripped(&watchdog, kind);
        // The session does not matter: the action was sent to this plant.
        let mut watchdog = held();
        watchdog.action(&Action { session: 8, ..action(1, 1, speed) }, ms(20));
        tripped(&watchdog, kind);
    }
    let mut watchdog = held();
    watchdog.action(&Action { action: vec![0.0], ..action(1, 1, 0.0) }, ms(20));
    let trip = tripped(&watchdog, Kind::Width);
    assert_eq!((trip.value, trip.limit), (Some(1.0), Some(2.0)));
}

#[test]
fn an_action_of_a_session_that_does_not_hold_the_plant_trips() {
    let mut watchdog = driven();
    watchdog.action(&Action { session: 8, ..action(1, 3, 0.05) }, ms(110));
    for step in 3..=22 {
        watchdog.tick(ms(50 * u64::from(step)));
        assert_eq!(watchdog.trip(), None, "step {step}");
        watchdog.action(&action(1, step, 0.05), ms(50 * u64::from(step)));
        watchdog.executed(&executed(1, step + 1, step, 0.05), ms(50 * u64::from(step)));
        watchdog.status(&status(Phase::Running, HOLDER, 1), ms(50 * u64::from(step)));
    }
    watchdog.tick(ms(1111));
    let trip = tripped(&watchdog, Kind::SecondController);
    assert!(trip.reason.contains("session 8") && trip.reason.contains("session 7"), "{trip}");
    // No action may be sent to a plant that no session holds.
    let mut watchdog = Watchdog::new(bounds());
    watchdog.status(&status(Phase::Idle, 0, 0), ms(0));
    watchdog.action(&action(1, 1, 0.05), ms(10));
    watchdog.tick(ms(1011));
    tripped(&watchdog, Kind::SecondController);
}

#[test]
fn a_new_controller_may_be_heard_before_the_plant_names_it() {
    for by_heartbeat in [true, false] {
        let mut watchdog = driven();
        watchdog.executed(&executed(1, 4, 0, 0.0), ms(150));
        let next = |sequence| Action { session: 8, ..action(1, sequence, 0.9) };
        watchdog.action(&next(1), ms(300));
        watchdog.action(&next(2), ms(350));
        if by_heartbeat {
            watchdog.status(&status(Phase::Running, 8, 1), ms(400));
        }
        watchdog.executed(&Executed { session: 8, ..executed(1, 1, 2, 0.9) }, ms(400));
        watchdog.tick(ms(1400));
        let trip = watchdog.trip().map(|trip| trip.kind);
        assert_ne!(trip, Some(Kind::SecondController), "{by_heartbeat}");
    }
}

#[test]
fn an_old_step_trips() {
    for (episode, sequence) in [(1, 2), (1, 1), (1, 0)] {
        let mut watchdog = driven();
        watchdog.action(&action(episode, sequence, 0.05), ms(110));
        tripped(&watchdog, Kind::OldStep);
    }
    let mut watchdog = driven();
    watchdog.action(&action(2, 1, 0.05), ms(110));
    assert_eq!(watchdog.trip(), None, "a new episode counts from one");
    watchdog.action(&action(1, 3, 0.05), ms(120));
    tripped(&watchdog, Kind::OldStep);
    let mut watchdog = driven();
    watchdog.executed(&executed(1, 2, 2, 0.05), ms(150));
    tripped(&watchdog, Kind::OldStep);
}

#[test]
fn a_plant_that_says_no_more_what_it_executes_trips() {
    // While it is driven, and commands go on.
    let mut watchdog = driven();
    for step in 3..=6 {
        watchdog.action(&action(1, step, 0.05), ms(50 * u64::from(step)));
        watchdog.status(&status(Phase::Running, HOLDER, 1), ms(50 * u64::from(step)));
        watchdog.tick(ms(50 * u64::from(step)));
    }
    let trip = tripped(&watchdog, Kind::NoEcho);
    assert_eq!((trip.value, trip.limit), (Some(200.0), Some(150.0)));
    // While it executes a command that moves it, and everything is silent.
    let mut watchdog = driven();
    watchdog.tick(ms(251));
    tripped(&watchdog, Kind::NoEcho);
    // From the beginning of an episode on, as in lock-step.
    let mut watchdog = Watchdog::new(bounds());
    for at in [0, 500, 1000] {
        watchdog.status(&status(Phase::Running, HOLDER, 1), ms(at));
        watchdog.tick(ms(at));
        assert_eq!(watchdog.trip(), None);
    }
    watchdog.tick(ms(1001));
    tripped(&watchdog, Kind::NoEcho);
}

#[test]
fn a_plant_that_is_held_and_sends_no_heartbeat_trips_and_one_that_nobody_holds_does_not() {
    for (session, kind) in [(HOLDER, Some(Kind::PlantSilent)), (0, None)] {
        let mut watchdog = Watchdog::new(bounds());
        watchdog.status(&status(Phase::Held, session, 0), ms(0));
        watchdog.tick(ms(1000));
        assert_eq!(watchdog.trip(), None);
        watchdog.tick(ms(1001));
        assert_eq!(watchdog.trip().map(|trip| trip.kind), kind);
    }
}

#[test]
fn a_slow_reset_trips_nothing() {
    // While a simulator loads its next scene, its heartbeat still reports the previous episode as running.
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 0.0), ms(140));
    watchdog.executed(&executed(1, 4, 3, 0.0), ms(150));
    watchdog.action(&action(1, 4, 0.0), ms(160));
    for at in (200..5000).step_by(100) {
        watchdog.status(&status(Phase::Running, HOLDER, 1), ms(at));
        watchdog.tick(ms(at));
    }
    // The next episode's first step may come before the heartbeat that reports the episode.
    watchdog.executed(&executed(2, 1, 0, 0.0), ms(4950));
    watchdog.tick(ms(4950));
    assert_eq!(watchdog.trip(), None);
    watchdog.status(&status(Phase::Running, HOLDER, 2), ms(5000));
    watchdog.tick(ms(7000));
    assert_ne!(watchdog.trip().map(|trip| trip.kind), Some(Kind::NoEcho));
}

#[test]
fn unreadable_messages_and_overruns_trip() {
    let mut watchdog = driven();
    watchdog.unreadable("Status on a key of Action");
    assert!(tripped(&watchdog, Kind::Unreadable).reason.contains("Status on a key of Action"));
    let mut watchdog = driven();
    watchdog.overrun(3);
    tripped(&watchdog, Kind::Overrun);
}

#[test]
fn a_trip_stays_until_an_operator_resets_it() {
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 0.9), ms(140));
    let first = tripped(&watchdog, Kind::Jump);
    for step in 4..100 {
        let at = ms(50 * u64::from(step));
        watchdog.status(&status(Phase::Stopped, HOLDER, 1), at);
        watchdog.action(&action(2, step, 0.0), at);
        watchdog.executed(&executed(2, step, 0, 0.0), at);
        watchdog.unreadable("x");
        watchdog.overrun(1);
        watchdog.tick(at);
        assert_eq!(watchdog.trip(), Some(&first));
    }
    watchdog.reset();
    assert_eq!(watchdog.trip(), None);
    // After a reset, no earlier command is remembered.
    watchdog.status(&status(Phase::Running, HOLDER, 3), ms(6000));
    watchdog.action(&action(3, 1, -0.9), ms(6010));
    watchdog.executed(&executed(3, 1, 1, -0.9), ms(6020));
    watchdog.tick(ms(6020));
    assert_eq!(watchdog.trip(), None);
}

#[test]
fn a_trip_names_what_was_found_and_what_is_valid() {
    let mut watchdog = driven();
    watchdog.action(&action(1, 3, 1.5), ms(140));
    let text = watchdog.trip().unwrap().to_string();
    assert_eq!(text, "out_of_bounds: channel \"speed\" holds 1.5; valid is -1 to 1 (episode 1, step 3)");
}
