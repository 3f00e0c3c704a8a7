//! Folders that are either whole or absent: filled beside their place under a name that nobody else has, and then named.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::write::{fresh_names, is_named};

/// A folder that is being filled beside its place, and is gone unless it is committed.
#[derive(Debug)]
pub struct PendingFolder {
    half: PathBuf,
    target: PathBuf,
    in_place: bool,
}

impl PendingFolder {
    /// Begins a new folder, and makes those around it. A slash at the end of its name is one of the folder's, not another
    /// folder in it.
    ///
    /// # Errors
    /// A path that ends in no name, something that is there already, and what the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Components know nothing of slashes at the end.
        let target: PathBuf = path.components().collect();
        if !is_named(&target) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the path ends in no name of a new folder"));
        }
        if target.symlink_metadata().is_ok() {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "something is there already; valid is a new folder",
            ));
        }
        let around = match target.parent() {
            Some(around) if !around.as_os_str().is_empty() => around,
            _ => Path::new("."),
        };
        fs::create_dir_all(around)?;
        for name in fresh_names() {
            let half = around.join(name);
            match fs::create_dir(&half) {
                Ok(()) => return Ok(Self { half, target, in_place: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(ErrorKind::AlreadyExists))
    }

    /// Where its files go until it is in its place.
    pub fn path(&self) -> &Path {
        &self.half
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// What the system says; then nothing of it stays.
    pub fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.half, &self.target)?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for PendingFolder {
    fn drop(&mut self) {
        if !self.in_place {
            // Nobody else can have made it. The error to report is the one that kept it from its place.
            let _ = fs::remove_dir_all(&self.half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_whole_or_absent_and_a_slash_is_its_own() {
        let around = std::env::temp_dir().join(format!("aegis-files-folder-{}", std::process::id()));
        let _ = fs::remove_dir_all(&around);
        let slashed = PathBuf::from(format!("{}/deep/keys//", around.display()));
        let pending = PendingFolder::create(&slashed).unwrap();
        fs::write(pending.path().join("file"), "one").unwrap();
        assert!(!slashed.exists());
        pending.commit().unwrap();
        let dropped = PendingFolder::create(&around.join("other")).unwrap();
        fs::write(dropped.path().join("file"), "two").unwrap();
        drop(dropped);
        assert_eq!(crate::below(&around).unwrap().into_keys().collect::<Vec<_>>(), ["deep/keys/file"]);
        for wrong in [slashed.as_path(), &around.join(".."), Path::new(""), Path::new("/")] {
            assert!(PendingFolder::create(wrong).is_err(), "{}", wrong.display());
        }
        assert_eq!(fs::read_dir(around.join("deep")).unwrap().count(), 1);
        fs::remove_dir_all(around).unwrap();
    }
}
