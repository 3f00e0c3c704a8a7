//! Checks that all ten tasks of LIBERO-Spatial load, restore their initial states and run, and that both policies act on each.
//! Uses the real scenes from the cache.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::Study;
use aegis_core::EpisodeKey;
use aegis_core::record::NoRecorder;
use aegis_core::{Plant, Start};
use aegis_experiments::Arm;
use aegis_experiments::run_episode;
use aegis_sim::LiberoPlant;

#[test]
fn every_task_has_fifty_starts_and_steps() {
    let study = Study::open();
    assert_eq!(study.suite.task_count(), 10);
    let mut plant = LiberoPlant::new(study.suite.clone());
    for task in 0..10 {
        assert_eq!(study.suite.initial_state_count(task), Some(50));
        let start = plant.reset(Start { task, initial_state: 49 }).expect("the start exists");
        assert!(start.instruction.to_lowercase().contains("bowl"), "{}", start.instruction);
        let moved = plant.step(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0]).expect("the plant steps");
        assert!(!moved.success);
        assert!(moved.observation.end_effector().unwrap()[2].is_finite());
    }
}

#[test]
fn both_policies_act_on_every_task() {
    let study = Study::open();
    let mut settings = study.settings();
    settings.gate.horizon_steps = 20;
    let mut context = study.context();
    for task in 0..10 {
        let key = EpisodeKey { start: Start { task, initial_state: 40 }, replicate: 0 };
        for arm in [Arm::weak(), Arm::strong()] {
            let (result, _) = run_episode(&mut context, &arm, key, &settings, &mut NoRecorder).expect("runs");
            assert_eq!(result.steps, 20);
            assert_eq!(result.scores.len(), 2);
        }
    }
}
