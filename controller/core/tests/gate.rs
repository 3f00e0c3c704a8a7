//! Properties of the gate that hold for any scores, NaN and infinities included.
//! Each property is checked on whole episodes of random scores and random limits.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::gate::BudgetUnit;
use aegis_core::{Decision, Driver, Gate, GateLimits, Score, Thresholds};
use proptest::prelude::*;

fn limits() -> impl Strategy<Value = GateLimits> {
    (
        0.0..0.5_f64,
        0.0..0.3_f64,
        prop::array::uniform2(prop::bool::ANY),
        0.0..=1.0_f64,
        1..5_u32,
        0..4_u32,
        30..300_u32,
        1..15_u32,
    )
        .prop_map(|(guard, budget, [steps, whole], duty, hold, calm, horizon, chunk)| GateLimits {
            return_chunks: calm,
            guard_fraction: guard,
            budget_fraction: budget,
            budget_unit: if steps { BudgetUnit::Steps } else { BudgetUnit::Chunks },
            duty_cap: duty,
            hold_chunks: hold,
            whole_holds: whole,
            horizon_steps: horizon,
            chunk_steps: chunk,
        })
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![6 => 0.0..1.0_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY)]
}

const THRESHOLDS: Thresholds = Thresholds { fire: 0.6, hand_back: 0.4 };

fn episode(limits: &GateLimits, scores: &[f64]) -> Vec<(u32, Decision)> {
    let mut gate = Gate::new(limits.clone(), THRESHOLDS).unwrap();
    (0..limits.horizon_steps)
        .step_by(limits.chunk_steps as usize)
        .zip(scores.iter().cycle())
        .map(|(step, score)| (step, gate.boundary(step, Score::new(*score))))
        .collect()
}

proptest! {
    #[test]
    fn never_fires_under_the_guard(limits in limits(), scores in prop::collection::vec(score(), 1..60)) {
        for (step, decision) in episode(&limits, &scores) {
            if step < limits.guard_steps() {
                prop_assert!(decision.guarded && !decision.fired && decision.driver == Driver::Weak);
            }
        }
    }

    #[test]
    fn never_over_budget(limits in limits(), scores in prop::collection::vec(score(), 1..60)) {
        let fires = episode(&limits, &scores).iter().filter(|(_, decision)| decision.fired).count();
        prop_assert!(fires <= limits.budget() as usize);
    }

    #[test]
    fn never_over_the_duty_cap_by_more_than_its_hold(limits in limits(), scores in prop::collection::vec(score(), 1..60)) {
        let strong = episode(&limits, &scores).iter().filter(|(_, d)| d.driver == Driver::Strong).count() as u32;
        prop_assert!(strong * limits.chunk_steps <= limits.duty_steps());
    }

    #[test]
    fn holds_at_least_its_hold(limits in limits(), scores in prop::collection::vec(score(), 1..60)) {
        let drivers: Vec<Driver> = episode(&limits, &scores).iter().map(|(_, decision)| decision.driver).collect();
        let runs = drivers.chunk_by(|a, b| a == b);
        let last = drivers.chunk_by(|a, b| a == b).count() - 1;
        for (index, run) in runs.enumerate() {
            // The end of the episode may cut the last hold short.
            if run[0] == Driver::Strong && index < last {
                prop_assert!(run.len() >= limits.hold_chunks as usize);
            }
        }
    }

    #[test]
    fn every_change_of_driver_is_a_hand_over_and_every_take_over_a_fire(
        limits in limits(), scores in prop::collection::vec(score(), 1..60)
    ) {
        let mut before = Driver::Weak;
        for (_, decision) in episode(&limits, &scores) {
            prop_assert_eq!(decision.handed_over, decision.driver != before);
            prop_assert_eq!(decision.fired, before == Driver::Weak && decision.driver == Driver::Strong);
            before = decision.driver;
        }
    }

    #[test]
    fn nan_counts_as_risk(limits in limits(), position in 0..30_usize) {
        let mut scores = vec![0.0; 30];
        scores[position] = f64::NAN;
        let mut highest = scores.clone();
        highest[position] = f64::INFINITY;
        let driving = |scores: &[f64]| -> Vec<Driver> {
            episode(&limits, scores).iter().map(|(_, decision)| decision.driver).collect()
        };
        prop_assert_eq!(driving(&scores), driving(&highest));
    }

    #[test]
    fn hands_back_only_when_calm_or_spent(limits in limits(), scores in prop::collection::vec(score(), 1..60)) {
        let mut calm = 0;
        let mut strong_steps = 0;
        for (_, decision) in episode(&limits, &scores) {
            calm = if decision.score.risk() < THRESHOLDS.hand_back { calm + 1 } else { 0 };
            if decision.handed_over && decision.driver == Driver::Weak {
                let spent = strong_steps + limits.chunk_steps > limits.duty_steps();
                prop_assert!(calm >= limits.return_chunks || spent);
            }
            strong_steps += if decision.driver == Driver::Strong { limits.chunk_steps } else { 0 };
        }
    }
}

fn ours() -> GateLimits {
    GateLimits {
        return_chunks: 2,
        guard_fraction: 0.2,
        budget_fraction: 0.05,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 1.0,
        hold_chunks: 3,
        whole_holds: false,
        horizon_steps: 220,
        chunk_steps: 10,
    }
}

#[test]
fn budget_in_either_unit() {
    assert_eq!(ours().budget(), 2);
    assert_eq!(GateLimits { budget_unit: BudgetUnit::Steps, ..ours() }.budget(), 11);
    assert_eq!(ours().guard_steps(), 44);
}

#[test]
fn an_infinite_threshold_never_fires_on_a_number() {
    let thresholds = Thresholds { fire: f64::INFINITY, hand_back: 0.5 };
    let mut gate = Gate::new(ours(), thresholds).unwrap();
    assert!((0..22).all(|chunk| !gate.boundary(chunk * 10, Score::new(1.0)).fired));
}

#[test]
fn a_dancing_score_is_bounded_by_hold_and_budget() {
    let dance: Vec<f64> = (0..22).map(|chunk| if chunk % 2 == 0 { 0.61 } else { 0.39 }).collect();
    let hand_overs = episode(&ours(), &dance).iter().filter(|(_, decision)| decision.handed_over).count();
    assert!(hand_overs <= 2 * ours().budget() as usize);
}

#[test]
fn without_hysteresis_a_hold_ends_when_it_is_over_whatever_the_score() {
    let limits = GateLimits { return_chunks: 0, ..ours() };
    let drivers: Vec<Driver> = episode(&limits, &[0.9]).iter().map(|(_, decision)| decision.driver).collect();
    let strong = |boundary: usize| drivers[boundary] == Driver::Strong;
    // The gate fires at boundary 5, the first after the guard, and at 9, right after the boundary that hands back.
    assert_eq!((0..22).filter(|boundary| strong(*boundary)).collect::<Vec<_>>(), [5, 6, 7, 9, 10, 11]);
}

#[test]
fn a_hold_that_has_to_be_whole_does_not_begin_too_late() {
    // The hold of a fire at boundary 16 ends exactly at the horizon.
    let limits = GateLimits { whole_holds: true, hold_chunks: 6, ..ours() };
    let fires = |from: usize| {
        let late: Vec<f64> = (0..22).map(|chunk| if chunk < from { 0.1 } else { 0.9 }).collect();
        episode(&limits, &late).iter().filter(|(_, decision)| decision.fired).count()
    };
    assert_eq!((fires(16), fires(17)), (1, 0));
}

#[test]
fn bad_limits_are_named() {
    let error = Gate::new(GateLimits { guard_fraction: 1.5, ..ours() }, THRESHOLDS).unwrap_err();
    assert_eq!(error.field, "guard_fraction");
    assert!(Gate::new(ours(), Thresholds { fire: 0.1, hand_back: 0.2 }).is_err());
    assert!(Gate::new(ours(), Thresholds { fire: f64::NAN, hand_back: 0.2 }).is_err());
}
