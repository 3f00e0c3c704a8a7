//! Why a probe cannot be fitted, read or applied.
//! Each error says where, what was found and what would do.

use super::Shape;

/// The largest size of a value that can be standardised: its square is a number still.
pub const LARGEST: f64 = 1e150;

/// Why a probe cannot be fitted, read or applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The activation has another width than the probe.
    #[error("activation width: found {found}; valid is {expected}, the probe's")]
    Width {
        /// Width of the probe.
        expected: usize,
        /// Width met.
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
    /// A field of a probe, or an option of its fit, that no probe could work with.
    #[error("probe.{field}: found {found}; valid is {valid}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its shape or value.
        found: String,
        /// What would do.
        valid: String,
    },
    /// Nothing to learn from.
    #[error("no trajectories to fit a probe on")]
    Empty,
    /// All trajectories ended alike.
    #[error("all trajectories have the label failed = {0}; a probe needs failures and successes")]
    OneClass(bool),
    /// A trajectory without a single boundary.
    #[error("trajectory {trajectory}: found 0 boundaries; valid is 1 or more")]
    NoBoundaries {
        /// Index among the trajectories.
        trajectory: usize,
    },
    /// Training data of several widths.
    #[error("trajectory {trajectory}, boundary {boundary}: found a width of {found}; valid is {valid}")]
    Ragged {
        /// Index among the trajectories.
        trajectory: usize,
        /// Index within the trajectory.
        boundary: usize,
        /// Width met.
        found: usize,
        /// Width of the first activation, or what a width may be.
        valid: String,
    },
    /// Training data with a NaN, an infinity, or a value whose square is as good as one.
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
