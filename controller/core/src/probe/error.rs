//! Errors of fitting, reading and applying a probe.
//! Each error states where it occurred, what was found and what is valid.

use super::shape::Shape;

/// Largest magnitude of a value that can be standardised: its square is still finite.
pub const LARGEST: f64 = 1e150;

/// Error of fitting, reading or applying a probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The activation has another width than the probe.
    #[error("activation width: found {found}; valid is {expected}, the probe's")]
    Width {
        /// Width of the probe.
        expected: usize,
        /// Width that was found.
        found: usize,
    },
    /// The memory belongs to a probe of another shape.
    #[error("memory: found that of {found}; valid is that of {expected}, the probe's")]
    Memory {
        /// Shape of the probe.
        expected: Shape,
        /// Shape of the probe that made the memory.
        found: Shape,
    },
    /// A field of a probe, or an option of its fit, is invalid.
    #[error("probe.{field}: found {found}; valid is {valid}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Shape or value of the field.
        found: String,
        /// Description of the valid shapes or values.
        valid: String,
    },
    /// No trajectories were given.
    #[error("no trajectories to fit a probe on")]
    Empty,
    /// All trajectories have the same outcome.
    #[error("all trajectories have the label failed = {0}; a probe needs failures and successes")]
    OneClass(bool),
    /// A trajectory has no boundary.
    #[error("trajectory {trajectory}: found 0 boundaries; valid is 1 or more")]
    NoBoundaries {
        /// Index among the trajectories.
        trajectory: usize,
    },
    /// The widths of the training data differ or are zero.
    #[error("trajectory {trajectory}, boundary {boundary}: found a width of {found}; valid is {valid}")]
    Ragged {
        /// Index among the trajectories.
        trajectory: usize,
        /// Index within the trajectory.
        boundary: usize,
        /// Width that was found.
        found: usize,
        /// Width of the first activation, or the valid widths.
        valid: String,
    },
    /// The training data hold a NaN, an infinity, or a magnitude above [`LARGEST`].
    #[error(
        "trajectory {trajectory}, boundary {boundary}, value {index}: found {found}; valid is a finite number up to {LARGEST:e}"
    )]
    Value {
        /// Index among the trajectories.
        trajectory: usize,
        /// Index within the trajectory.
        boundary: usize,
        /// Index within the activation.
        index: usize,
        /// The value.
        found: String,
    },
    /// The normal equations have no solution.
    #[error("the fit has no solution; raise the penalty (it is {0})")]
    Singular(String),
}
