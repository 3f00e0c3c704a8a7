//! Platt scaling: calibrates scores, which only rank, to probabilities of failure.
//! Source: Platt, *Probabilistic Outputs for Support Vector Machines*, 1999; fitted as Lin, Lin and Weng do, 2007.

use serde::{Deserialize, Serialize};

use crate::Score;

/// Fitted calibration: `logit(p) = slope · logit(score) + intercept`. Slope 1 and intercept 0 change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlattScaling {
    /// Factor on the score's log odds.
    pub slope: f64,
    /// Log odds added to the scaled ones.
    pub intercept: f64,
}

/// Error of a calibration's fit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrateError {
    /// No scores were given.
    #[error("calibration: no scores to fit on")]
    Empty,
    /// The numbers of scores and outcomes differ.
    #[error(
        "calibration: found {scores} scores and {outcomes} outcomes; valid is one outcome for each score"
    )]
    Length {
        /// Scores given.
        scores: usize,
        /// Outcomes given.
        outcomes: usize,
    },
    /// All outcomes are alike.
    #[error("calibration: all outcomes are failed = {0}; valid is some of each")]
    OneClass(bool),
    /// A score lies outside `[0, 1]`, or is NaN.
    #[error("calibration: score {index}: found {found}; valid is 0 to 1")]
    NotARisk {
        /// Index of the score.
        index: usize,
        /// Value of the score.
        found: String,
    },
    /// The iteration found no optimum.
    #[error("calibration: no optimum within {0} iterations")]
    NotConverged(usize),
}

/// Distance from 0 and 1 to which probabilities are clamped, so that their log odds are finite.
const EDGE: f64 = 1e-12;
const MAX_ITERATIONS: usize = 100;

impl PlattScaling {
    /// Returns the probability of failure. A flagged or infinite score is the highest risk and gives 1.
    pub fn probability(&self, score: Score) -> f64 {
        match score.risk() {
            f64::INFINITY => 1.0,
            risk => sigmoid(self.slope * logit(risk) + self.intercept),
        }
    }

    /// Fits by maximum likelihood on scores from 0 to 1, one for each outcome, that the probe was not fitted on.
    ///
    /// Outcomes count as Platt's smoothed targets, `(n₊ + 1) / (n₊ + 2)` for failures and `1 / (n₋ + 2)` for the rest,
    /// so that perfectly separated scores keep a finite slope. Newton's method with backtracking: Lin, Lin, Weng, *A
    /// Note on Platt's Probabilistic Outputs for Support Vector Machines*, Machine Learning 68, 2007, algorithm 1.
    pub fn fit(scores: &[f64], failed: &[bool]) -> Result<Self, CalibrateError> {
        check(scores, failed)?;
        let count = scores.len() as f64;
        let failures = failed.iter().filter(|failed| **failed).count() as f64;
        let (high, low) = ((failures + 1.0) / (failures + 2.0), 1.0 / (count - failures + 2.0));
        let targets: Vec<f64> = failed.iter().map(|failed| if *failed { high } else { low }).collect();

        // With standardised inputs both parameters have the same scale, and the iteration converges in a few steps.
        let logits: Vec<f64> = scores.iter().map(|score| logit(*score)).collect();
        let mean = logits.iter().sum::<f64>() / count;
        let variance = logits.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        // Scores that never vary carry no information: their standardised value is zero at any scale.
        let scale = if variance > 1e-12 { variance.sqrt() } else { 1.0 };
        let inputs: Vec<f64> = logits.iter().map(|value| (value - mean) / scale).collect();

        let [slope, intercept] = newton(&inputs, &targets, [0.0, logit((failures + 1.0) / (count + 2.0))])?;
        Ok(Self { slope: slope / scale, intercept: intercept - slope * mean / scale })
    }
}

fn check(scores: &[f64], failed: &[bool]) -> Result<(), CalibrateError> {
    if scores.len() != failed.len() {
        return Err(CalibrateError::Length { scores: scores.len(), outcomes: failed.len() });
    }
    let first = *failed.first().ok_or(CalibrateError::Empty)?;
    if let Some(index) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
        return Err(CalibrateError::NotARisk { index, found: scores[index].to_string() });
    }
    if failed.iter().all(|failed| *failed == first) {
        return Err(CalibrateError::OneClass(first));
    }
    Ok(())
}

/// Minimises the mean cross entropy of `targets` under `sigmoid(slope · input + intercept)`.
fn newton(inputs: &[f64], targets: &[f64], start: [f64; 2]) -> Result<[f64; 2], CalibrateError> {
    const TOLERANCE: f64 = 1e-10;
    // Keeps the Hessian invertible where the inputs never vary.
    const RIDGE: f64 = 1e-12;
    const SUFFICIENT_DECREASE: f64 = 1e-4;
    const SMALLEST_STEP: f64 = 1e-10;
    let count = inputs.len() as f64;
    let pairs = || inputs.iter().zip(targets);
    // log(1 + eᶻ) − t z, in the form that does not overflow.
    let loss = |[slope, intercept]: [f64; 2]| {
        let term = |z: f64, target: f64| z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z;
        pairs().map(|(input, target)| term(slope * input + intercept, *target)).sum::<f64>() / count
    };

    let mut parameters = start;
    let mut current = loss(parameters);
    for _ in 0..MAX_ITERATIONS {
        let [slope, intercept] = parameters;
        let (mut gradient, mut hessian) = ([0.0; 2], [RIDGE, 0.0, RIDGE]);
        for (input, target) in pairs() {
            let probability = sigmoid(slope * input + intercept);
            let (residual, curvature) =
                ((probability - target) / count, probability * (1.0 - probability) / count);
            gradient = [gradient[0] + residual * input, gradient[1] + residual];
            hessian[0] += curvature * input * input;
            hessian[1] += curvature * input;
            hessian[2] += curvature;
        }
        if gradient.iter().all(|slope| slope.abs() < TOLERANCE) {
            return Ok(parameters);
        }
        let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
        let direction = [
            (hessian[1] * gradient[1] - hessian[2] * gradient[0]) / determinant,
            (hessian[1] * gradient[0] - hessian[0] * gradient[1]) / determinant,
        ];
        let descent = gradient[0] * direction[0] + gradient[1] * direction[1];
        let mut step = 1.0;
        loop {
            let candidate = [slope + step * direction[0], intercept + step * direction[1]];
            let value = loss(candidate);
            if value < current + SUFFICIENT_DECREASE * step * descent {
                (parameters, current) = (candidate, value);
                break;
            }
            step /= 2.0;
            if step < SMALLEST_STEP {
                // The loss does not resolve a shorter step: rounding permits no closer approach to the optimum.
                return if descent.abs() < TOLERANCE {
                    Ok(parameters)
                } else {
                    Err(CalibrateError::NotConverged(MAX_ITERATIONS))
                };
            }
        }
    }
    Err(CalibrateError::NotConverged(MAX_ITERATIONS))
}

fn logit(probability: f64) -> f64 {
    let inside = probability.clamp(EDGE, 1.0 - EDGE);
    (inside / (1.0 - inside)).ln()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
