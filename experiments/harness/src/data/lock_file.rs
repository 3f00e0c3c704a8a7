//! Lock file: TOML beside the plan, written once and changed only by amendments. A lock is verified whenever it is
//! read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::plan::registration::{Lock, LockError, SCHEMA};
use aegis_files::{read_text, write_atomically};

const HEAD: &str =
    "# Written when its plan was registered, changed when it is amended. By hand it breaks.\n\n";

/// Error of reading or writing a lock file.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is not a lock.
    #[error("{path}: not a lock: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// TOML error with line, key and valid values.
        source: Box<toml::de::Error>,
    },
    /// The lock has a different schema version.
    #[error("{path}: schema: found {found}; valid is {SCHEMA}", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: String,
    },
    /// The lock cannot be written as TOML.
    #[error("{path}: {source}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// TOML error about a value.
        source: toml::ser::Error,
    },
    /// A value changes when it is written and read back.
    #[error("{path}: {what}: changes when it is written and read back; valid is a value that TOML keeps", path = path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// Value that changes.
        what: String,
    },
    /// A lock exists already; a plan is registered only once.
    #[error("{path}: found a lock, so the plan is registered already; change it with `aegis plan amend`, or for a trial with `aegis trial amend`", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The lock differs from its seals.
    #[error("{path}: {source}", path = path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Error with the entry that differs.
        source: LockError,
    },
}

/// Returns the default path of a plan's lock: beside the plan, as `NAME.lock.toml`.
pub fn lock_path(plan: &Path) -> PathBuf {
    plan.with_extension("lock.toml")
}

impl Lock {
    /// Reads a lock and verifies its chain of seals.
    ///
    /// # Errors
    /// A file that is missing, is not a lock, has a different schema version, or was edited.
    pub fn load(path: &Path) -> Result<Self, LockFileError> {
        let owned = || path.to_owned();
        let text = read_text(path).map_err(|source| LockFileError::Read { path: owned(), source })?;
        let parse = |source| LockFileError::Parse { path: owned(), source: Box::new(source) };
        // The version is checked first, since a different layout would otherwise be reported as an error of the first
        // key that differs.
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

    /// Writes a new lock atomically; never overwrites an existing one.
    ///
    /// # Errors
    /// A lock that exists already, or a file that cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), LockFileError> {
        if path.exists() {
            return Err(LockFileError::Exists { path: path.to_owned() });
        }
        self.replace(path)
    }

    /// Changes a lock on disk while holding an operating-system lock on the file, so that no other process changes the
    /// lock between the read and the write. Returns the changed lock.
    ///
    /// # Errors
    /// As [`Lock::load`] and [`Lock::replace`], and any error that `change` returns.
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

    /// Writes an amended lock in place of the previous one.
    ///
    /// # Errors
    /// A file that cannot be written, and a value that changes when it is read back.
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

/// Opens the file at a path and locks it with the operating system until it is closed. The process that held the lock
/// before may have replaced the file, so the open is repeated until the locked file is the one at the path.
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
