//! Going on from a snapshot is bitwise equal to never having stopped, at any point, in this plant or another.
//! Needs an exported suite; see `support`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use aegis_core::policy::{Plant, PlantError, Start, Transition};
use aegis_sim::LiberoPlant;

/// A wandering action sequence that reaches the objects: a linear congruential generator, so that it never changes.
fn actions(seed: u64, steps: usize) -> Vec<[f32; 7]> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..steps)
        .map(|_| [draw(), draw(), draw() - 0.4, 0.3 * draw(), 0.3 * draw(), 0.3 * draw(), draw()])
        .collect()
}

fn run(plant: &mut LiberoPlant, actions: &[[f32; 7]]) -> (Vec<u64>, Vec<Transition>) {
    let transitions = actions.iter().map(|action| plant.step(action).unwrap()).collect();
    let mut state = Vec::new();
    plant.state(&mut state);
    (state.into_iter().map(f64::to_bits).collect(), transitions)
}

#[test]
fn going_on_equals_never_having_stopped() {
    for (task, at) in [(0, 0), (0, 1), (4, 17), (7, 38), (9, 25)] {
        let start = Start { task, initial_state: 3 };
        let actions = actions(task as u64 + 1, 60);
        let mut plant = support::plant();
        plant.reset(start).unwrap();
        run(&mut plant, &actions[..at]);
        let snapshot = plant.snapshot().unwrap();
        let uninterrupted = run(&mut plant, &actions[at..]);

        plant.restore(&snapshot).unwrap();
        assert_eq!(run(&mut plant, &actions[at..]), uninterrupted, "task {task}, step {at}, the same plant");

        let mut other = support::plant();
        other.reset(Start { task: 2, initial_state: 8 }).unwrap();
        run(&mut other, &actions[..5]);
        other.restore(&snapshot).unwrap();
        let again = other.snapshot().unwrap();
        assert_eq!(run(&mut other, &actions[at..]), uninterrupted, "task {task}, step {at}, another plant");
        other.restore(&again).unwrap();
        assert_eq!(run(&mut other, &actions[at..]), uninterrupted, "a snapshot of a restored plant");
    }
}

#[test]
fn there_is_nothing_to_copy_before_a_reset() {
    assert!(matches!(support::plant().snapshot(), Err(PlantError::NotReset)));
}
