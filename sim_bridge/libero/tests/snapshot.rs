//! Tests that continuing from a snapshot is bitwise equal to an uninterrupted episode, at any control step, in the same
//! plant, in another plant, and on another thread. Needs an exported suite; see `support`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use crate::support;

use aegis_core::policy::{Plant, PlantError, Start, Transition};
use aegis_core::scene::Scene;
use aegis_core::{Observation, Pose};
use aegis_sim::{LiberoPlant, Snapshot};

/// Linear congruential generator, whose draws do not depend on a library's version.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// Returns the next number, in −1 to 1.
    fn signed(&mut self) -> f32 {
        self.next() as f32 / (1_u64 << 30) as f32 - 1.0
    }

    /// Returns a random sequence of actions that descends onto the table and the objects.
    fn actions(&mut self, steps: usize) -> Vec<Vec<f32>> {
        let scale = [1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 1.0];
        let mut one = || scale.map(|scale| scale * self.signed()).to_vec();
        let mut actions: Vec<_> = (0..steps).map(|_| one()).collect();
        actions.iter_mut().for_each(|action| action[2] -= 0.4);
        actions
    }
}

/// Bits of complete states and drawn poses, and the value that each step returned.
type Trajectory = (Vec<u64>, Vec<[u64; 7]>, Vec<Transition>);

fn run(plant: &mut LiberoPlant, actions: &[Vec<f32>]) -> Trajectory {
    let transitions = actions.iter().map(|action| plant.step(action).unwrap()).collect();
    let mut state = Vec::new();
    plant.state(&mut state);
    let mut poses = Vec::new();
    plant.poses(&mut poses);
    let bits = |Pose { position: [x, y, z], orientation: [w, i, j, k] }: Pose| {
        [x, y, z, w, i, j, k].map(f64::to_bits)
    };
    (state.into_iter().map(f64::to_bits).collect(), poses.into_iter().map(bits).collect(), transitions)
}

/// Interrupts an episode after `at` of `actions`, and compares every way of continuing with the uninterrupted episode.
fn interrupt(start: Start, actions: &[Vec<f32>], at: usize) {
    let what = format!("{start:?} at step {at}");
    let mut plant = support::plant();
    let mut seen: Observation = plant.reset(start).unwrap();
    let (before, after) = actions.split_at(at);
    if let Some(last) = run(&mut plant, before).2.pop() {
        seen = last.observation;
    }
    let here = run(&mut plant, &[]);
    let snapshot = plant.snapshot().unwrap();
    assert_eq!(snapshot.step() as usize, at);
    let uninterrupted = run(&mut plant, after);

    let again = |plant: &mut LiberoPlant, snapshot: &Snapshot, by: &str| {
        assert_eq!(plant.restore(snapshot).unwrap(), seen, "{what}: observation, {by}");
        assert_eq!(run(plant, &[]), here, "{what}: restored, {by}");
        assert!(plant.snapshot().unwrap() == *snapshot, "{what}: a snapshot of the restored, {by}");
        assert_eq!(run(plant, after), uninterrupted, "{what}: gone on, {by}");
    };
    again(&mut plant, &snapshot, "the same plant");

    let mut used = support::plant();
    used.reset(Start { task: (start.task + 3) % 10, initial_state: 8 }).unwrap();
    run(&mut used, &actions[..5]);
    again(&mut used, &snapshot, "another plant in another task");

    // Two further plants continue from the snapshot at the same time, as the arms of an experiment do.
    std::thread::scope(|scope| {
        for by in ["one thread", "another thread"] {
            let (again, snapshot) = (&again, &snapshot);
            scope.spawn(move || again(&mut support::plant(), snapshot, by));
        }
    });
}

#[test]
fn continuing_equals_an_uninterrupted_episode() {
    let mut draws = Draws(1);
    for case in 0..10 {
        let start = Start { task: draws.below(10), initial_state: draws.below(50) };
        let actions = draws.actions(60);
        // In the first step of an episode the controller uses a stored arm state, so points before and after it are
        // always tested.
        let at = if case < 2 { case } else { draws.below(50) };
        interrupt(start, &actions, at);
    }
}

/// Interrupts a scripted pick-and-place whose goal is met by the 120th step, with contacts of fingers and bowl, then of
/// bowl and plate.
#[test]
fn continuing_during_contact_equals_an_uninterrupted_episode() {
    let actions: Vec<Vec<f32>> = support::array::<f32>("task00_init03_success_actions.npy")
        .rows()
        .into_iter()
        .map(|action| action.to_vec())
        .collect();
    let mut draws = Draws(2);
    for _ in 0..3 {
        interrupt(Start { task: 0, initial_state: 3 }, &actions, 40 + draws.below(80));
    }
}

#[test]
fn a_snapshot_before_a_reset_is_refused() {
    assert!(matches!(support::plant().snapshot(), Err(PlantError::NotReset)));
}
