//! Common random numbers on the real plant and the real policies: twins are bitwise equal until the hand-over.
//! The check is shown to fail where one twin is disturbed by the least amount.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

mod common;

use aegis_core::record::NoRecorder;
use aegis_core::{Observation, Plant, PlantError, Start, Thresholds, Transition};
use aegis_experiments::episode::{Arm, EpisodeResult, Parties};
use aegis_experiments::twins::{self, TwinError};
use aegis_experiments::{EpisodeSettings, run_episode};
use aegis_sim::LiberoPlant;
use common::Study;

/// Every score above zero raises an alarm, so the gate fires right after the guard.
const EAGER: Thresholds = Thresholds { fire: 0.0, hand_back: 0.0 };

fn run(study: &Study, parties: &mut Parties, arm: Arm, settings: &EpisodeSettings) -> EpisodeResult {
    run_episode(parties, arm, study.keys()[0], settings, &mut NoRecorder).expect("the episode runs").0
}

#[test]
fn an_aegis_episode_is_its_weak_twin_until_the_hand_over() {
    let study = Study::open();
    let settings = study.settings(EAGER);
    let mut parties = study.parties();
    let weak = run(&study, &mut parties, Arm::Weak, &settings);
    let aegis = run(&study, &mut parties, Arm::Aegis, &settings);
    assert_eq!(aegis.hand_overs.first(), Some(&50), "the first boundary after the guard at step 44");
    assert_eq!(twins::check(&weak, &aegis), Ok(()));
    let handed = (aegis.hand_overs[0] / aegis.chunk_steps) as usize;
    assert_eq!(weak.prefixes[..=handed], aegis.prefixes[..=handed]);
    assert_ne!(weak.path, aegis.path, "the strong policy does something else");
}

#[test]
fn without_a_hand_over_the_whole_episode_is_equal() {
    let study = Study::open();
    let settings = study.settings(Thresholds { fire: f64::INFINITY, hand_back: 0.0 });
    let mut parties = study.parties();
    let weak = run(&study, &mut parties, Arm::Weak, &settings);
    let aegis = run(&study, &mut parties, Arm::Aegis, &settings);
    assert!(aegis.hand_overs.is_empty());
    assert_eq!(twins::check(&weak, &aegis), Ok(()));
    assert_eq!(weak.path, aegis.path);
}

#[test]
fn a_disturbed_twin_is_caught() {
    let study = Study::open();
    let settings = study.settings(EAGER);
    let weak = run(&study, &mut study.parties(), Arm::Weak, &settings);
    let plant = Nudged { plant: LiberoPlant::new(study.suite.clone()), done: false };
    let aegis = run(&study, &mut study.parties_around(Box::new(plant)), Arm::Aegis, &settings);
    assert!(matches!(twins::check(&weak, &aegis), Err(TwinError::Prefix { step: 50, .. })));
}

#[test]
fn other_noise_is_caught() {
    let study = Study::open();
    let settings = study.settings(EAGER);
    let mut parties = study.parties();
    let weak = run(&study, &mut parties, Arm::Weak, &settings);
    let other = EpisodeSettings { streams: aegis_experiments::Streams::new(1), ..settings };
    let aegis = run(&study, &mut parties, Arm::Aegis, &other);
    assert!(twins::check(&weak, &aegis).is_err());
}

#[test]
fn episodes_of_different_keys_are_no_twins() {
    let study = Study::open();
    let settings = study.settings(EAGER);
    let weak = run(&study, &mut study.parties(), Arm::Weak, &settings);
    let mut other = weak.clone();
    other.key.replicate += 1;
    assert_eq!(twins::check(&weak, &other), Err(TwinError::Key));
}

/// A plant in which one action is off, once, in the last bit of one component.
struct Nudged {
    plant: LiberoPlant,
    done: bool,
}

impl Plant for Nudged {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.plant.reset(start)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let mut action = action.to_vec();
        // A component at its limit would be clipped, and the difference with it; zeros are the settling steps.
        let free = action[..3].iter_mut().find(|component| (0.01..0.9).contains(&component.abs()));
        if let (false, Some(component)) = (self.done, free) {
            *component = f32::from_bits(component.to_bits() ^ 1);
            self.done = true;
        }
        self.plant.step(&action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }
}
