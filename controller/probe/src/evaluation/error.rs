//! Error of an evaluation.

use aegis_core::gate::GateError;
use aegis_statistics::StatisticsError;

use crate::calibration::CalibrationError;

/// Error of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The probe or a baseline cannot read the rollouts.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The rollouts do not determine a figure: there are none, or all have the same outcome.
    #[error("evaluation: {0}")]
    Statistics(#[from] StatisticsError),
    /// A rule's settings are invalid.
    #[error(transparent)]
    Gate(#[from] GateError),
}
