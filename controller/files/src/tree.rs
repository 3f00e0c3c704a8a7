//! Listing of every file below a folder, by a name that is the same on every machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Returns every file below a folder, by its path relative to the folder, with `/` between names. Links are followed.
pub fn below(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if std::fs::metadata(entry.path())?.is_dir() {
                open.push((name + "/", entry.path()));
            } else {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}
