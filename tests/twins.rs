//! Checks common random numbers on the real plant and the real policies: twins are bitwise equal until the hand-over.
//! Also shows that the check fails if one twin is disturbed by the smallest possible amount.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{Disturbed, Study};
use aegis_core::record::NoRecorder;
use aegis_core::trigger::{DisagreementSettings, Schedule};
use aegis_core::{Rule, Thresholds};
use aegis_experiments::episode::context::EpisodeContext;
use aegis_experiments::episode::fork::run_twins;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::episode::twins::{self, TwinError};
use aegis_experiments::{Arm, Drive, EpisodeSettings, run_episode};
use aegis_sim::LiberoPlant;

/// Every score above zero raises an alarm, so the gate fires right after the guard.
const EAGER: Thresholds = Thresholds { fire: 0.0, hand_back: 0.0 };

fn aegis_arm(thresholds: Thresholds) -> Arm {
    Arm::aegis(Rule::Conformal(thresholds))
}

fn run(study: &Study, context: &mut EpisodeContext, arm: &Arm, settings: &EpisodeSettings) -> EpisodeResult {
    run_episode(context, arm, study.keys()[0], settings, &mut NoRecorder).expect("the episode runs").0
}

#[test]
fn an_aegis_episode_is_its_weak_twin_until_the_hand_over() {
    let study = Study::open();
    let settings = study.settings();
    let mut context = study.context();
    let weak = run(&study, &mut context, &Arm::weak(), &settings);
    let aegis = run(&study, &mut context, &aegis_arm(EAGER), &settings);
    assert_eq!(aegis.hand_overs.first(), Some(&50), "the first boundary after the guard at step 44");
    assert_eq!(twins::check(&weak, &aegis), Ok(()));
    let handed = (aegis.hand_overs[0] / aegis.chunk_steps) as usize;
    assert_eq!(weak.prefixes[..=handed], aegis.prefixes[..=handed]);
    assert_ne!(weak.path, aegis.path, "the strong policy does something else");
}

#[test]
fn without_a_hand_over_the_whole_episode_is_equal() {
    let study = Study::open();
    let settings = study.settings();
    let mut context = study.context();
    let weak = run(&study, &mut context, &Arm::weak(), &settings);
    let aegis =
        run(&study, &mut context, &aegis_arm(Thresholds { fire: f64::INFINITY, hand_back: 0.0 }), &settings);
    assert!(aegis.hand_overs.is_empty());
    assert_eq!(twins::check(&weak, &aegis), Ok(()));
    assert_eq!(weak.path, aegis.path);
}

#[test]
fn a_disturbed_twin_is_caught() {
    let study = Study::open();
    let settings = study.settings();
    let weak = run(&study, &mut study.context(), &Arm::weak(), &settings);
    let mut done = false;
    // Change the last bit of one component of one action. A component at its limit would be clipped, which would remove the
    // difference, and zeros are the actions of settling steps, so both are skipped.
    let nudge = move |action: &mut [f32]| {
        let free = action[..3].iter_mut().find(|component| (0.01..0.9).contains(&component.abs()));
        if let (false, Some(component)) = (done, free) {
            *component = f32::from_bits(component.to_bits() ^ 1);
            done = true;
        }
    };
    let plant = Disturbed { plant: LiberoPlant::new(study.suite.clone()), disturb: nudge };
    let aegis = run(&study, &mut study.parties_around(Box::new(plant)), &aegis_arm(EAGER), &settings);
    assert!(matches!(twins::check(&weak, &aegis), Err(TwinError::Prefix { step: 50, .. })));
}

#[test]
fn other_noise_is_caught() {
    let study = Study::open();
    let settings = study.settings();
    let mut context = study.context();
    let weak = run(&study, &mut context, &Arm::weak(), &settings);
    let other = EpisodeSettings { streams: aegis_experiments::Streams::new(1), ..settings };
    let aegis = run(&study, &mut context, &aegis_arm(EAGER), &other);
    assert!(twins::check(&weak, &aegis).is_err());
}

#[test]
fn episodes_of_different_keys_are_no_twins() {
    let study = Study::open();
    let settings = study.settings();
    let weak = run(&study, &mut study.context(), &Arm::weak(), &settings);
    let mut other = weak.clone();
    other.key.replicate += 1;
    assert_eq!(twins::check(&weak, &other), Err(TwinError::Key));
}

/// Returns one arm of every kind, the weak arm first.
pub fn every_arm(study: &Study) -> Vec<Arm> {
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let conformal = study.plan.rule.rule(&study.probe.calibration, study.plan.fit.trend_window);
    let blind = Rule::Blind { schedule: Schedule::Every { first: 6, period: 8 } };
    vec![
        Arm::weak(),
        arm("again", Drive::Weak),
        Arm::aegis(conformal.clone()),
        arm("blind", Drive::Rule(blind)),
        arm("random", Drive::Yoked("aegis".into())),
        arm("shadow", Drive::Shadow(conformal)),
        arm("late", Drive::Rule(Rule::TakeOver { step: 100 })),
        arm("apart", Drive::Rule(Rule::Disagreement(DisagreementSettings { fire: 0.5, hand_back: 0.4 }))),
        Arm::strong(),
    ]
}

#[test]
fn twins_that_fork_are_those_that_ran_from_the_start() {
    let study = Study::open();
    let arms = every_arm(&study);
    let mut context = study.context();
    let (mut saved, mut all) = (0, 0);
    // One task that the weak policy always loses, and one that it often wins.
    for index in [4, 0] {
        let key = study.keys()[index];
        let run = |context: &mut EpisodeContext, fork| -> Vec<(EpisodeResult, usize)> {
            let settings = EpisodeSettings { fork, ..study.settings() };
            let twins = run_twins(context, &arms, key, &settings, &mut NoRecorder).expect("the twins run");
            twins.into_iter().map(|(result, timing)| (result, timing.weak.len())).collect()
        };
        let (forked, whole) = (run(&mut context, true), run(&mut context, false));
        for ((fork, inferred), (full, of)) in forked.iter().zip(&whole) {
            assert_eq!(fork, full);
            saved += of - inferred;
            all += of;
        }
        // A new plant, which has run no episode before, gives the same results.
        if index == 4 {
            assert_eq!(run(&mut study.context(), true), forked);
        }
        let of = |name: &str| forked.iter().find(|(result, _)| result.arm == *name).map(|(result, _)| result);
        let (weak, again) = (of("weak").unwrap(), of("again").unwrap());
        assert_eq!((&weak.path, weak.success), (&again.path, again.success));
        assert_eq!(of("shadow").unwrap().path, weak.path);
        assert_eq!(of("late").unwrap().hand_overs.first(), (weak.steps > 100).then_some(&100));
    }
    assert!(saved * 4 > all, "{saved} of {all} boundaries were not run again");
}
