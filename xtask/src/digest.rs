//! Computes the SHA-256 of files, in hexadecimal.
//! A part of the cache is named after the digest of the files that it is made from.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Returns the digest of one file.
pub fn of_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Returns a digest of 8 bytes over several files, in the order given.
pub fn of_files(paths: &[&Path]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in paths {
        hasher.update(of_file(path)?);
    }
    Ok(hex(&hasher.finalize()[..8]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
