//! Calibration: sets the thresholds of a fitted probe on rollouts that the fit has not seen. Every rule gets its own
//! threshold at the same level, so that rules can be compared at equal false-alarm rates.

use crate::conformal::{FunctionalBand, split_conformal_threshold};
use aegis_core::platt::{CalibrateError, PlattScaling};
use aegis_core::probe::{Probe, ProbeError};
use aegis_core::serde_nonfinite;
use aegis_core::trigger::{chunk_disagreement, slope};
use aegis_core::{GateLimits, PolicyError, Score, Thresholds};
use serde::{Deserialize, Serialize};

use crate::fit::FitSettings;
use crate::rollout::{Chunks, Rollout, has_chunks};

/// Result of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Number of calibration episodes, and the number of them that the weak policy failed.
    pub episodes: [usize; 2],
    /// Episode-level split-conformal threshold at `alpha`, on the highest score at boundaries at which the gate may
    /// fire.
    #[serde(with = "serde_nonfinite")]
    pub threshold: f64,
    /// Step-level threshold at `return_alpha`, at most `threshold`.
    #[serde(with = "serde_nonfinite")]
    pub return_threshold: f64,
    /// Upper band over the boundaries, at `alpha`.
    pub band: FunctionalBand,
    /// Platt scaling from scores to probabilities of failure, fitted on the early window's mean score.
    pub calibrator: PlattScaling,
    /// Threshold on the distance between both policies' chunks, set like `threshold`; `None` where the rollouts have no chunks.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_nonfinite::option")]
    pub disagreement: Option<f64>,
    /// Hand-back threshold on that distance, set like `return_threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_nonfinite::option")]
    pub disagreement_return: Option<f64>,
    /// Threshold at `alpha` on the steepest rise of the score within an episode, per chunk.
    #[serde(with = "serde_nonfinite")]
    pub slope: f64,
}

/// Error of a calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The probe does not fit the rollouts.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The scores and outcomes do not determine a Platt scaling.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The two policies' chunks differ in shape.
    #[error("rollouts: {0}")]
    Chunk(#[from] PolicyError),
}

/// Rollout as rules read it: the score and the policies' distance at each boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Whether the weak policy failed the episode.
    pub failed: bool,
    /// Control step of each boundary.
    pub steps: Vec<u32>,
    /// The probe's score at each boundary.
    pub scores: Vec<Score>,
    /// Distance between both policies' chunks at each boundary; empty where the rollout has no chunks.
    pub disagreement: Vec<f64>,
}

impl Scored {
    /// Scores a rollout with a probe.
    pub fn of(probe: &Probe, rollout: &Rollout) -> Result<Self, CalibrationError> {
        let features: Vec<Vec<f64>> =
            rollout.boundaries.iter().map(|boundary| boundary.features.clone()).collect();
        let chunks: Option<Vec<&Chunks>> =
            rollout.boundaries.iter().map(|boundary| boundary.chunks.as_ref()).collect();
        let distance = |chunks: &Chunks| chunk_disagreement(&chunks.weak, &chunks.strong);
        let disagreement = chunks.into_iter().flatten().map(distance).collect::<Result<_, _>>()?;
        Ok(Self {
            failed: !rollout.success,
            steps: rollout.boundaries.iter().map(|boundary| boundary.step).collect(),
            scores: probe.trace(&features)?,
            disagreement,
        })
    }

    /// Returns the mean score before control step `end`; the first boundary is always included.
    pub fn early(&self, end: f64) -> f64 {
        mean_before(&self.steps, self.scores.iter().map(|score| score.risk()), end)
    }
}

/// Returns the mean of the values before control step `end`; the first value is always included.
pub fn mean_before(steps: &[u32], values: impl Iterator<Item = f64>, end: f64) -> f64 {
    let window: Vec<f64> = steps
        .iter()
        .zip(values)
        .enumerate()
        .filter(|(index, (step, _))| *index == 0 || f64::from(**step) < end)
        .map(|(_, (_, value))| value)
        .collect();
    if window.contains(&f64::INFINITY) {
        return f64::INFINITY;
    }
    // The mean is computed as differences from the first value, so that equal values have exactly their own value as
    // mean and ties stay ties.
    let first = window.first().copied().unwrap_or(0.0);
    first + window.iter().map(|value| value - first).sum::<f64>() / window.len().max(1) as f64
}

/// Sets all thresholds on rollouts that the fit has not seen.
pub fn calibrate(
    probe: &Probe,
    calibration: &[Rollout],
    gate: &GateLimits,
    settings: &FitSettings,
) -> Result<Calibration, CalibrationError> {
    let scored =
        calibration.iter().map(|rollout| Scored::of(probe, rollout)).collect::<Result<Vec<_>, _>>()?;
    let won: Vec<&Scored> = scored.iter().filter(|episode| !episode.failed).collect();
    let risks: Vec<Vec<f64>> =
        won.iter().map(|episode| episode.scores.iter().map(|score| score.risk()).collect()).collect();
    let guard = gate.guard_steps();
    // An episode that succeeds before the guard ends can raise no alarm, so its statistic is the lowest possible.
    let highest = |values: &[f64], steps: &[u32]| {
        let armed = values.iter().zip(steps).filter(|(_, step)| **step >= guard).map(|(value, _)| *value);
        armed.fold(
            f64::NEG_INFINITY,
            |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) },
        )
    };
    let threshold = |series: &mut dyn Iterator<Item = (&[f64], &[u32])>| {
        let alarms: Vec<f64> = series.map(|(values, steps)| highest(values, steps)).collect();
        split_conformal_threshold(&alarms, settings.alpha)
    };
    let hand_back =
        |values: Vec<f64>, fire: f64| split_conformal_threshold(&values, settings.return_alpha).min(fire);
    let steps = || won.iter().map(|episode| &episode.steps[..]);

    let fire = threshold(&mut risks.iter().map(Vec::as_slice).zip(steps()));
    let distances = || won.iter().map(|episode| &episode.disagreement[..]);
    let is_known = has_chunks(calibration);
    let disagreement = is_known.then(|| threshold(&mut distances().zip(steps())));
    let slopes: Vec<Vec<f64>> = risks
        .iter()
        .map(|risks| {
            (1..=risks.len()).map(|end| slope(risks[..end].iter().copied(), settings.trend_window)).collect()
        })
        .collect();
    let slope = threshold(&mut slopes.iter().map(Vec::as_slice).zip(steps()));
    let from = (guard.div_ceil(gate.chunk_steps)) as usize;
    let band =
        FunctionalBand::alternate(&risks.iter().map(Vec::as_slice).collect::<Vec<_>>(), from, settings.alpha);

    let early_end = settings.early_fraction * f64::from(gate.horizon_steps);
    let failed: Vec<bool> = scored.iter().map(|episode| episode.failed).collect();
    let early: Vec<f64> = scored.iter().map(|episode| episode.early(early_end)).collect();
    Ok(Calibration {
        episodes: [scored.len(), failed.iter().filter(|failed| **failed).count()],
        threshold: fire,
        return_threshold: hand_back(risks.concat(), fire),
        band,
        calibrator: PlattScaling::fit(&early, &failed)?,
        disagreement,
        disagreement_return: disagreement
            .map(|fire| hand_back(distances().flatten().copied().collect(), fire)),
        slope,
    })
}

impl Calibration {
    /// Returns the thresholds of the rule `conformal`.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { fire: self.threshold, hand_back: self.return_threshold }
    }
}
