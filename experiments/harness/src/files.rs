//! Files that are either whole or absent.
//! Written beside their place under another name, then renamed.

use std::io::{self, Write};
use std::path::Path;

/// Writes a whole file; nothing half-written stays when it fails.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = std::fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The error to report is the first one.
        let _ = std::fs::remove_file(&part);
    }
    written
}
