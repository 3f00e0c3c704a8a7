//! Finds the files that ship with this program: in the release that the program lies in, or in the repository that it was
//! built from; and the cache folder.

use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure, failure};

/// Returns the path in an environment variable. An empty value counts as unset, because shell scripts clear a variable by
/// setting it to the empty string.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the path of a plan, model or robot file that ships with this program; `path` is its path in the repository.
pub fn shipped(path: &str) -> PathBuf {
    let unpacked = beside("share/aegis").map(|folder| folder.join(path));
    unpacked.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// Returns the path of a file or folder in the release that this program lies in; `None` where it does not exist, as when
/// the program lies in a build folder.
pub fn beside(path: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let found = program.parent()?.parent()?.join(path);
    found.exists().then_some(found)
}

/// Returns the cache folder: `AEGIS_CACHE`, or `aegis` in the user's cache folder.
pub fn cache_folder() -> Result<PathBuf, Failure> {
    variable("AEGIS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("aegis")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/aegis")))
        .ok_or_else(|| failure(Exit::Setup, "no cache folder: set AEGIS_CACHE or HOME"))
}
