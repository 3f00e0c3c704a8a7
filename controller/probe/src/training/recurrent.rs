//! Training of a recurrent head: its initial parameters and backpropagation through time.

use aegis_core::probe::Recurrent;
use aegis_core::probe::kernel::{add_scaled, cross_entropy, cross_entropy_slope, dot};

use super::adam::{Array, Differentiable, SplitMix64};
use super::data::Sequence;

/// Returns the initial parameters of a fit; `bias` is the log odds of failure over the training trajectories.
pub(super) fn start(width: usize, hidden: usize, bias: f64, random: &mut SplitMix64) -> Recurrent {
    // A positive initial bias of the update gate makes the state persist. Source, stated there for the LSTM's
    // forget gate: Jozefowicz, Zaremba, Sutskever, *An Empirical Exploration of Recurrent Network Architectures*,
    // ICML 2015.
    let gate_bias = [vec![1.0; hidden], vec![0.0; 2 * hidden]].concat();
    Recurrent {
        input: random.glorot(3 * hidden * width, width, hidden),
        recurrent: random.glorot(3 * hidden * hidden, hidden, hidden),
        gate_bias,
        output: random.glorot(hidden, hidden, 1),
        bias,
    }
}

/// Values that the forward pass stores for the backward pass, and the backward pass's scratch space.
pub(super) struct Tape {
    /// `z`, `r`, `n` at each boundary, `[boundaries, 3 · hidden]`.
    gates: Vec<f64>,
    /// `r ∘ h` at each boundary, `[boundaries, hidden]`.
    kept: Vec<f64>,
    /// State before the first boundary and after each boundary, `[boundaries + 1, hidden]`.
    states: Vec<f64>,
    /// Slope of the loss in the log odds at each boundary, `[boundaries]`.
    slopes: Vec<f64>,
    /// Slopes of the loss in the gates' arguments, `[3 · hidden]`.
    deltas: Vec<f64>,
    /// Slope of the loss in the state, propagated back from later boundaries, `[hidden]`.
    carry: Vec<f64>,
    /// Slope of the loss in `r ∘ h`, `[hidden]`.
    kept_slope: Vec<f64>,
}

impl Differentiable for Recurrent {
    type Work = Tape;

    fn work(&self, longest: usize) -> Tape {
        let hidden = self.output.len();
        Tape {
            gates: vec![0.0; longest * 3 * hidden],
            kept: vec![0.0; longest * hidden],
            states: vec![0.0; (longest + 1) * hidden],
            slopes: vec![0.0; longest],
            deltas: vec![0.0; 3 * hidden],
            carry: vec![0.0; hidden],
            kept_slope: vec![0.0; hidden],
        }
    }

    fn arrays(&mut self) -> Vec<Array<'_>> {
        vec![
            Array { values: &mut self.input, penalised: true },
            Array { values: &mut self.recurrent, penalised: true },
            Array { values: &mut self.gate_bias, penalised: false },
            Array { values: &mut self.output, penalised: true },
            Array { values: std::slice::from_mut(&mut self.bias), penalised: false },
        ]
    }

    fn accumulate(&self, sequence: &Sequence<'_>, tape: &mut Tape, gradient: &mut Self) -> f64 {
        let loss = forward(self, sequence, tape);
        tape.carry.fill(0.0);
        for (boundary, features) in sequence.boundaries().enumerate().rev() {
            step_back(self, boundary, features, tape, gradient);
        }
        loss
    }
}

fn forward(head: &Recurrent, sequence: &Sequence<'_>, tape: &mut Tape) -> f64 {
    let hidden = head.output.len();
    let weight = sequence.weight();
    let mut loss = 0.0;
    for (boundary, features) in sequence.boundaries().enumerate() {
        let (before, after) = tape.states.split_at_mut((boundary + 1) * hidden);
        let (state, next) = (&before[boundary * hidden..], &mut after[..hidden]);
        let gates = &mut tape.gates[boundary * 3 * hidden..][..3 * hidden];
        let kept = &mut tape.kept[boundary * hidden..][..hidden];
        head.step(features, state, gates, kept, next);
        let logit = dot(&head.output, next) + head.bias;
        loss += weight * cross_entropy(logit, sequence.failed);
        tape.slopes[boundary] = weight * cross_entropy_slope(logit, sequence.failed);
    }
    loss
}

/// Adds the slopes at one boundary to `gradient`, and leaves in `carry` the slope in the state before that boundary.
fn step_back(head: &Recurrent, boundary: usize, features: &[f64], tape: &mut Tape, gradient: &mut Recurrent) {
    let hidden = head.output.len();
    let (width, slope) = (features.len(), tape.slopes[boundary]);
    let state = &tape.states[boundary * hidden..][..hidden];
    let next = &tape.states[(boundary + 1) * hidden..][..hidden];
    let gates = &tape.gates[boundary * 3 * hidden..][..3 * hidden];
    let kept = &tape.kept[boundary * hidden..][..hidden];
    let (update, reset, candidate) = (&gates[..hidden], &gates[hidden..2 * hidden], &gates[2 * hidden..]);

    gradient.bias += slope;
    add_scaled(&mut gradient.output, slope, next);
    add_scaled(&mut tape.carry, slope, &head.output);

    tape.kept_slope.fill(0.0);
    for unit in 0..hidden {
        let asked = tape.carry[unit];
        tape.deltas[unit] = asked * (state[unit] - candidate[unit]) * update[unit] * (1.0 - update[unit]);
        let delta = asked * (1.0 - update[unit]) * (1.0 - candidate[unit] * candidate[unit]);
        tape.deltas[2 * hidden + unit] = delta;
        let row = &head.recurrent[(2 * hidden + unit) * hidden..][..hidden];
        add_scaled(&mut tape.kept_slope, delta, row);
    }
    for unit in 0..hidden {
        let asked = tape.kept_slope[unit];
        tape.deltas[hidden + unit] = asked * state[unit] * reset[unit] * (1.0 - reset[unit]);
        tape.carry[unit] = tape.carry[unit] * update[unit] + asked * reset[unit];
    }
    for (index, delta) in tape.deltas.iter().enumerate() {
        gradient.gate_bias[index] += delta;
        add_scaled(&mut gradient.input[index * width..][..width], *delta, features);
        let on_state = index * hidden..(index + 1) * hidden;
        if index < 2 * hidden {
            add_scaled(&mut gradient.recurrent[on_state.clone()], *delta, state);
            add_scaled(&mut tape.carry, *delta, &head.recurrent[on_state]);
        } else {
            add_scaled(&mut gradient.recurrent[on_state], *delta, kept);
        }
    }
}
