//! The report of a study on a plant of one dimension, every count worked out by hand.
//! Weak loses ten of twenty; aegis wins all; an arm that never fires wins what weak wins.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::Path;

use crate::support::{KEYS, gated, open, settings};
use aegis_core::Rule;
use aegis_core::calibrate::Calibrator;
use aegis_core::record::NoRecorder;
use aegis_experiments::plan::Plan;
use aegis_experiments::report::{Report, ReportError, report};
use aegis_experiments::runner::run_arms;
use aegis_experiments::study::DutyOf;
use aegis_experiments::{Arm, Drive, EpisodeKey, EpisodeResult, EpisodeSettings, run_episode};

fn plan() -> Plan {
    let mut plan =
        Plan::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.toml")).expect("it is valid");
    plan.gate = settings().gate;
    if let Some(study) = &mut plan.study {
        study.bootstrap.replicates = 200;
    }
    plan
}

fn keys() -> Vec<EpisodeKey> {
    KEYS.keys(0..1)
}

fn results() -> Vec<EpisodeResult> {
    let arm = |name: &str, drive| Arm { name: name.into(), drive };
    let arms = [
        Arm::weak(),
        gated(),
        arm("blind", Drive::Rule(Rule::Never {})),
        arm("random", Drive::Yoked("aegis".into())),
        Arm::strong(),
        arm("aa", Drive::Weak),
    ];
    let settings = EpisodeSettings { fork: true, ..settings() };
    let twins = run_arms(&keys(), &arms, 2, &settings, &|_| Ok(open()), &|_| {}).unwrap();
    twins.into_iter().map(|(result, _)| result).collect()
}

/// With probabilities that are the scores themselves.
fn made(plan: &Plan, results: &[EpisodeResult]) -> Result<Report, ReportError> {
    report(plan, &keys(), results, &Calibrator { slope: 1.0, intercept: 0.0 })
}

#[test]
fn figures_are_those_that_can_be_counted_by_hand() {
    let found = made(&plan(), &results()).unwrap();
    let names: Vec<_> = found.arms.iter().map(|arm| arm.arm.as_str()).collect();
    assert_eq!(names, ["weak", "aegis", "blind", "random", "strong", "aa"]);
    let won: Vec<_> = found.arms.iter().map(|arm| arm.success.k).collect();
    assert_eq!((won[0], won[1], won[2], won[4], won[5]), (10, 20, 10, 20, 10));
    let aegis = found.arms[1].effects.unwrap();
    let counts =
        |rate: Option<aegis_statistics::Rate>| rate.map(|rate| (rate.proportion.k, rate.proportion.n));
    assert_eq!((counts(aegis.recovered), counts(aegis.broken)), (Some((10, 10)), Some((0, 10))));
    assert_eq!((aegis.mcnemar.one_sided, aegis.net_effect), (0.5_f64.powi(10), 0.5));
    assert_eq!(found.arms[1].fires, 0.5);
    assert_eq!((found.arms[0].duty, found.arms[4].duty), (0.0, 1.0));

    // Help begins in the ten episodes that weak loses, and every instructive one is among them.
    assert_eq!((found.arms[1].help.helped, found.arms[0].help.helped), (10, 0));
    assert_eq!(found.arms[1].help.began.iter().map(|[_, count]| count).sum::<u64>(), 10);
    assert_eq!(found.arms[4].help.began, Vec::<[u64; 2]>::new(), "strong is never handed control");
    let whys: Vec<_> = found.instructive.iter().map(|one| one.why).collect();
    assert_eq!(
        whys,
        ["weak alone lost it, aegis won it", "weak and the blind schedule lost it, aegis won it"]
    );
    // The toy's score tells all lost from all won.
    let roc = found.discrimination.roc.as_ref().unwrap();
    assert!(roc.iter().any(|point| (point.false_alarms, point.detected) == (0.0, 1.0)), "{roc:?}");
    let bins = &found.discrimination.reliability.as_ref().unwrap().bins;
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 20);

    // Against blind and weak: ten pairs that only aegis won.
    let blind = &found.contrasts[0];
    assert_eq!((blind.figures.b, blind.figures.c, blind.figures.treatment.n), (10, 0, 10));
    assert_eq!(blind.figures.mcnemar.one_sided, 0.5_f64.powi(10));
    assert!(blind.budget.is_some() && !blind.holds, "blind spent nothing, so the budgets differ");
    let weak = &found.contrasts[2];
    assert_eq!((weak.figures.b, weak.figures.treatment.n), (10, 20));
    assert!(weak.budget.is_none() && weak.holds);
    assert!(found.contrasts.iter().all(|one| one.adjusted >= one.figures.mcnemar.one_sided));

    let audit = &found.audit;
    assert_eq!((audit.expected, audit.found, audit.pairs, audit.equal_copies), (120, 120, 100, Some(20)));
    assert!(audit.missing.is_empty() && audit.violations.is_empty() && audit.foreign.is_empty());
    // The budgets differ by more than the criterion allows, and nothing else is wrong.
    let fired: Vec<_> = found.kill.iter().filter(|one| one.fired).map(|one| one.name).collect();
    assert_eq!(fired, ["duty_mismatch_points"]);
    assert!(found.killed);
}

#[test]
fn duty_is_of_the_steps_that_the_plan_says() {
    // Ten episodes of aegis have 14 strong steps of 18, ten have none of 10; the horizon is 40.
    for (of, expected) in [(DutyOf::Steps, 140.0 / 280.0), (DutyOf::Horizon, 140.0 / 800.0)] {
        let mut plan = plan();
        if let Some(study) = &mut plan.study {
            study.budget_tolerance.duty_of = of;
        }
        let found = made(&plan, &results()).unwrap();
        assert_eq!(found.contrasts[0].budget.unwrap().duty.treatment, expected);
        assert_eq!(found.arms[1].duty, 0.5, "an arm's is of the steps that it took");
    }
}

#[test]
fn the_order_in_which_episodes_came_changes_nothing() {
    let (mut shuffled, first) = (results(), made(&plan(), &results()).unwrap());
    shuffled.reverse();
    assert_eq!(made(&plan(), &shuffled).unwrap(), first);
    let page = first.page("A study", &["Of a test.".into()]).unwrap();
    for text in [page.markdown(), page.html()] {
        for part in ["duty_mismatch_points", "20 of 20 (100.0 %)", "Of a test.", "120 of 120"] {
            assert!(text.contains(part), "{part} is missing from {text}");
        }
    }
}

#[test]
fn what_is_missing_foreign_or_no_twin_is_named() {
    let mut found = results();
    // One arm of the fourth key is gone, so the whole set counts for nothing.
    found.retain(|result| !(result.key == keys()[3] && result.arm == *"strong"));
    // An episode of another plan.
    let mut foreign = found[0].clone();
    foreign.key.start.initial_state = 99;
    found.push(foreign);
    // A copy of weak that is not: another noise would show in its path.
    let copy = found.iter_mut().find(|result| result.key == keys()[5] && result.arm == *"aa").unwrap();
    copy.path = "0".repeat(32);
    let found = made(&plan(), &found).unwrap();
    let audit = &found.audit;
    assert_eq!(audit.missing, ["strong · task 0 · initial state 3 · replicate 0"]);
    assert_eq!(audit.foreign, ["weak · task 0 · initial state 99 · replicate 0"]);
    assert_eq!(audit.violations, ["aa · task 0 · initial state 5 · replicate 0"]);
    assert_eq!(audit.equal_copies, Some(19));
    assert_eq!(found.arms[0].success.n, 19);
    let fired: Vec<_> = found.kill.iter().filter(|one| one.fired).map(|one| one.name).collect();
    assert_eq!(fired, ["duty_mismatch_points", "crn_violations", "missing_episodes"]);
}

#[test]
fn without_results_or_study_there_is_no_report() {
    let error = made(&plan(), &[]).unwrap_err();
    assert!(error.to_string().contains("arm weak: found no complete set of twins"), "{error}");
    let without = Plan { study: None, ..plan() };
    assert!(matches!(made(&without, &results()), Err(ReportError::NoStudy)));
    // One arm alone is no set either.
    let mut parties = open();
    let (alone, _) =
        run_episode(&mut parties, &Arm::weak(), keys()[0], &settings(), &mut NoRecorder).unwrap();
    assert!(made(&plan(), &[alone]).is_err());
}
