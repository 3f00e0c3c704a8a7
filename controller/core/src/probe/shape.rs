//! The kinds of heads and their shapes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kind of a head.
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

impl fmt::Display for HeadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl HeadKind {
    /// Every kind, simplest first.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Mlp, Self::Recurrent];

    /// Returns the kind's name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Recurrent => "recurrent",
        }
    }
}

/// Shape of a probe: kind of head, width of the activation and number of hidden units. A memory has to match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Kind of head.
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
