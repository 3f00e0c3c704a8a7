//! What moves a robot, as the robot executed it: random faults of plant, lines, policies and people, in any order, and a
//! controller in a model of the shell that `aegis run` is, against a model of a plant that executes whatever reaches it.
//!
//! Judged on what the plant executed, with which observation it answers, by the plant's own time:
//! - Every value is finite and within its channel's bounds.
//! - Velocity, acceleration and jerk are within their limits in every mode; where commands were lost in between, in the mean
//!   over all that were decided. An emergency stop alone ends a velocity at once.
//! - In a mode without a driver commands come to rest: after `v/a + 3·a/j + 4` of them nothing moves, with velocity v,
//!   acceleration a and jerk j of the limits; in an emergency stop nothing moves from its first command on.
//! - No command of an earlier claim or episode than the plant's is executed, and the first one to a plant starts where it stands.
//! - When a policy's command is decided, the newest observation that is known is at most `max_age` and `stale_steps − 1`
//!   periods old; the one that its action was inferred from was at most `max_age` old when the policy was asked, and is at most
//!   `max_age` and `horizon − 1` periods old now, with the periods besides that nobody drove in, for a chunk is used by control
//!   steps and these stand still meanwhile. Such a wait is at most `weak_misses · (lead_steps + stale_steps) +
//!   2 · strong_patience_steps + 2` periods long. What the line to the plant takes comes on top, and no controller knows it.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

mod draw;
mod judge;
mod mind;
mod plant;
mod shell;
mod world;

use std::collections::HashSet;
use std::time::Duration;

use aegis_core::control::{ChannelKind, Mode};

use draw::{Draw, Setting};
use judge::{Rule, Violation};
use shell::Broken;
use world::{Run, Tally, harsh};

/// Runs of each kind of arm.
const RUNS: u64 = 100;
/// Runs in which a shell that is broken has to be found out.
const BROKEN_RUNS: u64 = 20;

/// Says which run it was that panicked.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the run of seed {}", self.0);
        }
    }
}

/// Plays runs of a kind of arm, holds that nothing happened in any that must not, and returns what they came to.
fn hold(kind: ChannelKind, latency: Option<u32>) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..RUNS {
        let _said = Said(seed);
        let mut draw = Draw::of(seed);
        let setting = Setting::draw(&mut draw, kind, latency);
        let run = Run::play(draw, setting, None);
        let found = run.judge();
        let first: Vec<&Violation> = found.iter().take(8).collect();
        assert!(found.is_empty(), "{} violations: {first:#?} of {:#?}", found.len(), run.setting);
        tally.take(&run);
    }
    // None of it is said of nothing.
    for mode in Mode::ALL {
        assert!(tally.of(mode) >= 50, "{mode:?}: {tally:?}");
    }
    assert!(tally.of(Mode::Weak) >= 1000 && tally.of(Mode::Strong) >= 1000, "{tally:?}");
    assert!(tally.driven >= 40 && tally.after_lost >= 20 && tally.claims >= 8, "{tally:?}");
    assert!(tally.way > 50.0 && tally.oldest >= Duration::from_millis(300), "{tally:?}");
    tally
}

#[test]
fn whatever_fails_a_position_arm_moves_within_its_limits_and_comes_to_rest() {
    hold(ChannelKind::Position, None);
}

#[test]
fn whatever_fails_a_rate_arm_moves_within_its_limits_and_comes_to_rest() {
    hold(ChannelKind::Rate, None);
}

#[test]
fn whatever_fails_an_arm_300_ms_away_is_driven_by_what_is_young_enough_or_not_at_all() {
    let tally = hold(ChannelKind::Position, Some(6));
    assert!(tally.undriven >= 5, "where `max_age` is less than the way here, nothing drives: {tally:?}");
}

/// The rules that runs break with a shell, or with settings, that are broken.
fn broken(latency: Option<u32>, broken: Option<Broken>) -> HashSet<Rule> {
    let mut rules = HashSet::new();
    for seed in 0..BROKEN_RUNS {
        let _said = Said(seed);
        let mut draw = Draw::of(seed);
        let setting = harsh(&mut draw, latency, broken);
        rules.extend(Run::play(draw, setting, broken).judge().iter().map(|violation| violation.rule));
    }
    rules
}

#[test]
fn a_shell_that_is_broken_is_found_out() {
    let cases: [(Option<u32>, Option<Broken>, &[Rule]); 5] = [
        (None, Some(Broken::IgnoresClaims), &[Rule::Episode, Rule::Start]),
        (None, Some(Broken::Trembles), &[Rule::Rest, Rule::Jerk]),
        (None, Some(Broken::Overdrives), &[Rule::Bounds, Rule::Jump, Rule::Velocity]),
        (Some(6), Some(Broken::AgesByReceipt), &[Rule::Age]),
        (None, None, &[Rule::Jump, Rule::Velocity, Rule::Acceleration, Rule::Jerk]),
    ];
    for (latency, shell, rules) in cases {
        let found = broken(latency, shell);
        for rule in rules {
            assert!(found.contains(rule), "{shell:?} breaks {rule:?}, and what was found is {found:?}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let values = || {
        let mut draw = Draw::of(7);
        let setting = Setting::draw(&mut draw, ChannelKind::Position, None);
        let log = Run::play(draw, setting, None).log;
        log.into_iter().map(|entry| entry.command.values).collect::<Vec<_>>()
    };
    assert_eq!(values(), values());
}
