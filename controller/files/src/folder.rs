//! Folders that are either complete or absent: filled under a temporary name that nothing else has, and then renamed, or
//! removed. Nothing that existed before is removed, overwritten or replaced.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::write::fresh_names;

/// A temporary folder that is removed when this value is dropped, unless it was given its final name.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Whether the folder has its final name.
    named: bool,
}

impl Scratch {
    /// Makes an empty folder in `parent`. A missing `parent` is made as well.
    ///
    /// # Errors
    /// A `parent` in which no folder can be made.
    pub fn within(parent: &Path) -> io::Result<Self> {
        // The empty path is the working folder, which exists.
        if !parent.as_os_str().is_empty() {
            std::fs::create_dir_all(parent)?;
        }
        for name in fresh_names() {
            let path = parent.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, named: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Makes an empty folder beside `place`, whose name the folder can take later.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where something exists at `place`, including a broken link; [`ErrorKind::InvalidInput`]
    /// where `place` ends in no name; a parent folder in which no folder can be made.
    pub fn beside(place: &Path) -> io::Result<Self> {
        if place.file_name().is_none() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the path ends in no name; valid is a path that ends in the name of a new folder",
            ));
        }
        if std::fs::symlink_metadata(place).is_ok() {
            let what = "found an existing file or folder; valid is a new path";
            return Err(io::Error::new(ErrorKind::AlreadyExists, what));
        }
        Self::within(place.parent().unwrap_or(Path::new("")))
    }

    /// Returns the present path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the folder to `place`, its final name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where something has appeared at `place` meanwhile, which stays unchanged.
    pub fn become_folder(mut self, place: &Path) -> io::Result<()> {
        // A rename replaces an empty folder. By making one here first, the rename can replace no other.
        std::fs::create_dir(place)?;
        if let Err(error) = std::fs::rename(&self.path, place) {
            // The folder is removed only if it is still empty.
            let _ = std::fs::remove_dir(place);
            return Err(error);
        }
        self.named = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.named {
            // A folder that cannot be removed keeps its temporary name, which shows what it is.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_replaces_nothing_and_removes_only_itself() {
        let around = Scratch::within(&std::env::temp_dir()).unwrap();
        // A folder that a killed process has left, and an unrelated one.
        let left = around.path().join(".aegis-0123456789abcdef.part");
        let others = around.path().join("whole.part");
        for folder in [&left, &others] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("kept"), "kept").unwrap();
        }
        let place = around.path().join("whole/");
        let (given_up, whole) = (Scratch::beside(&place).unwrap(), Scratch::beside(&place).unwrap());
        assert_ne!(given_up.path(), whole.path());
        std::fs::write(whole.path().join("inside"), "inside").unwrap();
        drop(given_up);
        whole.become_folder(&place).unwrap();

        let mut names: Vec<_> =
            std::fs::read_dir(around.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names, [left.clone(), around.path().join("whole"), others.clone()]);
        for folder in [&left, &others] {
            assert_eq!(std::fs::read_to_string(folder.join("kept")).unwrap(), "kept");
        }
        assert_eq!(std::fs::read_to_string(place.join("inside")).unwrap(), "inside");
    }

    #[test]
    fn an_existing_folder_stays_even_where_it_is_empty() {
        let around = Scratch::within(&std::env::temp_dir()).unwrap();
        let place = around.path().join("place");
        let begun = Scratch::beside(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert_eq!(begun.become_folder(&place).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(Scratch::beside(&place).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(place.is_dir());
        let link = around.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(Scratch::beside(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        for wrong in [around.path().join(".."), PathBuf::new(), PathBuf::from("/")] {
            assert_eq!(
                Scratch::beside(&wrong).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{}",
                wrong.display()
            );
        }
    }

    #[test]
    fn folders_around_it_are_made() {
        let around = Scratch::within(&std::env::temp_dir()).unwrap();
        let slashed = PathBuf::from(format!("{}/deep/keys//", around.path().display()));
        let begun = Scratch::beside(&slashed).unwrap();
        std::fs::write(begun.path().join("file"), "one").unwrap();
        assert!(!slashed.exists());
        begun.become_folder(&slashed).unwrap();
        assert_eq!(crate::below(around.path()).unwrap().into_keys().collect::<Vec<_>>(), ["deep/keys/file"]);
    }
}
