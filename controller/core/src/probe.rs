//! Probe: a small head that maps a pooled activation to a risk of failure.
//! The only trained part of AEGIS. This module only scores; the crate `aegis-probe` trains.

mod benefit;
mod error;
mod head;
mod heads;
pub mod kernel;
mod linear;
mod mlp;
mod recurrent;
mod shape;

use serde::{Deserialize, Serialize};

pub use benefit::{BenefitHead, BenefitMemory, OutcomeHead};
pub use error::{LARGEST, ProbeError};
pub use head::Head;
pub use heads::{Heads, HeadsMemory};
pub use linear::Linear;
pub use mlp::Mlp;
pub use recurrent::Recurrent;
pub use shape::{HeadKind, Shape};

/// Risk of failure in `[0, 1]`. NaN is kept and counts as the highest risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(f64);

impl Score {
    /// Wraps a raw value.
    pub fn new(value: f64) -> Self {
        Self(value)
    }

    /// Returns the value that decisions compare, with NaN as +∞.
    pub fn risk(self) -> f64 {
        if self.0.is_nan() { f64::INFINITY } else { self.0 }
    }

    /// Returns whether the score is NaN, as it is for an activation with a value that is not finite.
    pub fn is_flagged(self) -> bool {
        self.0.is_nan()
    }
}

/// Fitted probe: standardises the features, evaluates the head and applies the logistic function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Mean of each feature over the discovery boundaries, `[width]`.
    pub mean: Vec<f64>,
    /// Standard deviation of each feature over the discovery boundaries, `[width]`, above zero.
    pub scale: Vec<f64>,
    /// Head that reads the standardised features.
    pub head: Head,
}

/// Memory of a probe within one episode, with scratch space for scoring.
///
/// Two memories are equal when every later score is equal; the scratch space is not compared.
#[derive(Clone, Debug)]
pub struct Memory {
    shape: Shape,
    /// Hidden state after the last boundary with a finite activation, `[hidden]`; empty for heads without memory.
    state: Vec<f64>,
    /// Scratch space, written before it is read in every score: standardised features, then the head's scratch space.
    work: Vec<f64>,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.state == other.state
    }
}

impl Probe {
    /// Returns an untrained probe, whose every score is one half: a placeholder while rollouts for the fit are collected.
    pub fn blank(width: usize) -> Self {
        let head = Head::Linear(Linear { weights: vec![0.0; width], bias: 0.0 });
        Self { mean: vec![0.0; width], scale: vec![1.0; width], head }
    }

    /// Returns the number of features.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Returns the kind of the head.
    pub fn kind(&self) -> HeadKind {
        self.head.kind()
    }

    /// Returns the number of fitted values of the head; the standardisation adds twice the width.
    pub fn parameters(&self) -> usize {
        self.head.parts(self.width()).iter().map(|part| part.values.len()).sum()
    }

    /// Checks that all shapes fit together, all values are finite and all scales are positive. Call this on a probe
    /// that was read from a file.
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

    /// Returns the memory at the start of an episode. Allocates all that scoring needs.
    pub fn memory(&self) -> Memory {
        let shape = self.shape();
        let state = vec![0.0; self.head.state_len()];
        Memory { shape, state, work: vec![0.0; shape.width + self.head.work_len()] }
    }

    /// Scores the next boundary's pooled activation, `[width]`; see
    /// [`Activation::mean_pool`](crate::Activation::mean_pool). Does not allocate.
    ///
    /// `memory` comes from [`memory`](Self::memory) of this probe and receives every boundary of one episode in order.
    /// A memory of another shape is refused; a memory of another probe of equal shape cannot be detected.
    ///
    /// An activation with a value that is not finite scores NaN and leaves the memory unchanged: such a boundary counts
    /// as the highest risk once, and later boundaries are scored as if it had not occurred.
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
