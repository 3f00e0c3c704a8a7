//! Multilayer perceptron head: one hidden layer of tanh units over the standardised features.
//! Each boundary is scored on its own.

use serde::{Deserialize, Serialize};

use super::kernel::{affine, dot};

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
    pub fn logit(&self, features: &[f64], units: &mut [f64]) -> f64 {
        affine(&self.input, &self.input_bias, features, units);
        units.iter_mut().for_each(|unit| *unit = unit.tanh());
        dot(&self.output, units) + self.bias
    }
}
