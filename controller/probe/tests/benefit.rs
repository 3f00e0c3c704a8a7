//! Benefit head on synthetic forks: fit and calibration, files that contradict each other, and the probe file.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::sync::atomic::{AtomicUsize, Ordering};

use aegis_core::probe::ProbeError;
use aegis_core::{HeadKind, Probe};
use aegis_files::Scratch;
use aegis_probe::benefit::{BenefitError, FittedBenefit, Forked, Part, check_gate, fit, fits};
use aegis_probe::calibration::calibrate;
use aegis_probe::file::{Data, ProbeFile};
use aegis_probe::fit::fit as fit_risk;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::origin::{Origin, Starts};
use aegis_probe::rollout::Rollout;
use aegis_statistics::auroc;

use crate::forked::{episodes, gate, settings};

const WEAK: &str = "1111111111111111111111111111111111111111111111111111111111111111";

type Episodes = (Vec<Rollout>, Vec<EpisodeForks>);

fn fitted(
    discovery: &Episodes,
    calibration: &Episodes,
    head: HeadKind,
) -> Result<FittedBenefit, BenefitError> {
    let learned = Forked::join(&discovery.0, &discovery.1).unwrap();
    let held = Forked::join(&calibration.0, &calibration.1).unwrap();
    let done = AtomicUsize::new(0);
    let count = || {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let found = fit((&learned, &held), &settings(head), 10, &count)?;
    assert_eq!(done.into_inner(), fits(&settings(head)), "progress ends at its announced number");
    Ok(found)
}

fn risk(rollouts: &[Rollout], head: HeadKind) -> Result<Probe, ProbeError> {
    Ok(fit_risk(rollouts, &settings(head), 40, &|| {})?.probe)
}

#[test]
fn the_benefit_head_finds_the_boundaries_that_a_hold_wins_and_the_risk_head_does_not() {
    let (discovery, calibration, fresh) = (episodes(0..120), episodes(200..260), episodes(300..400));
    for head in [HeadKind::Linear, HeadKind::Mlp] {
        let found = fitted(&discovery, &calibration, head).unwrap();
        assert_eq!((found.discovery.episodes, found.discovery.forks), (240, 720));
        assert_eq!((found.calibrated_on.episodes, found.calibrated_on.forks), (120, 360));
        assert_eq!(found.candidates.each_ref().map(Vec::len), [2, 2]);
        assert_eq!(found, fitted(&discovery, &calibration, head).unwrap(), "equal forks, equal heads");
        let risk = risk(&discovery.0, head).unwrap();
        let forked = Forked::join(&fresh.0, &fresh.1).unwrap();
        let wins: Vec<bool> = forked.boundaries.iter().map(|one| one.benefit() > 0.0).collect();
        let score = |read: &dyn Fn(&[f64]) -> f64| {
            let scores: Vec<f64> = forked.boundaries.iter().map(|one| read(&one.boundary.features)).collect();
            auroc(&wins, &scores).unwrap()
        };
        let benefit = score(&|features| found.head.benefit(&mut found.head.memory(), features).unwrap());
        let risk = score(&|features| risk.score(&mut risk.memory(), features).unwrap().risk());
        assert!(benefit > 0.9 && risk < benefit - 0.15, "{head}: benefit {benefit}, risk {risk}");
    }
}

#[test]
fn probabilities_are_those_of_the_calibration_forks() {
    let (discovery, calibration) = (episodes(0..120), episodes(200..260));
    let found = fitted(&discovery, &calibration, HeadKind::Linear).unwrap();
    let forked = Forked::join(&calibration.0, &calibration.1).unwrap();
    for (head, (name, outcome)) in found.head.outcomes().into_iter().enumerate() {
        let mean = |value: &dyn Fn(usize) -> f64| {
            (0..forked.boundaries.len()).map(value).sum::<f64>() / forked.boundaries.len() as f64
        };
        let predicted = mean(&|at| {
            let features = &forked.boundaries[at].boundary.features;
            outcome.probability(&mut outcome.probe.memory(), features).unwrap()
        });
        let lost = mean(&|at| f64::from(u8::from(forked.boundaries[at].failures()[head])));
        assert!((predicted - lost).abs() < 0.01, "{name}: predicted {predicted}, lost {lost}");
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused_with_the_column() {
    let (rollouts, forks) = episodes(0..5);
    let refused = |change: &dyn Fn(&mut Vec<EpisodeForks>), parts: &[&str]| {
        let mut changed = forks.clone();
        change(&mut changed);
        let error = Forked::join(&rollouts, &changed).unwrap_err().to_string();
        for part in parts.iter().chain(&["give the files that one call of `aegis collect --forks` wrote"]) {
            assert!(error.contains(part), "{part} in {error}");
        }
    };
    let third = "task 0, initial state 1, replicate 0";
    refused(
        &|forks| drop(forks.remove(2)),
        &["rows: found no forks of", third, "every episode of the rollouts"],
    );
    refused(&|forks| forks[2].key.replicate = 7, &["rows: found task 0, initial state 1, replicate 7"]);
    let won = forks[2].success;
    refused(
        &|forks| forks[2].success = !won,
        &[&format!("weak_success: found {} of {third}", !won), &won.to_string()],
    );
    refused(&|forks| forks[2].steps = 33, &[&format!("weak_steps: found 33 of {third}; valid is 40")]);
    refused(
        &|forks| forks[2].forks[1].step = 25,
        &[&format!("step: found 25 of {third}"), "a boundary of the rollout"],
    );
    assert!(Forked::join(&rollouts, &forks).is_ok());

    let plan = gate();
    check_gate(&plan, &plan).unwrap();
    let mut made = plan.clone();
    made.hold_chunks = 2;
    assert_eq!(
        check_gate(&made, &plan).unwrap_err().to_string(),
        "metadata.aegis_forks.gate.hold_chunks: found 2; valid is 1, gate.hold_chunks of the plan: collect the forks again under this \
         plan"
    );
    let made = aegis_core::GateLimits { guard_fraction: 0.5, ..plan.clone() };
    assert!(
        check_gate(&made, &plan)
            .unwrap_err()
            .to_string()
            .contains("gate.guard_fraction: found 0.5; valid is 0.25")
    );
}

#[test]
fn forks_that_no_head_can_be_fitted_on_are_refused_with_their_part() {
    let (discovery, calibration) = (episodes(0..30), episodes(200..230));
    let refused = |discovery: &Episodes, calibration: &Episodes| {
        let error = fitted(discovery, calibration, HeadKind::Linear).unwrap_err();
        (error.part(), error.to_string())
    };
    let all_won = |(rollouts, forks): &Episodes| {
        let mut forks = forks.clone();
        forks.iter_mut().flat_map(|episode| &mut episode.forks).for_each(|fork| fork.hold.success = true);
        (rollouts.clone(), forks)
    };
    for (part, (found, error)) in [
        (Part::Discovery, refused(&all_won(&discovery), &calibration)),
        (Part::Calibration, refused(&discovery, &all_won(&calibration))),
    ] {
        assert_eq!(found, Some(part));
        assert!(error.contains("hold_success: found 0 of 180 forks lost; valid is both outcomes"), "{error}");
    }
    let mut none = calibration.clone();
    none.1.iter_mut().for_each(|episode| episode.forks.clear());
    assert_eq!(refused(&discovery, &none).0, Some(Part::Calibration));
    let (part, error) = refused(&discovery, &episodes(29..60));
    assert_eq!(part, Some(Part::Calibration));
    assert!(error.contains("start 29 of task 0, which the forks of the fit have too"), "{error}");
    let error = fitted(&discovery, &calibration, HeadKind::Recurrent).unwrap_err();
    assert!(error.part().is_none() && error.to_string().contains("--benefit-head"), "{error}");
}

fn origin(rollouts: &[Rollout]) -> Origin {
    Origin {
        suite: "synthetic".into(),
        suite_sha256: None,
        starts: Starts::of(rollouts.iter().map(|rollout| rollout.key)),
        master_seed: 1,
        sample_seed: None,
        weak_sha256: Some(WEAK.into()),
        strong_sha256: None,
        sensor: None,
        settle_steps: None,
        disturbances: None,
    }
}

/// Returns a probe file, with a benefit head unless `plain`.
pub fn probe_file(discovery: &Episodes, calibration: &Episodes, plain: bool) -> ProbeFile {
    let settings = settings(HeadKind::Linear);
    let risk = fit_risk(&discovery.0, &settings, 40, &|| {}).unwrap();
    let thresholds = calibrate(&risk.probe, &calibration.0, &gate(), &settings).unwrap();
    let data = [discovery, calibration].map(|(rollouts, _)| Data::from(rollouts, origin(rollouts)));
    let file = ProbeFile::new((WEAK.into(), "features".into()), data.into(), settings, risk, thresholds);
    if plain { file } else { file.with_benefit(fitted(discovery, calibration, HeadKind::Linear).unwrap()) }
}

#[test]
fn a_probe_file_keeps_its_benefit_head_and_one_without_has_the_layout_of_before() {
    let folder = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = folder.path().join("probe.json");
    let (discovery, calibration) = (episodes(0..60), episodes(200..230));
    let read = || ProbeFile::load(&path, WEAK, "features", 2);
    let plain = probe_file(&discovery, &calibration, true);
    plain.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(r#"{"schema":3,"#) && !text.contains("benefit"));
    assert_eq!(read().unwrap(), plain);

    let file = probe_file(&discovery, &calibration, false);
    file.save(&path).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with(r#"{"schema":5,"#));
    assert_eq!(read().unwrap(), file);
    assert!(file.heads().benefit.is_some() && plain.heads().benefit.is_none());
    assert_eq!(file.calibration, plain.calibration, "the risk head is as without forks");

    let refused = |change: &dyn Fn(&mut serde_json::Value), parts: &[&str]| {
        let mut value = serde_json::to_value(&file).unwrap();
        change(&mut value);
        std::fs::write(&path, value.to_string()).unwrap();
        let error = read().unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
    };
    refused(
        &|value| value["schema"] = 3.into(),
        &["benefit: found given; valid is none in a file of schema 3"],
    );
    refused(
        &|value| drop(value.as_object_mut().unwrap().remove("benefit")),
        &["benefit: found none; valid is given in a file of schema 5"],
    );
    refused(
        &|value| value["benefit"]["discovery"]["episodes"] = 7.into(),
        &["benefit.discovery.episodes: found 7; valid is 120, discovery.episodes"],
    );
    refused(
        &|value| {
            value["benefit"]["calibrated_on"]["sha256"] = value["benefit"]["discovery"]["sha256"].clone()
        },
        &["benefit.calibrated_on.sha256: found", "forks that the head was not fitted on"],
    );
    refused(
        &|value| value["benefit"]["head"]["with_hold"]["probe"]["scale"][0] = 0.into(),
        &["probe.scale", "above 0"],
    );
}
