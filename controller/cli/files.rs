//! Files and folders of a verb: what it leaves behind, and what names their content.
//! A whole file or none, and every error names it.

use std::path::Path;

use aegis_files::{Written, sha256, write_atomically};

use crate::exit::{Exit, Failure, failure};

/// Writes a whole file; nothing half-written stays when it fails.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes)
        .map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", path.display())))
}

/// Refuses a place, given by an argument, that a file of this kind would take from another, or from what the verb reads. Held
/// before the verb's work, which may take hours.
pub fn check_place(argument: &str, place: &Path, kind: Written, inputs: &[&Path]) -> Result<(), Failure> {
    kind.check(place, inputs)
        .map_err(|error| failure(Exit::Input, format!("{argument}: {}: {error}", place.display())))
}

/// Makes a folder and those around it, where they are not there yet.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|error| {
        failure(Exit::Failed, format!("{}: cannot make the folder: {error}", path.display()))
    })
}

/// SHA-256 of a file that a verb was given.
pub fn digest(path: &Path) -> Result<String, Failure> {
    sha256(path).map_err(|error| failure(Exit::Input, format!("{}: cannot read: {error}", path.display())))
}

/// The text of a file that a verb was given.
pub fn text(path: &Path) -> Result<String, Failure> {
    aegis_files::read_text(path)
        .map_err(|error| failure(Exit::Input, format!("{}: cannot read: {error}", path.display())))
}
