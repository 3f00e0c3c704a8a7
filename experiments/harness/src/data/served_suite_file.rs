//! Plant files: reading one from disk.

use std::path::Path;

use aegis_files::toml_file;

use crate::plan::served_suite::{ServedSuite, ServedSuiteError};

impl ServedSuite {
    /// Reads a plant file.
    ///
    /// # Errors
    /// A file that cannot be read, that is not a plant file, or that has a field which is not valid.
    pub fn load(path: &Path) -> Result<Self, ServedSuiteError> {
        Self::parse(&toml_file::text(path)?, path)
    }
}
