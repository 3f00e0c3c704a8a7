//! The harness on a plant of one dimension, where every outcome can be worked out by hand.
//! The weak policy walks the wrong way from odd starts; the strong one never does; the probe reads which.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::gate::BudgetUnit;
use aegis_core::{
    Activation, Chunk, GateLimits, Inference, Observation, Plant, PlantError, Policy, PolicyError, Pose,
    Probe, Proprioception, Start, Thresholds, Transition,
};
use aegis_experiments::fit::{Calibration, FitSettings, calibrate, fit, rollouts};
use aegis_experiments::plan::Share;
use aegis_experiments::probe_file::{ProbeFile, ProbeFileError, SCHEMA};
use aegis_experiments::runner::{RunError, run_arms};
use aegis_experiments::sensor::SensorNoise;
use aegis_experiments::summary::summarise;
use aegis_experiments::{Arm, EpisodeSettings, Parties, Streams, twins};

#[derive(Default)]
struct Line {
    start: usize,
    position: f64,
}

impl Line {
    fn observation(&self) -> Observation {
        Observation {
            step: 0,
            plant_time: 0.0,
            task: self.start % 2,
            instruction: "reach five".into(),
            proprioception: Proprioception {
                joint_positions: vec![self.position],
                end_effector: Pose::IDENTITY,
                gripper: Vec::new(),
            },
            objects: Vec::new(),
        }
    }
}

impl Plant for Line {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        *self = Self { start: start.initial_state, position: 0.0 };
        Ok(self.observation())
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.position += f64::from(action[0]);
        Ok(Transition { success: self.position >= 5.0, observation: self.observation() })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.push(self.position);
    }
}

struct Walker {
    lost_on_odd: bool,
}

impl Policy for Walker {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let odd = observation.task == 1;
        let pace = if self.lost_on_odd && odd { -0.5 } else { 0.5 };
        let mark = if odd { 1.0 } else { -1.0 };
        // A little of the position, so that steps differ as real activations do.
        let drift = observation.proprioception.joint_positions[0] as f32 * 0.01;
        Ok(Inference {
            chunk: Chunk::new(1, vec![pace; 2])?,
            activation: Some(Activation::new(2, vec![mark + drift, 0.5, mark - drift, 0.5])?),
        })
    }
}

fn open() -> Parties {
    Parties {
        plant: Box::<Line>::default(),
        weak: Box::new(Walker { lost_on_odd: true }),
        strong: Box::new(Walker { lost_on_odd: false }),
        probe: Probe { mean: vec![0.0; 2], scale: vec![1.0; 2], weights: vec![4.0, 0.0], bias: 0.0 },
    }
}

fn settings() -> EpisodeSettings {
    EpisodeSettings {
        gate: GateLimits {
            return_chunks: 2,
            guard_fraction: 0.1,
            budget_fraction: 0.1,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 1.0,
            hold_chunks: 3,
            horizon_steps: 40,
            chunk_steps: 2,
        },
        thresholds: Thresholds { fire: 0.5, hand_back: 0.4 },
        sensor: SensorNoise { object_position_sd: 0.0 },
        settle_steps: 0,
        null_action: vec![0.0],
        streams: Streams::new(1),
    }
}

const KEYS: Share = Share { first: 0, end: 20, replicates: 1 };
const FIT: FitSettings = FitSettings { penalty: 0.1, alpha: 0.1, return_alpha: 0.25, early_fraction: 0.3 };

#[test]
fn the_gate_recovers_what_weak_loses_and_breaks_nothing() {
    let arms = [Arm::Weak, Arm::Aegis, Arm::Strong];
    let run =
        |workers| run_arms(&KEYS.keys(0..1), &arms, workers, &settings(), &|_| Ok(open()), &|_| {}).unwrap();
    let results: Vec<_> = run(1).into_iter().map(|(result, _)| result).collect();
    let parallel: Vec<_> = run(4).into_iter().map(|(result, _)| result).collect();
    assert_eq!(results, parallel, "the number of workers changes nothing");

    let summary = summarise(&results).unwrap();
    let aegis = &summary[1];
    assert_eq!((summary[0].successes, aegis.successes, summary[2].successes), (10, 20, 20));
    assert_eq!((aegis.recovered, aegis.weak_lost, aegis.broken, aegis.weak_won), (10, 10, 0, 10));
    assert!((aegis.p_value / 0.5_f64.powi(10) - 1.0).abs() < 1e-12);
    assert_eq!(aegis.fires, 10);
    assert_eq!((summary[0].duty, summary[2].duty), (0.0, 1.0));
    for triple in results.chunks(3) {
        assert_eq!(twins::check(&triple[0], &triple[1]), Ok(()));
        assert!(triple[1].hand_overs.iter().all(|step| step % triple[1].chunk_steps == 0));
        // Four steps the wrong way under the guard, then up from −2 to 5 at half a step each.
        if triple[1].fires > 0 {
            assert_eq!((triple[1].hand_overs.clone(), triple[1].strong_steps), (vec![4], 14));
        }
    }
}

#[test]
fn a_setup_that_fails_stops_the_run() {
    let fails = |_| Err("no such plant".into());
    let error = run_arms(&KEYS.keys(0..1), &[Arm::Weak], 2, &settings(), &fails, &|_| {}).unwrap_err();
    assert!(matches!(error, RunError::Setup(_)));
    assert_eq!(error.to_string(), "no such plant");
}

#[test]
fn a_probe_fitted_on_rollouts_tells_lost_from_won() {
    let keys = KEYS.keys(0..1);
    let rollouts = rollouts(&keys, 2, &settings(), &|_| Ok(open()), &|_| {}).unwrap();
    let probe = fit(&rollouts, &FIT).unwrap();
    let found = calibrate(&probe, &rollouts, &rollouts, &settings().gate, &FIT).unwrap();
    assert_eq!((found.discovery, found.calibration), ([20, 10], [20, 10]));
    assert_eq!(found.early_auroc, Some(1.0));
    assert!(found.threshold < 0.5 && found.return_threshold <= found.threshold);
}

#[test]
fn a_probe_file_comes_back_as_it_was_and_only_for_its_model() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe.json");
    let file = ProbeFile {
        schema: SCHEMA,
        model_sha256: "abc".into(),
        tensor: "action_tokens".into(),
        probe: Probe {
            mean: vec![0.1, 1e-300],
            scale: vec![1.0, 3.0],
            weights: vec![-0.3, 2.0 / 3.0],
            bias: 1.5,
        },
        settings: FIT,
        calibration: Calibration {
            threshold: f64::INFINITY,
            return_threshold: 0.25,
            discovery: [3, 1],
            calibration: [2, 2],
            early_auroc: None,
        },
    };
    file.save(&path).unwrap();
    assert_eq!(ProbeFile::load(&path, "abc", "action_tokens", 2).unwrap(), file);
    for (model, tensor, width, field) in [
        ("abd", "action_tokens", 2, "model_sha256"),
        ("abc", "tokens", 2, "tensor"),
        ("abc", "action_tokens", 3, "probe.mean"),
    ] {
        let error = ProbeFile::load(&path, model, tensor, width).unwrap_err();
        assert!(
            matches!(&error, ProbeFileError::Mismatch { field: found, .. } if *found == field),
            "{error}"
        );
    }
    std::fs::write(&path, "{ \"schema\": 1").unwrap();
    assert!(matches!(ProbeFile::load(&path, "abc", "action_tokens", 2), Err(ProbeFileError::Parse { .. })));
}
