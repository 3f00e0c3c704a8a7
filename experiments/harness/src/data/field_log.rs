//! Log of a field trial's attempts on disk: lines of JSON, each written to the disk before the trial goes on.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::field::log::{Entries, Entry, LogError, line, read};

/// Name of the log in a trial's folder.
pub const LOG: &str = "attempts.jsonl";

/// Error of reading or writing a log.
#[derive(Debug, thiserror::Error)]
pub enum FieldLogError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A line is no entry, or does not follow from those before it.
    #[error("{path}: {source}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line and the reason.
        source: LogError,
    },
    /// An entry that JSON cannot represent.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

/// Reads the log in a trial's folder; a folder without one has a log without entries. A part of a line at its end, as a killed process
/// leaves it, is left out.
///
/// # Errors
/// A file that cannot be read, or that is not the log of the registration with this seal.
pub fn load(folder: &Path, registration: &str) -> Result<Entries, FieldLogError> {
    let path = folder.join(LOG);
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(FieldLogError::System { path, source }),
    };
    read(&text, registration).map_err(|source| FieldLogError::Line { path, source })
}

/// Log that is open for writing.
#[derive(Debug)]
pub struct FieldLog {
    path: PathBuf,
    file: File,
    head: String,
    /// Entries, the oldest first.
    pub entries: Vec<Entry>,
}

impl FieldLog {
    /// Opens the log in a trial's folder, which must exist, and makes it where there is none.
    ///
    /// # Errors
    /// As [`load`], and a file that cannot be written.
    pub fn open(folder: &Path, registration: &str) -> Result<Self, FieldLogError> {
        let path = folder.join(LOG);
        let Entries { entries, head, whole } = load(folder, registration)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.and_then(|mut file| {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        });
        let file = file.map_err(|source| FieldLogError::System { path: path.clone(), source })?;
        Ok(Self { path, file, head, entries })
    }

    /// Returns the newest seal, which covers every entry: quote it elsewhere.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Returns the time for the next entry: `now`, but none before that of the newest entry, where a clock was set back.
    pub fn time(&self, now: String) -> String {
        match self.entries.last().map(Entry::when) {
            Some(newest) if now.as_str() < newest => newest.to_owned(),
            _ => now,
        }
    }

    /// Adds an entry, and returns once it is on the disk.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn append(&mut self, entry: Entry) -> Result<(), FieldLogError> {
        let (text, seal) = line(entry.clone(), &self.head)?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| FieldLogError::System { path: self.path.clone(), source })?;
        self.head = seal;
        self.entries.push(entry);
        Ok(())
    }
}
