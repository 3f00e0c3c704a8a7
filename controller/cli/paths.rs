//! Where what ships with this program lies: beside it, where a release was unpacked, or in the repository that it was
//! built from.

use std::path::{Path, PathBuf};

/// A path in an environment variable; an empty one is unset, as a shell leaves it where somebody takes a value back.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A plan, model or robot file that ships with this program, by its path in the repository.
pub fn shipped(path: &str) -> PathBuf {
    let unpacked = beside("share/aegis").map(|folder| folder.join(path));
    unpacked.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// Something in the release that this program lies in; none where it lies elsewhere, as in a build folder.
pub fn beside(path: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let found = program.parent()?.parent()?.join(path);
    found.exists().then_some(found)
}
