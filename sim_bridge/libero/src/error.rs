//! Errors of loading a suite. Each names the file, the field, what was found and what is valid.
//! Shared by all code that reads exported files.

use std::path::{Path, PathBuf};

use aegis_core::policy::PlantError;

/// Reason why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file is missing or unreadable.
    #[error("{path}: cannot read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A JSON file is malformed or lacks a field.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Field and position.
        source: serde_json::Error,
    },
    /// The file of initial states is not an array of doubles.
    #[error("{path}: {source}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// Fault of the file.
        source: ndarray_npy::ReadNpyError,
    },
    /// A value is not valid.
    #[error("{path}: {field}: found {found}; valid is {valid}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Value found.
        found: String,
        /// Valid values.
        valid: String,
    },
    /// The goal cannot be evaluated.
    #[error("{path}: goal: {source}")]
    Goal {
        /// The file.
        path: PathBuf,
        /// The predicate and the reason.
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

/// Supported predicates, for the error text of [`GoalError::Unsupported`].
const SUPPORTED: &str = "(on OBJECT OBJECT-OR-REGION), (in OBJECT REGION), (open THING), (close THING), \
                         (turnon OBJECT), (turnoff OBJECT)";

/// Reason why a goal cannot be evaluated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// The predicate is not implemented.
    #[error("unsupported predicate ({found}); supported are {SUPPORTED}")]
    Unsupported {
        /// The predicate as the task states it.
        found: String,
    },
    /// The predicate's argument is not an object or region of the kind that the predicate needs.
    #[error("({predicate}): {name} is no {expected} of this task")]
    Argument {
        /// The predicate as the task states it.
        predicate: String,
        /// The argument.
        name: String,
        /// Kind that the argument must have.
        expected: &'static str,
    },
    /// The predicate needs a joint threshold that the object does not have.
    #[error("({predicate}): {name} has no threshold for {question}")]
    Threshold {
        /// The predicate as the task states it.
        predicate: String,
        /// Name of the object that owns the joint.
        name: String,
        /// Upstream's name of the threshold.
        question: &'static str,
    },
    /// A name is missing in the compiled model.
    #[error("the model has no {kind} {name}")]
    Missing {
        /// Body, geom, site or joint.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// Makes the error for an invalid value of a field.
pub(crate) fn field(path: &Path, field: &str, found: &str, valid: &str) -> SuiteError {
    SuiteError::Field {
        path: path.to_path_buf(),
        field: field.into(),
        found: found.into(),
        valid: valid.into(),
    }
}

/// Converts an error that MuJoCo or OpenGL reports while a plant runs.
pub(crate) fn backend(error: impl std::error::Error) -> PlantError {
    PlantError::Backend(error.to_string())
}
