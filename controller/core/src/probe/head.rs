//! Heads of a probe under one file format: their kinds, shapes and fitted values.
//! A head maps standardised features, and for the recurrent head its state, to the log odds of failure.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::shape::HeadKind;
use super::{Linear, Mlp, ProbeError, Recurrent};

/// Head: maps standardised features to the log odds of failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Head {
    /// One weight per feature.
    Linear(Linear),
    /// One hidden layer.
    Mlp(Mlp),
    /// A gated recurrent unit that reads the boundaries in order.
    Recurrent(Recurrent),
}

impl FromStr for HeadKind {
    type Err = ProbeError;

    fn from_str(name: &str) -> Result<Self, ProbeError> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| ProbeError::Invalid {
            field: "kind",
            found: name.to_owned(),
            valid: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// Array of a head's fitted values.
pub(super) struct Part<'a> {
    /// Name of the array's field within the probe.
    pub field: &'static str,
    /// Number of values that the head's width and hidden units require.
    pub expected: usize,
    /// The values, row-major.
    pub values: &'a [f64],
}

impl Head {
    /// Returns the kind of the head.
    pub fn kind(&self) -> HeadKind {
        match self {
            Self::Linear(_) => HeadKind::Linear,
            Self::Mlp(_) => HeadKind::Mlp,
            Self::Recurrent(_) => HeadKind::Recurrent,
        }
    }

    /// Returns the number of hidden units, zero for a linear head.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Linear(_) => 0,
            Self::Mlp(head) => head.output.len(),
            Self::Recurrent(head) => head.output.len(),
        }
    }

    /// Returns every fitted value, array by array, with the size that a head of this `width` requires.
    pub(super) fn parts(&self, width: usize) -> Vec<Part<'_>> {
        let part = |field, expected, values| Part { field, expected, values };
        let hidden = self.hidden();
        match self {
            Self::Linear(Linear { weights, bias }) => {
                vec![part("head.weights", width, weights), part("head.bias", 1, std::slice::from_ref(bias))]
            }
            Self::Mlp(Mlp { input, input_bias, output, bias }) => vec![
                part("head.input", hidden * width, input),
                part("head.input_bias", hidden, input_bias),
                part("head.output", hidden, output),
                part("head.bias", 1, std::slice::from_ref(bias)),
            ],
            Self::Recurrent(Recurrent { input, recurrent, gate_bias, output, bias }) => vec![
                part("head.input", 3 * hidden * width, input),
                part("head.recurrent", 3 * hidden * hidden, recurrent),
                part("head.gate_bias", 3 * hidden, gate_bias),
                part("head.output", hidden, output),
                part("head.bias", 1, std::slice::from_ref(bias)),
            ],
        }
    }

    /// Returns the number of values that the head keeps from one boundary to the next.
    pub(super) fn state_len(&self) -> usize {
        match self {
            Self::Linear(_) | Self::Mlp(_) => 0,
            Self::Recurrent(_) => self.hidden(),
        }
    }

    /// Returns the number of values of scratch space that one evaluation needs.
    pub(super) fn work_len(&self) -> usize {
        match self {
            Self::Linear(_) => 0,
            Self::Mlp(_) => self.hidden(),
            Self::Recurrent(_) => Recurrent::WORK * self.hidden(),
        }
    }

    /// Returns the log odds of failure. `state` is updated only when the result is not NaN.
    pub(super) fn logit(&self, features: &[f64], state: &mut [f64], work: &mut [f64]) -> f64 {
        match self {
            Self::Linear(head) => head.logit(features),
            Self::Mlp(head) => head.logit(features, work),
            Self::Recurrent(head) => head.advance(features, state, work),
        }
    }
}
