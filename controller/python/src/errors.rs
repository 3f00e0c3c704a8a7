//! Errors of the Rust libraries as Python exceptions with the same texts.

use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

/// Turns an error into a `ValueError`.
pub fn value_error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}
