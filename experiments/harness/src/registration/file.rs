//! The lock on disk: TOML beside the plan, written once and changed only by an amendment.
//! What is read is verified before anybody relies on it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::{Lock, LockError, SCHEMA};
use crate::files::{read_text, write_atomically};

const HEAD: &str =
    "# Written by `aegis plan register`, changed by `aegis plan amend`. By hand it breaks.\n\n";

/// Why a lock file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no lock.
    #[error("{path}: not a lock: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key and what would be valid.
        source: Box<toml::de::Error>,
    },
    /// The lock has another layout.
    #[error("{path}: schema: found {found}; valid is {SCHEMA}", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// The lock cannot be written as TOML.
    #[error("{path}: {source}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Which value.
        source: toml::ser::Error,
    },
    /// What was written does not come back as it was.
    #[error("{path}: {what}: cannot be written so that it is read back as it is; valid is a value that TOML keeps", path = path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is lost.
        what: String,
    },
    /// A plan is registered once.
    #[error("{path}: found a lock; valid is none yet: change a registered plan with `aegis plan amend`", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The lock is not as it was sealed.
    #[error("{path}: {source}", path = path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Where.
        source: LockError,
    },
}

/// Where the lock of a plan is unless said otherwise: beside it, as `NAME.lock.toml`.
pub fn lock_path(plan: &Path) -> PathBuf {
    plan.with_extension("lock.toml")
}

impl Lock {
    /// Reads a lock and verifies its chain.
    ///
    /// # Errors
    /// A file that is missing, no lock, of another layout, or edited.
    pub fn load(path: &Path) -> Result<Self, LockFileError> {
        let owned = || path.to_owned();
        let text = read_text(path).map_err(|source| LockFileError::Read { path: owned(), source })?;
        let parse = |source| LockFileError::Parse { path: owned(), source: Box::new(source) };
        // The layout comes first: another one would be blamed on whichever of its keys is met first.
        let table: toml::Table = toml::from_str(&text).map_err(parse)?;
        match table.get("schema") {
            Some(toml::Value::Integer(found)) if *found == i64::from(SCHEMA) => {}
            found => {
                let found = found.map_or("none".into(), ToString::to_string);
                return Err(LockFileError::Schema { path: owned(), found });
            }
        }
        let lock: Self = toml::from_str(&text).map_err(parse)?;
        lock.verify().map_err(|source| LockFileError::Lock { path: owned(), source })?;
        Ok(lock)
    }

    /// Writes a new lock, whole or not at all; never over another.
    ///
    /// # Errors
    /// A lock that is there already, or a file that cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), LockFileError> {
        if path.exists() {
            return Err(LockFileError::Exists { path: path.to_owned() });
        }
        self.replace(path)
    }

    /// Changes a lock on disk, one process at a time: what `change` is given is what no other has changed when its result is
    /// written. Returns what is there then.
    ///
    /// # Errors
    /// As [`Lock::load`] and [`Lock::replace`], and what `change` refuses.
    pub fn change(
        path: &Path,
        change: impl FnOnce(&Self) -> Result<Self, LockError>,
    ) -> Result<Self, LockFileError> {
        let owned = || path.to_owned();
        let claimed = claim(path).map_err(|source| LockFileError::Read { path: owned(), source })?;
        let changed =
            change(&Self::load(path)?).map_err(|source| LockFileError::Lock { path: owned(), source })?;
        changed.replace(path)?;
        drop(claimed);
        Ok(changed)
    }

    /// Writes an amended lock in place of the one that it was made from.
    ///
    /// # Errors
    /// A file that cannot be written, and a value that would not be read back.
    pub fn replace(&self, path: &Path) -> Result<(), LockFileError> {
        let text = toml::to_string(self)
            .map_err(|source| LockFileError::Format { path: path.to_owned(), source })?;
        let lost = |what: String| LockFileError::Lost { path: path.to_owned(), what };
        let again: Self = toml::from_str(&text).map_err(|error| lost(error.message().to_owned()))?;
        if let Some(first) = self.compare(&again.frozen).first() {
            return Err(lost(first.to_string()));
        }
        again.verify().map_err(|error| lost(error.to_string()))?;
        write_atomically(path, (HEAD.to_owned() + &text).as_bytes())
            .map_err(|source| LockFileError::Write { path: path.to_owned(), source })
    }
}

/// The file at a path, locked by the operating system until it is closed. Who waited for it may find another file in its
/// place, as whoever had it puts a new one there.
fn claim(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.lock()?;
        let (mine, there) = (file.metadata()?, std::fs::metadata(path)?);
        if (mine.dev(), mine.ino()) == (there.dev(), there.ino()) {
            return Ok(file);
        }
    }
}
