//! Random faults of plant, connections, policies and operators, in any order: a controller in a model of the shell that
//! `aegis run` provides, against a model of a plant that executes every command it receives.
//!
//! The commands that the plant executed, and the observations they answer, are judged by the plant's own time:
//! - Every value is finite and within its channel's bounds.
//! - Velocity, acceleration and jerk are within their limits in every mode; where commands in between were lost, the mean
//!   over all decided commands is. Only an emergency stop ends a velocity at once.
//! - In a mode without a driver commands come to rest: after `v/a + 3·a/j + 4` commands nothing moves, with velocity v,
//!   acceleration a and jerk j of the limits. In an emergency stop nothing moves from the first command on.
//! - No command of an earlier claim or episode than the plant's is executed, and the first command to a plant starts at the
//!   plant's pose.
//! - When a policy's command is decided, the newest known observation is at most `max_age` plus `stale_steps − 1` periods
//!   old. The observation from which the action was inferred was at most `max_age` old when the policy was asked. At the
//!   decision it is at most `max_age` plus `horizon − 1` periods old, plus the periods in which no policy drove: a chunk is
//!   used by control steps, which do not advance in those periods. Such a wait is at most
//!   `weak_misses · (lead_steps + stale_steps) + 2 · strong_patience_steps + 2` periods long. The latency of the connection
//!   to the plant is added to these ages; the controller does not know it.
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

/// Number of runs for each kind of robot arm.
const RUNS: u64 = 100;
/// Number of runs in which a broken shell has to be detected.
const BROKEN_RUNS: u64 = 20;

/// Prints the seed of a run that panicked.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the run of seed {}", self.0);
        }
    }
}

/// Plays runs for a kind of robot arm, asserts that no run has a violation, and returns the tally of all runs.
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
    // Every mode and every kind of event has to occur, or the check would be empty.
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

/// Returns the rules that runs violate with a broken shell or with unsafe settings.
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
