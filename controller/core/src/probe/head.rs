//! The heads under one file format: which there are, their shapes and their fitted values.
//! A head maps standardised features, and for the recurrent one its memory, to the log odds of failure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Linear, Mlp, ProbeError, Recurrent};

/// What reads the standardised features.
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

/// Which head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// One weight per feature.
    Linear,
    /// One hidden layer.
    Mlp,
    /// A gated recurrent unit that reads the boundaries in order.
    Recurrent,
}

impl HeadKind {
    /// Every head, simplest first.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Mlp, Self::Recurrent];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Recurrent => "recurrent",
        }
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
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

/// Head, width of the activation and hidden units: what a memory has to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which head.
    pub kind: HeadKind,
    /// Number of features.
    pub width: usize,
    /// Number of hidden units, zero for a linear head.
    pub hidden: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a {} head of width {} with {} hidden units", self.kind, self.width, self.hidden)
    }
}

/// One array of a head's fitted values.
pub(super) struct Part<'a> {
    /// Its field within the probe.
    pub field: &'static str,
    /// How many values it needs for the head's width and hidden units.
    pub expected: usize,
    /// What it holds, row-major.
    pub values: &'a [f64],
}

impl Head {
    /// Which head it is.
    pub fn kind(&self) -> HeadKind {
        match self {
            Self::Linear(_) => HeadKind::Linear,
            Self::Mlp(_) => HeadKind::Mlp,
            Self::Recurrent(_) => HeadKind::Recurrent,
        }
    }

    /// Number of hidden units, zero for a linear head.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Linear(_) => 0,
            Self::Mlp(head) => head.output.len(),
            Self::Recurrent(head) => head.output.len(),
        }
    }

    /// Every fitted value, array by array, beside the size that a head of this `width` needs.
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

    /// Values that the head remembers from one boundary to the next.
    pub(super) fn state_len(&self) -> usize {
        match self {
            Self::Linear(_) | Self::Mlp(_) => 0,
            Self::Recurrent(_) => self.hidden(),
        }
    }

    /// Values that one evaluation needs room for.
    pub(super) fn work_len(&self) -> usize {
        match self {
            Self::Linear(_) => 0,
            Self::Mlp(_) => self.hidden(),
            Self::Recurrent(_) => Recurrent::WORK * self.hidden(),
        }
    }

    /// Log odds of failure. `state` moves on only when the result is a number.
    pub(super) fn logit(&self, features: &[f64], state: &mut [f64], work: &mut [f64]) -> f64 {
        match self {
            Self::Linear(head) => head.logit(features),
            Self::Mlp(head) => head.logit(features, work),
            Self::Recurrent(head) => head.advance(features, state, work),
        }
    }
}
