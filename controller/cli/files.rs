//! Writing what a verb leaves behind.
//! A whole file or none, and an error that names it.

use std::path::Path;

use aegis_experiments::files::write_atomically;

use crate::exit::{Exit, Failure, failure};

/// Writes a whole file; nothing half-written stays when it fails.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes)
        .map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", path.display())))
}
