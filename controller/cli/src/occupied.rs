//! Allows one run at a time in a folder, by an operating-system lock on a file. The run writes its process, machine and
//! start time to the file. The system releases the lock when the process ends, however it ends, so no stale lock blocks a
//! folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use jiff::{Timestamp, Unit};

use crate::exit::{Exit, Failure, failure, tell};

/// Name of the locked file in the folder.
pub const LOCK: &str = "run.lock";

/// The lock of a folder that this process runs into; dropping the value releases the lock.
pub struct Occupied {
    file: File,
}

impl Occupied {
    /// Locks the folder, which must exist.
    ///
    /// # Errors
    /// Another run that has locked the folder, with its process, machine and time; a file that cannot be made.
    pub fn claim(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(LOCK);
        let io = |error| failure(Exit::Failed, format!("{}: cannot write: {error}", path.display()));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(folder, &path)),
            // On a file system without locks another run is not noticed; the store itself still accepts each set once.
            Err(TryLockError::Error(error)) => {
                tell!("{}: cannot be locked: {error}; nothing else may run into this folder", path.display());
            }
        }
        let now = Timestamp::now();
        let now = now.round(Unit::Second).unwrap_or(now);
        let text = format!("process {} on {} since {now}\n", std::process::id(), host());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // Closing the file releases the lock. A text that stays behind is never read: only the text of a locked file is.
        let _ = self.file.set_len(0);
    }
}

/// Makes the failure for a folder that another run has locked.
fn taken(folder: &Path, path: &Path) -> Failure {
    let said = std::fs::read_to_string(path).unwrap_or_default();
    let who = if said.trim().is_empty() { "another process" } else { said.trim() };
    let valid = "valid is one run at a time in a folder: wait for its end, or choose another --out";
    failure(Exit::Input, format!("{}: found a run of {who}; {valid}", folder.display()))
}

/// Returns the machine's name.
fn host() -> String {
    let said = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if said.trim().is_empty() { "an unnamed machine".into() } else { said.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_afterwards() {
        let folder = std::env::temp_dir().join(format!("aegis-occupied-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // The text that a killed run leaves behind.
        std::fs::write(folder.join(LOCK), "process 1 on elsewhere since 2020-01-01T00:00:00Z\n")
            .expect("written");
        let first = Occupied::claim(&folder).expect("free");
        let refused = Occupied::claim(&folder).err().expect("taken").to_string();
        drop(first);
        let again = Occupied::claim(&folder).map(drop);
        std::fs::remove_dir_all(&folder).expect("removed");
        let who = format!("process {} on ", std::process::id());
        assert!(
            refused.contains(&who) && refused.contains(" since 2") && refused.contains("--out"),
            "{refused}"
        );
        assert!(again.is_ok());
    }
}
