//! The probe file: a fitted head, its thresholds, and the model and tensor that it belongs to.
//! A probe that was fitted on another model is refused by digest.

use std::path::{Path, PathBuf};

use aegis_core::Probe;
use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::fit::{Calibration, FitSettings};

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;

/// A probe on disk, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// Version of this layout.
    pub schema: u32,
    /// SHA-256 of the model whose activations it reads.
    pub model_sha256: String,
    /// The graph output that it reads, mean-pooled over tokens.
    pub tensor: String,
    /// The head.
    pub probe: Probe,
    /// How it was fitted.
    pub settings: FitSettings,
    /// What came of it.
    pub calibration: Calibration,
}

/// Why a probe file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFileError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no probe.
    #[error("{path}: not a probe file: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, field and what would be valid.
        source: serde_json::Error,
    },
    /// The probe belongs elsewhere.
    #[error("{path}: {field}: found {found}, expected {expected}", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// What the file says.
        found: String,
        /// What the model needs.
        expected: String,
    },
}

impl ProbeFile {
    /// Reads a probe and holds it against the model that it shall watch.
    pub fn load(path: &Path, model_sha256: &str, tensor: &str, width: usize) -> Result<Self, ProbeFileError> {
        let bytes =
            std::fs::read(path).map_err(|source| ProbeFileError::Io { path: path.to_owned(), source })?;
        let file: Self = serde_json::from_slice(&bytes)
            .map_err(|source| ProbeFileError::Parse { path: path.to_owned(), source })?;
        let check = |field, found: String, expected: String| {
            if found == expected {
                return Ok(());
            }
            Err(ProbeFileError::Mismatch { path: path.to_owned(), field, found, expected })
        };
        check("schema", file.schema.to_string(), SCHEMA.to_string())?;
        check("model_sha256", file.model_sha256.clone(), model_sha256.to_owned())?;
        check("tensor", file.tensor.clone(), tensor.to_owned())?;
        for (field, values) in [
            ("probe.mean", &file.probe.mean),
            ("probe.scale", &file.probe.scale),
            ("probe.weights", &file.probe.weights),
        ] {
            check(field, format!("{} values", values.len()), format!("{width} values"))?;
        }
        Ok(file)
    }

    /// Writes the probe, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ProbeFileError> {
        let io = |source| ProbeFileError::Io { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        text.push('\n');
        write_atomically(path, text.as_bytes()).map_err(io)
    }
}
