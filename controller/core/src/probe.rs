//! The probe: a small head over a pooled activation, read as a risk of failure.
//! The only trained part of AEGIS; `fit` trains it, everything here only reads.

mod adam;
mod error;
mod fit;
mod head;
mod kernel;
mod linear;
mod mlp;
mod recurrent;
mod wide;

use serde::{Deserialize, Serialize};

pub use error::{LARGEST, ProbeError};
pub use fit::{FitOptions, Fitter, Trajectory, check, fit};
pub use head::{Head, HeadKind, Shape};
pub use linear::Linear;
pub use mlp::Mlp;
pub use recurrent::Recurrent;

/// A risk of failure in `[0, 1]`. NaN is kept as it is and counts as the highest risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
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

    /// Whether the activation held a value that is not finite.
    pub fn is_flagged(self) -> bool {
        self.0.is_nan()
    }
}

/// A fitted probe: standardise, run the head, squash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Mean of each feature over the discovery boundaries, `[width]`.
    pub mean: Vec<f64>,
    /// Standard deviation of each feature over the discovery boundaries, `[width]`, above zero.
    pub scale: Vec<f64>,
    /// What reads the standardised features.
    pub head: Head,
}

/// What a probe remembers of an episode, with its room to work in.
///
/// Two memories are equal when they make every later score equal; the room to work in does not count.
#[derive(Clone, Debug)]
pub struct Memory {
    shape: Shape,
    /// Hidden state after the last finite boundary, `[hidden]`; empty for heads without memory.
    state: Vec<f64>,
    /// Overwritten by every score before it is read: standardised features, then the head's own.
    work: Vec<f64>,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.state == other.state
    }
}

impl Probe {
    /// A probe that knows nothing: every score is one half. It stands in while rollouts to fit on are collected.
    pub fn blank(width: usize) -> Self {
        let head = Head::Linear(Linear { weights: vec![0.0; width], bias: 0.0 });
        Self { mean: vec![0.0; width], scale: vec![1.0; width], head }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Which head it has.
    pub fn kind(&self) -> HeadKind {
        self.head.kind()
    }

    /// Number of fitted values of the head; the standardisation adds twice the width.
    pub fn parameters(&self) -> usize {
        self.head.parts(self.width()).iter().map(|part| part.values.len()).sum()
    }

    /// Refuses shapes that do not fit together and values that are not finite. Call it on what was read from a file.
    pub fn validate(&self) -> Result<(), ProbeError> {
        let width = self.width();
        let invalid = |field, found: String, valid: String| Err(ProbeError::Invalid { field, found, valid });
        if width == 0 {
            return invalid("mean", "0 values".into(), "1 value or more".into());
        }
        if self.head.hidden() == 0 && self.kind() != HeadKind::Linear {
            return invalid("head.output", "0 values".into(), "1 value or more".into());
        }
        let mut arrays = vec![("mean", width, &self.mean[..]), ("scale", width, &self.scale[..])];
        arrays.extend(self.head.parts(width).iter().map(|part| (part.field, part.expected, part.values)));
        for (field, expected, values) in arrays {
            if values.len() != expected {
                return invalid(field, format!("{} values", values.len()), format!("{expected} values"));
            }
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return invalid(field, format!("{} at {index}", values[index]), "a finite number".into());
            }
        }
        match self.scale.iter().position(|scale| *scale <= 0.0) {
            Some(index) => invalid("scale", format!("{} at {index}", self.scale[index]), "above 0".into()),
            None => Ok(()),
        }
    }

    /// What the head remembers before an episode's first boundary. Allocates all that scoring needs.
    pub fn memory(&self) -> Memory {
        let shape = self.shape();
        let state = vec![0.0; self.head.state_len()];
        Memory { shape, state, work: vec![0.0; shape.width + self.head.work_len()] }
    }

    /// Scores the next boundary's pooled activation, `[width]`; see
    /// [`Activation::mean_pool`](crate::Activation::mean_pool). Does not allocate.
    ///
    /// `memory` comes from [`memory`](Self::memory) of this probe and is fed every boundary of one episode in order.
    /// A memory of another shape is refused; one of another probe of equal shape cannot be told.
    ///
    /// An activation with a value that is not finite scores NaN, and the memory stays as it was: such a boundary
    /// counts as the highest risk once, and the boundaries after it are scored as if it had not been.
    pub fn score(&self, memory: &mut Memory, features: &[f64]) -> Result<Score, ProbeError> {
        let shape = self.shape();
        if features.len() != shape.width {
            return Err(ProbeError::Width { expected: shape.width, found: features.len() });
        }
        if memory.shape != shape {
            return Err(ProbeError::Memory { expected: shape, found: memory.shape });
        }
        let (standardised, work) = memory.work.split_at_mut(shape.width);
        if !kernel::standardise(features, &self.mean, &self.scale, standardised) {
            return Ok(Score(f64::NAN));
        }
        Ok(Score(kernel::sigmoid(self.head.logit(standardised, &mut memory.state, work))))
    }

    /// Scores a whole episode, `[boundaries][width]`, from a fresh memory: one score per boundary, in order.
    pub fn trace(&self, trajectory: &[Vec<f64>]) -> Result<Vec<Score>, ProbeError> {
        let mut memory = self.memory();
        trajectory.iter().map(|features| self.score(&mut memory, features)).collect()
    }

    fn shape(&self) -> Shape {
        Shape { kind: self.kind(), width: self.width(), hidden: self.head.hidden() }
    }
}
