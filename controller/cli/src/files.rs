//! Reads, writes and digests the files of a verb, and makes its folders.
//! A file is written whole or not at all, and every error names the file.

use std::path::Path;

use aegis_files::{Written, sha256, write_atomically};

use crate::exit::{Exit, Failure, failure};

/// Writes a whole file; nothing half-written stays when it fails.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes)
        .map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", path.display())))
}

/// Refuses a path, given by `argument`, where a file of this kind would replace a file of another kind or one of `inputs`,
/// which the verb reads. Called before the verb's work, which may take hours.
pub fn check_place(argument: &str, place: &Path, kind: Written, inputs: &[&Path]) -> Result<(), Failure> {
    kind.check(place, inputs)
        .map_err(|error| failure(Exit::Input, format!("{argument}: {}: {error}", place.display())))
}

/// Refuses a path at which something exists already, for a file that a person goes on writing.
pub fn check_new(out: &Path) -> Result<(), Failure> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("--out: {}: is there already, and is kept; valid is a new file", out.display());
    Err(failure(Exit::Input, message))
}

/// Makes a folder and its parents, where they do not exist.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|error| {
        failure(Exit::Failed, format!("{}: cannot make the folder: {error}", path.display()))
    })
}

/// Returns the SHA-256 of a file that a verb was given.
pub fn digest(path: &Path) -> Result<String, Failure> {
    sha256(path).map_err(|error| failure(Exit::Input, format!("{}: cannot read: {error}", path.display())))
}

/// Reads the text of a file that a verb was given.
pub fn text(path: &Path) -> Result<String, Failure> {
    aegis_files::read_text(path)
        .map_err(|error| failure(Exit::Input, format!("{}: cannot read: {error}", path.display())))
}
