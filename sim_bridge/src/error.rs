//! Why a suite is refused: one error type, which names the file, the field, what was found and what would be valid.
//! Shared by everything that reads exported files.

use std::path::{Path, PathBuf};

use crate::goal::GoalError;

/// Why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A JSON file does not say what is needed.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Field and position.
        source: serde_json::Error,
    },
    /// The initial states are no array of doubles.
    #[error("{path}: {source}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ndarray_npy::ReadNpyError,
    },
    /// A value does not fit.
    #[error("{path}: {field}: found {found}, valid is {valid}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it says.
        found: String,
        /// What would do.
        valid: String,
    },
    /// The goal cannot be evaluated here.
    #[error("{path}: goal: {source}")]
    Goal {
        /// The file.
        path: PathBuf,
        /// Which predicate.
        source: GoalError,
    },
    /// MuJoCo refuses the scene.
    #[error("{path}: {message}")]
    Model {
        /// The file.
        path: PathBuf,
        /// MuJoCo's message.
        message: String,
    },
}

/// A value that does not fit.
pub(crate) fn field(path: &Path, field: &str, found: &str, valid: &str) -> SuiteError {
    SuiteError::Field {
        path: path.to_path_buf(),
        field: field.into(),
        found: found.into(),
        valid: valid.into(),
    }
}
