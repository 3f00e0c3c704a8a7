//! From rollouts of the weak policy to a calibrated probe.
//! The head is fitted on discovery episodes; thresholds come from calibration episodes that the weak policy won.

use aegis_core::conformal::split_conformal_threshold;
use aegis_core::probe::{Example, ProbeError};
use aegis_core::{ChunkRecord, GateLimits, Probe, Recorder, StepRecord, Thresholds};
use aegis_statistics::auroc;
use serde::{Deserialize, Serialize};

use crate::episode::{Arm, EpisodeSettings, Parties, run_episode};
use crate::key::EpisodeKey;
use crate::runner::{Progress, RunError, SetupError, describe, parallel};

/// One episode of the weak policy, as the probe sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Task, initial state and replicate.
    pub key: EpisodeKey,
    /// Whether the weak policy won it.
    pub success: bool,
    /// Control step of each chunk boundary.
    pub steps: Vec<u32>,
    /// Pooled activation at each chunk boundary, `[boundaries][width]`.
    pub features: Vec<Vec<f64>>,
}

/// How a probe is fitted and calibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitSettings {
    /// L2 penalty on the standardised weights; the loss sums one unit per trajectory.
    pub penalty: f64,
    /// At most this share of the episodes that weak wins may raise an alarm.
    pub alpha: f64,
    /// The return threshold lies above all but this share of the single scores of won episodes.
    pub return_alpha: f64,
    /// The early window, as a share of the horizon, in which the probe is judged.
    pub early_fraction: f64,
}

impl FitSettings {
    /// Refuses values that no fit could work with; names the field and what would do.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let share = |value: f64| value > 0.0 && value < 1.0;
        for (field, value, ok, valid) in [
            ("fit.penalty", self.penalty, self.penalty > 0.0 && self.penalty.is_finite(), "above 0"),
            ("fit.alpha", self.alpha, share(self.alpha), "above 0, below 1"),
            ("fit.return_alpha", self.return_alpha, share(self.return_alpha), "above 0, below 1"),
            ("fit.early_fraction", self.early_fraction, share(self.early_fraction), "above 0, below 1"),
        ] {
            if !ok {
                return Err((field, format!("found {value}; valid is {valid}")));
            }
        }
        Ok(())
    }
}

/// What came of a fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Episode-level split-conformal threshold at `alpha`.
    #[serde(with = "infinite")]
    pub threshold: f64,
    /// Step-level threshold at `return_alpha`, at most `threshold`.
    #[serde(with = "infinite")]
    pub return_threshold: f64,
    /// Discovery episodes, and how many of them weak lost.
    pub discovery: [usize; 2],
    /// Calibration episodes, and how many of them weak lost.
    pub calibration: [usize; 2],
    /// Area under the ROC curve on calibration episodes: mean score over the early window against failure.
    pub early_auroc: Option<f64>,
}

/// Runs the weak policy alone on every key and keeps its activations.
pub fn rollouts(
    keys: &[EpisodeKey],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<Parties, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Rollout>, RunError> {
    parallel(keys, workers, open, progress, |parties, key| {
        let mut tap = Tap::default();
        let result = run_episode(parties, Arm::Weak, *key, settings, &mut tap);
        let (result, _) = result.map_err(|source| RunError::Job { what: describe(*key, "weak"), source })?;
        Ok(Rollout { key: *key, success: result.success, steps: tap.steps, features: tap.features })
    })
}

#[derive(Default)]
struct Tap {
    steps: Vec<u32>,
    features: Vec<Vec<f64>>,
}

impl Recorder for Tap {
    fn chunk(&mut self, record: &ChunkRecord) {
        self.steps.push(record.step);
        self.features.push(record.pooled.clone());
    }

    fn step(&mut self, _: &StepRecord<'_>) {}
}

/// Fits the head: every boundary of a trajectory carries the trajectory's outcome, each trajectory the same weight.
pub fn fit(discovery: &[Rollout], settings: &FitSettings) -> Result<Probe, ProbeError> {
    let examples: Vec<Example> = discovery
        .iter()
        .flat_map(|rollout| {
            rollout.features.iter().map(|features| Example {
                features: features.clone(),
                failed: !rollout.success,
                weight: 1.0 / rollout.features.len() as f64,
            })
        })
        .collect();
    Probe::fit(&examples, settings.penalty)
}

/// Sets the thresholds on episodes that the fit has not seen.
pub fn calibrate(
    probe: &Probe,
    discovery: &[Rollout],
    calibration: &[Rollout],
    gate: &GateLimits,
    settings: &FitSettings,
) -> Result<Calibration, ProbeError> {
    let mut alarms = Vec::new();
    let mut single = Vec::new();
    let mut failed = Vec::new();
    let mut early = Vec::new();
    let early_end = (settings.early_fraction * f64::from(gate.horizon_steps)) as u32;
    for rollout in calibration {
        let scores = rollout
            .features
            .iter()
            .map(|features| Ok(probe.score(features)?.risk()))
            .collect::<Result<Vec<f64>, ProbeError>>()?;
        let stepped = || rollout.steps.iter().copied().zip(scores.iter().copied());
        let window: Vec<f64> =
            stepped().filter(|(step, _)| *step < early_end).map(|(_, score)| score).collect();
        failed.push(!rollout.success);
        early.push(window.iter().sum::<f64>() / window.len().max(1) as f64);
        if rollout.success {
            let may_fire = stepped().filter(|(step, _)| *step >= gate.guard_steps()).map(|(_, score)| score);
            // An episode that is won before the guard ends can raise no alarm.
            alarms.push(may_fire.fold(0.0, f64::max));
            single.extend(scores);
        }
    }
    let threshold = split_conformal_threshold(&alarms, settings.alpha);
    let lost = |rollouts: &[Rollout]| [rollouts.len(), rollouts.iter().filter(|r| !r.success).count()];
    Ok(Calibration {
        threshold,
        return_threshold: split_conformal_threshold(&single, settings.return_alpha).min(threshold),
        discovery: lost(discovery),
        calibration: lost(calibration),
        early_auroc: auroc(&failed, &early).ok(),
    })
}

impl Calibration {
    /// The thresholds as the gate takes them.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { fire: self.threshold, hand_back: self.return_threshold }
    }
}

/// JSON has no infinity; a threshold that nothing reaches is written as the string `inf`.
mod infinite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Extended {
        Finite(f64),
        Named(Infinity),
    }

    #[derive(Serialize, Deserialize)]
    enum Infinity {
        #[serde(rename = "inf")]
        Inf,
    }

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        let extended =
            if value.is_finite() { Extended::Finite(*value) } else { Extended::Named(Infinity::Inf) };
        extended.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(match Extended::deserialize(deserializer)? {
            Extended::Finite(value) => value,
            Extended::Named(Infinity::Inf) => f64::INFINITY,
        })
    }
}
