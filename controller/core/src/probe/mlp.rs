//! Multilayer perceptron head: one hidden layer of tanh units over the standardised features.
//! Each boundary is scored on its own. Backpropagation is implemented here.

use serde::{Deserialize, Serialize};

use super::adam::{Array, Differentiable, SplitMix64};
use super::kernel::{add_scaled, affine, cross_entropy, cross_entropy_slope, dot};
use super::training_data::Sequence;

/// `logit = output · tanh(input · features + input_bias) + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Weights on the standardised features, row-major `[hidden, width]`.
    pub input: Vec<f64>,
    /// Bias of each hidden unit, `[hidden]`.
    pub input_bias: Vec<f64>,
    /// Weights on the hidden units, `[hidden]`.
    pub output: Vec<f64>,
    /// Log odds where every hidden unit is zero.
    pub bias: f64,
}

impl Mlp {
    /// Returns the log odds of failure and writes the values of the hidden units to `units`, `[hidden]`.
    pub(super) fn logit(&self, features: &[f64], units: &mut [f64]) -> f64 {
        affine(&self.input, &self.input_bias, features, units);
        units.iter_mut().for_each(|unit| *unit = unit.tanh());
        dot(&self.output, units) + self.bias
    }

    /// Returns the initial parameters of a fit; `bias` is the log odds of failure over the training trajectories.
    pub(super) fn start(width: usize, hidden: usize, bias: f64, random: &mut SplitMix64) -> Self {
        Self {
            input: random.glorot(hidden * width, width, hidden),
            input_bias: vec![0.0; hidden],
            output: random.glorot(hidden, hidden, 1),
            bias,
        }
    }
}

impl Differentiable for Mlp {
    type Work = Vec<f64>;

    fn work(&self, _: usize) -> Vec<f64> {
        vec![0.0; self.output.len()]
    }

    fn arrays(&mut self) -> Vec<Array<'_>> {
        vec![
            Array { values: &mut self.input, penalised: true },
            Array { values: &mut self.input_bias, penalised: false },
            Array { values: &mut self.output, penalised: true },
            Array { values: std::slice::from_mut(&mut self.bias), penalised: false },
        ]
    }

    fn accumulate(&self, sequence: &Sequence<'_>, units: &mut Vec<f64>, gradient: &mut Self) -> f64 {
        let weight = sequence.weight();
        let mut loss = 0.0;
        for features in sequence.boundaries() {
            let logit = self.logit(features, units);
            loss += weight * cross_entropy(logit, sequence.failed);
            let slope = weight * cross_entropy_slope(logit, sequence.failed);
            gradient.bias += slope;
            add_scaled(&mut gradient.output, slope, units);
            let rows = gradient.input.chunks_exact_mut(features.len());
            for (((row, bias), unit), output) in
                rows.zip(&mut gradient.input_bias).zip(units.iter()).zip(&self.output)
            {
                let delta = slope * output * (1.0 - unit * unit);
                *bias += delta;
                add_scaled(row, delta, features);
            }
        }
        loss
    }
}
