//! Recurrent head: a gated recurrent unit over the boundaries of an episode, in order.
//! Causal: a score depends on its own boundary and earlier ones only.

use serde::{Deserialize, Serialize};

use super::kernel::{affine, dot, rows, sigmoid};

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

    /// Computes the next state from `features`, `[width]`, and `state`, `[hidden]`: writes `z`, `r`, `n` to `gates`,
    /// `[3 · hidden]`, `r ∘ h` to `kept`, `[hidden]`, and the next state to `next`, `[hidden]`.
    pub fn step(
        &self,
        features: &[f64],
        state: &[f64],
        gates: &mut [f64],
        kept: &mut [f64],
        next: &mut [f64],
    ) {
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
}
