//! Provokes the ways in which other suites have broken the pairing of twins: this suite keeps the pairing, and the twin check
//! detects a plant that breaks it.
//! Uses the real plant and the real policies.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{Disturbed, Study};
use aegis_core::EpisodeKey;
use aegis_core::record::NoRecorder;
use aegis_core::{Observation, Plant, PlantError, Start, Transition};
use aegis_experiments::episode::fork::run_twins;
use aegis_experiments::{
    Arm, Drive, EpisodeContext, EpisodeError, EpisodeResult, EpisodeSettings, Streams, run_episode,
};
use aegis_sim::LiberoPlant;
use rand::RngExt;

const START: Start = Start { task: 0, initial_state: 46 };
const KEY: EpisodeKey = EpisodeKey { start: START, replicate: 0 };

/// Moves the arm downwards and forwards with a closing gripper, into the table and the objects, for `steps` control steps.
fn press(plant: &mut dyn Plant, steps: usize) {
    for step in 0..steps {
        let sway = if step % 7 < 3 { 0.6 } else { -0.5 };
        plant.step(&[0.5, sway, -0.9, 0.0, 0.0, 0.2, 1.0]).expect("the plant steps");
    }
}

fn bits(plant: &dyn Plant) -> Vec<u64> {
    let mut state = Vec::new();
    plant.state(&mut state);
    state.into_iter().map(f64::to_bits).collect()
}

/// Creates a new plant and resets it to [`START`].
fn fresh(study: &Study) -> LiberoPlant {
    let mut plant = LiberoPlant::new(study.suite.clone());
    plant.reset(START).expect("the plant resets");
    plant
}

fn weak(context: &mut EpisodeContext, settings: &EpisodeSettings) -> EpisodeResult {
    run_episode(context, &Arm::weak(), KEY, settings, &mut NoRecorder).expect("the episode runs").0
}

/// Runs the weak arm and a second weak arm as twins.
fn twice(context: &mut EpisodeContext, settings: &EpisodeSettings) -> Result<(), EpisodeError> {
    let arms = [Arm::weak(), Arm { name: "aa".into(), drive: Drive::Weak }];
    run_twins(context, &arms, KEY, settings, &mut NoRecorder).map(|_| ())
}

#[test]
fn an_initial_state_does_not_depend_on_when_an_earlier_episode_ended() {
    let study = Study::open();
    let expected = bits(&fresh(&study));
    let episode = weak(&mut study.context(), &study.settings());
    for (task, steps) in [(0, 0), (0, 1), (0, 37), (3, 5), (0, 80)] {
        let mut used = LiberoPlant::new(study.suite.clone());
        used.reset(Start { task, initial_state: 45 }).unwrap();
        press(&mut used, steps);
        used.reset(START).unwrap();
        assert_eq!(bits(&used), expected, "after {steps} steps of task {task}");
        assert_eq!(weak(&mut study.parties_around(Box::new(used)), &study.settings()), episode);
    }
}

#[test]
fn a_reset_does_not_keep_the_solvers_warm_start() {
    let study = Study::open();
    let mut fresh = fresh(&study);
    let expected = bits(&fresh);
    // Fewer values than the state has velocities.
    let tail = fresh.state_flat().len() / 4;
    let mut used = self::fresh(&study);
    press(&mut used, 60);
    // A state ends with the solver's warm start, which in contact differs from that after a reset.
    let warm = |state: &[u64]| state[state.len() - tail..].to_vec();
    assert_ne!(warm(&bits(&used)), warm(&expected));
    used.reset(START).unwrap();
    assert_eq!(bits(&used), expected);
    press(&mut fresh, 60);
    press(&mut used, 60);
    assert_eq!(bits(&used), bits(&fresh), "nor does anything else that shows later");
}

#[test]
fn draws_are_not_shared_by_their_count() {
    let study = Study::open();
    let settings = study.settings();
    let rule = study.plan.rule.rule(&study.probe.calibration, study.plan.fit.trend_window);
    let random = |name: &str| Arm { name: name.into(), drive: Drive::Yoked("aegis".into()) };
    let of = |arms: &[Arm]| -> Vec<EpisodeResult> {
        let twins = run_twins(&mut study.context(), arms, KEY, &settings, &mut NoRecorder);
        let mut results: Vec<_> =
            twins.expect("the twins run").into_iter().map(|(result, _)| result).collect();
        results.sort_by(|a, b| a.arm.cmp(&b.arm));
        results
    };
    let few = of(&[Arm::weak(), Arm::aegis(rule.clone()), random("random")]);
    // More arms, which draw more random numbers, in another order.
    let many = of(&[
        Arm::weak(),
        Arm::strong(),
        Arm::aegis(rule),
        random("other_random"),
        random("random"),
        Arm { name: "aa".into(), drive: Drive::Weak },
    ]);
    for result in &few {
        assert!(many.contains(result), "{} depends on which arms are beside it", result.arm);
    }
}

/// A plant that breaks pairing: each reset moves one coordinate by 1e-12 for every control step taken so far.
struct Remembers {
    plant: LiberoPlant,
    steps: u32,
}

impl Plant for Remembers {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.plant.reset(start)?;
        let mut state = self.plant.state_flat();
        state[1] += f64::from(self.steps) * 1e-12;
        self.plant.reset_from(start.task, &state)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.steps += 1;
        self.plant.step(action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }
}

#[test]
fn a_plant_that_breaks_pairing_is_refused_before_any_test_is_read() {
    let study = Study::open();
    let settings = EpisodeSettings { fork: false, ..study.settings() };
    assert!(twice(&mut study.context(), &settings).is_ok());
    let plant = || LiberoPlant::new(study.suite.clone());
    // One random generator that all episodes share.
    let mut generator = Streams::new(1).at(KEY, "shared", 0);
    let shares_draws = move |action: &mut [f32]| action[0] += generator.random_range(-1e-6..1e-6_f32);
    let broken: [Box<dyn Plant>; 2] = [
        Box::new(Remembers { plant: plant(), steps: 0 }),
        Box::new(Disturbed { plant: plant(), disturb: shares_draws }),
    ];
    for plant in broken {
        let refused = twice(&mut study.parties_around(plant), &settings);
        assert!(matches!(refused, Err(EpisodeError::Twins(_))), "{refused:?}");
    }
}
