//! TOML files: reading one, with an error that names the file, and for its content the line, the key and what is valid.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Error of reading a TOML file.
#[derive(Debug, thiserror::Error)]
pub enum TomlError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file has other content than its reader needs.
    #[error("{path}: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// TOML error with line, key and valid values.
        source: Box<toml::de::Error>,
    },
}

/// Reads the text of a TOML file, which [`parse`] takes.
///
/// # Errors
/// As [`read_text`](crate::read_text).
pub fn text(path: &Path) -> Result<String, TomlError> {
    crate::read_text(path).map_err(|source| TomlError::Read { path: path.to_owned(), source })
}

/// Parses the text of a TOML file. `path` is the file, for messages.
///
/// # Errors
/// Text that is not TOML, or that has not the fields of `T`.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TomlError> {
    toml::from_str(text)
        .map_err(|source| TomlError::Parse { path: path.to_owned(), source: Box::new(source) })
}
