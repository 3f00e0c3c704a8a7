//! One run at a time in a folder: a lock of the operating system's on a file, in which the run says who it is.
//! The system lets go of it when its process ends, however that ends, so nothing stale is ever in the way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use jiff::{Timestamp, Unit};

use crate::exit::{Exit, Failure, failure, tell};

/// Name of the file in the folder.
pub const LOCK: &str = "run.lock";

/// A folder that this process runs into, until this is dropped.
pub struct Occupied {
    file: File,
}

impl Occupied {
    /// Takes the folder, which must be there.
    ///
    /// # Errors
    /// Another run that has it, with process, machine and time; a file that cannot be made.
    pub fn claim(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(LOCK);
        let io = |error| failure(Exit::Failed, format!("{}: cannot write: {error}", path.display()));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(folder, &path)),
            // A file system without locks cannot tell; the store itself still takes each set once.
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
        // The lock itself goes with the file; a text that stays behind is read by nobody.
        let _ = self.file.set_len(0);
    }
}

/// The refusal of a folder that another run has.
fn taken(folder: &Path, path: &Path) -> Failure {
    let said = std::fs::read_to_string(path).unwrap_or_default();
    let who = if said.trim().is_empty() { "another process" } else { said.trim() };
    let valid = "valid is one run at a time in a folder: wait for its end, or choose another --out";
    failure(Exit::Input, format!("{}: found a run of {who}; {valid}", folder.display()))
}

/// The machine's name.
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
        // What a killed run leaves behind.
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
