//! Recurrent head: a gated recurrent unit over the boundaries of an episode, in order.
//! Causal: a score depends on its own boundary and earlier ones only. Backpropagation through time is implemented here.

use serde::{Deserialize, Serialize};

use super::adam::{Array, Differentiable, SplitMix64};
use super::kernel::{add_scaled, affine, cross_entropy, cross_entropy_slope, dot, rows, sigmoid};
use super::training_data::Sequence;

/// Gated recurrent unit with a logistic output at every boundary.
///
/// With `x` the standardised features and `h` the state, zero before the first boundary:
/// `z = σ(W_z x + U_z h + b_z)`, `r = σ(W_r x + U_r h + b_r)`, `n = tanh(W_n x + U_n (r ∘ h) + b_n)`,
/// `h ← z ∘ h + (1 − z) ∘ n`, `logit = output · h + bias`.
///
/// Source: Cho et al., *Learning Phrase Representations using RNN Encoder–Decoder*, EMNLP 2014, equations 5 to 8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// `W_z`, `W_r`, `W_n` on the standardised features, row-major `[3 · hidden, width]`.
    pub input: Vec<f64>,
    /// `U_z`, `U_r`, `U_n` on the state, row-major `[3 · hidden, hidden]`.
    pub recurrent: Vec<f64>,
    /// `b_z`, `b_r`, `b_n`, `[3 · hidden]`.
    pub gate_bias: Vec<f64>,
    /// Weights on the state, `[hidden]`.
    pub output: Vec<f64>,
    /// Log odds where the state is zero.
    pub bias: f64,
}

impl Recurrent {
    /// Scratch space of one step, in multiples of the state's length: three gates, the reset state and the next state.
    pub(super) const WORK: usize = 5;

    /// Processes one boundary and returns the log odds of failure. `state` is updated only when the result is not NaN.
    pub(super) fn advance(&self, features: &[f64], state: &mut [f64], work: &mut [f64]) -> f64 {
        let hidden = state.len();
        let (gates, rest) = work.split_at_mut(3 * hidden);
        let (kept, next) = rest.split_at_mut(hidden);
        self.step(features, state, gates, kept, next);
        let logit = dot(&self.output, next) + self.bias;
        if !logit.is_nan() && next.iter().all(|value| value.is_finite()) {
            state.copy_from_slice(next);
            logit
        } else {
            f64::NAN
        }
    }

    /// Writes `z`, `r`, `n` to `gates`, `r ∘ h` to `kept` and the next state to `next`.
    fn step(&self, features: &[f64], state: &[f64], gates: &mut [f64], kept: &mut [f64], next: &mut [f64]) {
        let hidden = state.len();
        affine(&self.input, &self.gate_bias, features, gates);
        let (switches, candidate) = gates.split_at_mut(2 * hidden);
        let mut on_state = rows(&self.recurrent, hidden);
        for (switch, row) in switches.iter_mut().zip(on_state.by_ref()) {
            *switch = sigmoid(*switch + dot(row, state));
        }
        let (update, reset) = switches.split_at(hidden);
        for ((kept, reset), state) in kept.iter_mut().zip(reset).zip(state) {
            *kept = reset * state;
        }
        for (candidate, row) in candidate.iter_mut().zip(on_state) {
            *candidate = (*candidate + dot(row, kept)).tanh();
        }
        for (((next, update), candidate), state) in next.iter_mut().zip(update).zip(&*candidate).zip(state) {
            *next = update * state + (1.0 - update) * candidate;
        }
    }

    /// Returns the initial parameters of a fit; `bias` is the log odds of failure over the training trajectories.
    pub(super) fn start(width: usize, hidden: usize, bias: f64, random: &mut SplitMix64) -> Self {
        // A positive initial bias of the update gate makes the state persist. Source, stated there for the LSTM's
        // forget gate: Jozefowicz, Zaremba, Sutskever, *An Empirical Exploration of Recurrent Network Architectures*,
        // ICML 2015.
        let gate_bias = [vec![1.0; hidden], vec![0.0; 2 * hidden]].concat();
        Self {
            input: random.glorot(3 * hidden * width, width, hidden),
            recurrent: random.glorot(3 * hidden * hidden, hidden, hidden),
            gate_bias,
            output: random.glorot(hidden, hidden, 1),
            bias,
        }
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
        let loss = self.forward(sequence, tape);
        tape.carry.fill(0.0);
        for (boundary, features) in sequence.boundaries().enumerate().rev() {
            self.step_back(boundary, features, tape, gradient);
        }
        loss
    }
}

impl Recurrent {
    fn forward(&self, sequence: &Sequence<'_>, tape: &mut Tape) -> f64 {
        let hidden = self.output.len();
        let weight = sequence.weight();
        let mut loss = 0.0;
        for (boundary, features) in sequence.boundaries().enumerate() {
            let (before, after) = tape.states.split_at_mut((boundary + 1) * hidden);
            let (state, next) = (&before[boundary * hidden..], &mut after[..hidden]);
            let gates = &mut tape.gates[boundary * 3 * hidden..][..3 * hidden];
            let kept = &mut tape.kept[boundary * hidden..][..hidden];
            self.step(features, state, gates, kept, next);
            let logit = dot(&self.output, next) + self.bias;
            loss += weight * cross_entropy(logit, sequence.failed);
            tape.slopes[boundary] = weight * cross_entropy_slope(logit, sequence.failed);
        }
        loss
    }

    /// Adds the slopes at one boundary to `gradient`, and leaves in `carry` the slope in the state before that boundary.
    fn step_back(&self, boundary: usize, features: &[f64], tape: &mut Tape, gradient: &mut Self) {
        let hidden = self.output.len();
        let (width, slope) = (features.len(), tape.slopes[boundary]);
        let state = &tape.states[boundary * hidden..][..hidden];
        let next = &tape.states[(boundary + 1) * hidden..][..hidden];
        let gates = &tape.gates[boundary * 3 * hidden..][..3 * hidden];
        let kept = &tape.kept[boundary * hidden..][..hidden];
        let (update, reset, candidate) = (&gates[..hidden], &gates[hidden..2 * hidden], &gates[2 * hidden..]);

        gradient.bias += slope;
        add_scaled(&mut gradient.output, slope, next);
        add_scaled(&mut tape.carry, slope, &self.output);

        tape.kept_slope.fill(0.0);
        for unit in 0..hidden {
            let asked = tape.carry[unit];
            tape.deltas[unit] = asked * (state[unit] - candidate[unit]) * update[unit] * (1.0 - update[unit]);
            let delta = asked * (1.0 - update[unit]) * (1.0 - candidate[unit] * candidate[unit]);
            tape.deltas[2 * hidden + unit] = delta;
            let row = &self.recurrent[(2 * hidden + unit) * hidden..][..hidden];
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
                add_scaled(&mut tape.carry, *delta, &self.recurrent[on_state]);
            } else {
                add_scaled(&mut gradient.recurrent[on_state], *delta, kept);
            }
        }
    }
}
