//! Training of a multilayer perceptron head: its initial parameters and backpropagation.

use aegis_core::probe::Mlp;
use aegis_core::probe::kernel::{add_scaled, cross_entropy, cross_entropy_slope};

use super::adam::{Array, Differentiable, SplitMix64};
use super::data::Sequence;

/// Returns the initial parameters of a fit; `bias` is the log odds of failure over the training trajectories.
pub(super) fn start(width: usize, hidden: usize, bias: f64, random: &mut SplitMix64) -> Mlp {
    Mlp {
        input: random.glorot(hidden * width, width, hidden),
        input_bias: vec![0.0; hidden],
        output: random.glorot(hidden, hidden, 1),
        bias,
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
