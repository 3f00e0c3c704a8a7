//! Why a suite is refused: errors that name the file, the field, what was found and what would be valid.
//! Shared by everything that reads exported files.

use std::path::{Path, PathBuf};

use aegis_core::policy::PlantError;

/// Why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file is missing or unreadable.
    #[error("{path}: cannot read: {source}")]
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
    #[error("{path}: {field}: found {found}; valid is {valid}")]
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

/// What [`GoalError::Unsupported`] offers instead.
const SUPPORTED: &str = "(on OBJECT OBJECT-OR-REGION), (in OBJECT REGION), (open THING), (close THING), \
                         (turnon OBJECT), (turnoff OBJECT)";

/// Why a goal cannot be evaluated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// The predicate is not implemented here.
    #[error("unsupported predicate ({found}); supported are {SUPPORTED}")]
    Unsupported {
        /// The predicate as the task states it.
        found: String,
    },
    /// The predicate names nothing that it could be true of.
    #[error("({predicate}): {name} is no {expected} of this task")]
    Argument {
        /// The predicate as the task states it.
        predicate: String,
        /// The argument.
        name: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// The predicate asks for a joint's threshold that the thing does not have.
    #[error("({predicate}): {name} has no threshold for {question}")]
    Threshold {
        /// The predicate as the task states it.
        predicate: String,
        /// The thing that owns the joint.
        name: String,
        /// Upstream's name for the question.
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

/// A value that does not fit.
pub(crate) fn field(path: &Path, field: &str, found: &str, valid: &str) -> SuiteError {
    SuiteError::Field {
        path: path.to_path_buf(),
        field: field.into(),
        found: found.into(),
        valid: valid.into(),
    }
}

/// What MuJoCo or OpenGL reports while a plant runs.
pub(crate) fn backend(error: impl std::error::Error) -> PlantError {
    PlantError::Backend(error.to_string())
}
