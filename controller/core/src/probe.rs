//! The probe: a linear head over a pooled activation, read as a risk of failure.
//! Fitted by penalised logistic regression; the only trained part of AEGIS.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// A risk of failure in `[0, 1]`. NaN is kept as it is and counts as the highest risk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(f64);

impl Score {
    /// Wraps a raw value.
    pub fn new(value: f64) -> Self {
        Self(value)
    }

    /// The value that decisions compare: NaN becomes +∞.
    pub fn risk(self) -> f64 {
        if self.0.is_nan() { f64::INFINITY } else { self.0 }
    }

    /// Whether the activation held a NaN.
    pub fn is_flagged(self) -> bool {
        self.0.is_nan()
    }
}

/// A fitted linear head: standardise, weigh, squash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Mean of each feature over the discovery steps, `[width]`.
    pub mean: Vec<f64>,
    /// Standard deviation of each feature over the discovery steps, `[width]`, never zero.
    pub scale: Vec<f64>,
    /// Weights on the standardised features, `[width]`.
    pub weights: Vec<f64>,
    /// Log odds at the mean.
    pub bias: f64,
}

/// One labelled step.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Pooled activation, `[width]`.
    pub features: Vec<f64>,
    /// Whether its trajectory, left to the weak policy, failed.
    pub failed: bool,
    /// Weight in the loss. Give each trajectory the same total, or long ones rule.
    pub weight: f64,
}

/// Why a probe cannot be fitted or applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The activation has another width than the probe.
    #[error("activation width: the probe expects {expected}, found {found}")]
    Width {
        /// Width of the probe.
        expected: usize,
        /// Width met.
        found: usize,
    },
    /// Nothing to learn from.
    #[error("no examples to fit a probe on")]
    Empty,
    /// All trajectories ended alike.
    #[error("all examples have the label failed = {0}; a probe needs failures and successes")]
    OneClass(bool),
    /// Training data with a NaN or an infinity.
    #[error("example {0} holds a value that is not finite")]
    NotFinite(usize),
    /// The normal equations have no solution.
    #[error("the fit has no solution; raise the penalty (it is {0})")]
    Singular(String),
}

impl Probe {
    /// A probe that knows nothing: every score is one half. It stands in while rollouts to fit on are collected.
    pub fn blank(width: usize) -> Self {
        Self { mean: vec![0.0; width], scale: vec![1.0; width], weights: vec![0.0; width], bias: 0.0 }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.weights.len()
    }

    /// Scores one pooled activation, `[width]`; see [`Activation::mean_pool`](crate::Activation::mean_pool).
    pub fn score(&self, features: &[f64]) -> Result<Score, ProbeError> {
        if features.len() != self.width() {
            return Err(ProbeError::Width { expected: self.width(), found: features.len() });
        }
        let logit = features
            .iter()
            .zip(&self.mean)
            .zip(&self.scale)
            .zip(&self.weights)
            .map(|(((value, mean), scale), weight)| (value - mean) / scale * weight)
            .sum::<f64>()
            + self.bias;
        Ok(Score(sigmoid(logit)))
    }

    /// Fits by iteratively reweighted least squares with an L2 `penalty` on the weights, not on the bias.
    ///
    /// Source of the update: Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, §4.4.1.
    pub fn fit(examples: &[Example], penalty: f64) -> Result<Self, ProbeError> {
        let width = examples.first().ok_or(ProbeError::Empty)?.features.len();
        for (index, example) in examples.iter().enumerate() {
            if example.features.len() != width {
                return Err(ProbeError::Width { expected: width, found: example.features.len() });
            }
            if !example.weight.is_finite() || example.features.iter().any(|value| !value.is_finite()) {
                return Err(ProbeError::NotFinite(index));
            }
        }
        let label = examples[0].failed;
        if examples.iter().all(|example| example.failed == label) {
            return Err(ProbeError::OneClass(label));
        }

        let (mean, scale) = standardisation(examples, width);
        let design = DMatrix::from_fn(examples.len(), width + 1, |row, column| {
            if column == width {
                1.0
            } else {
                (examples[row].features[column] - mean[column]) / scale[column]
            }
        });
        let parameters = reweighted_least_squares(&design, examples, penalty)?;
        Ok(Self { mean, scale, weights: parameters.as_slice()[..width].to_vec(), bias: parameters[width] })
    }
}

fn standardisation(examples: &[Example], width: usize) -> (Vec<f64>, Vec<f64>) {
    let total: f64 = examples.iter().map(|example| example.weight).sum();
    let mean: Vec<f64> = (0..width)
        .map(|column| examples.iter().map(|e| e.weight * e.features[column]).sum::<f64>() / total)
        .collect();
    let scale = (0..width)
        .map(|column| {
            let variance =
                examples.iter().map(|e| e.weight * (e.features[column] - mean[column]).powi(2)).sum::<f64>()
                    / total;
            // A feature that never varies carries nothing: its standardised value is zero at any scale.
            if variance > 1e-12 { variance.sqrt() } else { 1.0 }
        })
        .collect();
    (mean, scale)
}

fn reweighted_least_squares(
    design: &DMatrix<f64>,
    examples: &[Example],
    penalty: f64,
) -> Result<DVector<f64>, ProbeError> {
    const MAX_ITERATIONS: usize = 50;
    const TOLERANCE: f64 = 1e-10;
    let columns = design.ncols();
    let mut parameters = DVector::zeros(columns);
    for _ in 0..MAX_ITERATIONS {
        let logits = design * &parameters;
        let mut weighted = design.clone();
        let mut residual = DVector::zeros(examples.len());
        for (row, example) in examples.iter().enumerate() {
            let probability = sigmoid(logits[row]);
            residual[row] = example.weight * (f64::from(u8::from(example.failed)) - probability);
            // The floor keeps the Hessian positive definite where the fit is already certain.
            let curvature = example.weight * (probability * (1.0 - probability)).max(1e-9);
            weighted.row_mut(row).scale_mut(curvature);
        }
        let mut gradient = design.tr_mul(&residual);
        let mut hessian = design.tr_mul(&weighted);
        for column in 0..columns - 1 {
            gradient[column] -= penalty * parameters[column];
            hessian[(column, column)] += penalty;
        }
        let step =
            hessian.cholesky().ok_or_else(|| ProbeError::Singular(penalty.to_string()))?.solve(&gradient);
        parameters += &step;
        if step.amax() < TOLERANCE {
            break;
        }
    }
    Ok(parameters)
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
