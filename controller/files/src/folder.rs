//! Folders that are either whole or absent: filled under a name that nothing else has, then given their own name, or removed.
//! Nothing that was there before is removed, written over or replaced.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::write::fresh_names;

/// A folder that goes away with this value, unless it became another.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Whether it has another name by now.
    named: bool,
}

impl Scratch {
    /// Makes an empty folder in `parent`, which is made where it is missing.
    ///
    /// # Errors
    /// A `parent` that takes no folder.
    pub fn within(parent: &Path) -> io::Result<Self> {
        // The empty path is the working folder, which is there.
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

    /// Makes an empty folder beside `place`, which it can become.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where there is something at `place`, a broken link included; a folder around it that takes
    /// no folder.
    pub fn beside(place: &Path) -> io::Result<Self> {
        if place.file_name().is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the path ends in no name of a new folder"));
        }
        if std::fs::symlink_metadata(place).is_ok() {
            let what = "something is there already; valid is a new folder";
            return Err(io::Error::new(ErrorKind::AlreadyExists, what));
        }
        Self::within(place.parent().unwrap_or(Path::new("")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where something has come to `place` meanwhile, which stays as it is.
    pub fn become_folder(mut self, place: &Path) -> io::Result<()> {
        // A rename replaces an empty folder; the only one that it can find there is this one.
        std::fs::create_dir(place)?;
        if let Err(error) = std::fs::rename(&self.path, place) {
            // Goes only where nobody has put anything into it.
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
            // What cannot be removed has a name that says what it is.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_nobodys_name_and_removes_nothing_but_itself() {
        let around = Scratch::within(&std::env::temp_dir()).unwrap();
        // What a killed process has left, and what is anybody's.
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
    fn what_is_at_the_place_stays_though_it_be_empty() {
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
