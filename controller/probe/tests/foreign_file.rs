//! Probe files from rollouts of another program, which have a layout of their own without thresholds on distances between policies.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::gate::BudgetUnit;
use aegis_core::probe::HeadKind;
use aegis_core::{EpisodeKey, GateLimits, Start};
use aegis_files::Scratch;
use aegis_probe::calibration::calibrate;
use aegis_probe::file::{Data, ProbeFile, UNKNOWN};
use aegis_probe::fit::{FitSettings, fit};
use aegis_probe::foreign::{ForeignRecord, Split, split};
use aegis_probe::rollout::{Boundary, Rollout};
use aegis_probe::rules::RuleSettings;

/// Forty episodes of three boundaries; those with a high first value are lost.
fn rollouts() -> Vec<Rollout> {
    let one = |initial_state: usize| {
        let success = !initial_state.is_multiple_of(3);
        let mark = if success { 0.0 } else { 1.0 } + initial_state as f64 / 30.0;
        Rollout {
            key: EpisodeKey { start: Start { task: 0, initial_state }, replicate: 0 },
            success,
            steps: 6,
            disturbance: None,
            boundaries: [0, 2, 4]
                .map(|step| Boundary { step, features: vec![mark, 0.5], chunks: None })
                .to_vec(),
        }
    };
    (0..40).map(one).collect()
}

fn fitted() -> ProbeFile {
    let settings = FitSettings {
        head: HeadKind::Linear,
        penalties: vec![1.0],
        folds: 2,
        hidden: 1,
        epochs: 1,
        seed: 1,
        window_fraction: 1.0,
        alpha: 0.2,
        return_alpha: 0.25,
        early_fraction: 0.3,
        trend_window: 2,
    };
    let gate = GateLimits {
        return_chunks: 0,
        guard_fraction: 0.2,
        budget_fraction: 0.5,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 1.0,
        hold_chunks: 1,
        whole_holds: false,
        horizon_steps: 6,
        chunk_steps: 2,
    };
    let chosen = Split { calibration_share: 0.5, seed: 1 };
    let (discovery, held) = split(rollouts(), chosen);
    let found = fit(&discovery, &settings, 6, &|| {}).unwrap();
    let calibration = calibrate(&found.probe, &held, &gate, &settings).unwrap();
    let record = ForeignRecord {
        files_sha256: vec![Data::of(&rollouts()).sha256],
        task_names: Vec::new(),
        split: Some(chosen),
        horizon_steps: 6,
        guard_fraction: 0.2,
    };
    let data = (Data::of(&discovery), Data::of(&held));
    ProbeFile::new((UNKNOWN.into(), UNKNOWN.into()), data, settings, found, calibration).of_foreign(record, 2)
}

#[test]
fn scores_have_thresholds_and_distances_have_none() {
    let file = fitted();
    assert!(file.calibration.threshold.is_finite());
    assert_eq!((file.calibration.disagreement, file.calibration.disagreement_return), (None, None));
    let trigger = |rule: RuleSettings| rule.rule(&file.calibration, 2).trigger();
    assert!(trigger(RuleSettings::Conformal {}).is_ok());
    let error = trigger(RuleSettings::Disagreement {}).unwrap_err().to_string();
    for words in
        ["rule.kind: found disagreement", "no threshold", "conformal, functional_band, cost or trend"]
    {
        assert!(error.contains(words), "{words:?} is missing from: {error}");
    }
}

#[test]
fn the_layout_is_stated_and_a_contradiction_is_refused() {
    let place = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = place.path().join("probe.json");
    let file = fitted();
    file.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("disagreement") && !text.contains("origin"), "{text}");
    assert_eq!(ProbeFile::load_foreign(&path).unwrap().0, file);
    assert_eq!(ProbeFile::load(&path, UNKNOWN, UNKNOWN, 2).unwrap(), file);
    let error = ProbeFile::load(&path, "abc", "tokens", 2).unwrap_err().to_string();
    assert!(
        error.contains("model_sha256: found unknown") && error.contains("--rollouts FILE --model CARD"),
        "{error}"
    );
    for (from, to, said) in [
        ("\"schema\":4", "\"schema\":3", "discovery.origin"),
        (
            ",\"slope\"",
            ",\"disagreement\":0.5,\"disagreement_return\":0.4,\"slope\"",
            "calibration.disagreement: found given",
        ),
        ("\"chunk_steps\":2,", "", "chunk_steps: found none; valid is given in a file of schema 4"),
        ("\"schema\":4", "\"schema\":5", "discovery.origin"),
        (
            "\"schema\":4",
            "\"schema\":6",
            "schema: found 6; valid is 3, 5 with a benefit head, 4 for rollouts of another program",
        ),
    ] {
        assert!(text.contains(from), "{from:?} is missing from {text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = ProbeFile::load(&path, UNKNOWN, UNKNOWN, 2).unwrap_err().to_string();
        assert!(error.contains(said), "{said:?} is missing from: {error}");
    }
}
