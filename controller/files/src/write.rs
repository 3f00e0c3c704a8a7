//! Files that are either complete or absent. A file is written beside its final path under a temporary name that nothing
//! else has, and then replaces the file at the final path. Only a regular file is replaced, its permissions are kept, and
//! links are followed to their end.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Largest number of links that are followed before they count as a cycle; Linux follows as many.
const MOST_LINKS: usize = 40;
/// Number of temporary names that are tried before giving up.
const MOST_NAMES: usize = 100;

/// Writes a complete file. After a failure, no incomplete file is left.
///
/// # Errors
/// As [`Pending::create`] and [`Pending::commit`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut pending = Pending::create(path)?;
    pending.write_all(bytes)?;
    pending.commit()
}

/// Returns a path as Unicode text, for people and for JSON. Parts that are not Unicode are replaced by `\u{fffd}`.
pub fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// A file that is being written beside its final path, and is removed unless it is committed.
#[derive(Debug)]
pub struct Pending {
    file: File,
    /// Temporary path and final path; `None` where the output is a device or a pipe, which is written to directly.
    places: Option<(PathBuf, PathBuf)>,
}

impl Pending {
    /// Begins a file and makes the missing folders of its path. Links are followed. A path that is not a regular file, such
    /// as a device or a pipe, is written to directly and not replaced.
    ///
    /// # Errors
    /// A path that names a folder, a cycle of links, and the operating system's errors.
    pub fn create(path: &Path) -> io::Result<Self> {
        if is_folder_name(path) {
            let what = "the path names a folder; valid is a file";
            return Err(io::Error::new(ErrorKind::IsADirectory, what));
        }
        let there = match std::fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::Error::new(ErrorKind::IsADirectory, "found a folder; valid is a file"));
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Self { file, places: None });
        }
        let target = followed(path)?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)?;
        let (file, part) = create_beside(folder, there.as_ref())?;
        Ok(Self { file, places: Some((part, target)) })
    }

    /// Synchronises the file to the disk and then moves it to its final path.
    ///
    /// # Errors
    /// The operating system's error; then the temporary file is removed.
    pub fn commit(mut self) -> io::Result<()> {
        let Some((part, target)) = &self.places else { return self.file.flush() };
        self.file.sync_all()?;
        std::fs::rename(part, target)?;
        // The file has its final name, so `drop` has nothing to remove.
        self.places = None;
        Ok(())
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.places {
            // A failure to remove the file is not reported: the error that prevented the commit is.
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Returns whether a path can only name a folder: it ends in `/`, `.` or `..`, or is empty.
fn is_folder_name(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    path.file_name().is_none() || name.ends_with(b"/") || name.ends_with(b"/.")
}

/// Follows the links of a path and returns the path at their end, where nothing needs to exist. Links in the path's folders
/// are left to the operating system.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            // The path is not a link, or nothing exists there.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "found a cycle of symbolic links; valid is a path to a file"))
}

/// Makes a new file in a folder under an unused temporary name, with the permissions of the file that it will replace, if
/// there is one. Returns the file and its path.
fn create_beside(folder: &Path, there: Option<&Metadata>) -> io::Result<(File, PathBuf)> {
    for name in fresh_names() {
        let part = folder.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        match options.open(&part) {
            Ok(file) => {
                let kept = there.map_or(Ok(()), |there| keep_permissions(&file, there));
                return match kept {
                    Ok(()) => Ok((file, part)),
                    Err(error) => {
                        let _ = std::fs::remove_file(&part);
                        Err(error)
                    }
                };
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(ErrorKind::AlreadyExists))
}

/// Returns random temporary names, short enough for every file system. The first one is nearly always unused.
pub(crate) fn fresh_names() -> impl Iterator<Item = String> {
    let name = |number: usize| {
        format!(".aegis-{:016x}.part", RandomState::new().hash_one((std::process::id(), number)))
    };
    (0..MOST_NAMES).map(name)
}

/// Gives an empty file the owner and the permissions of another file.
#[cfg(unix)]
fn keep_permissions(file: &File, there: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (there.uid(), there.gid()) {
        // Only root may change the owner of a file. Without that right the file keeps its writer as its owner, like any new
        // file.
        let _ = fchown(file, Some(there.uid()), Some(there.gid()));
    }
    // A file system without permissions refuses to set them, and reports the same permissions for every file.
    if made.permissions() == there.permissions() { Ok(()) } else { file.set_permissions(there.permissions()) }
}

#[cfg(not(unix))]
fn keep_permissions(file: &File, there: &Metadata) -> io::Result<()> {
    file.set_permissions(there.permissions())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aegis-files-write-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        crate::below(folder).unwrap().into_keys().collect()
    }

    #[test]
    fn a_file_is_whole_or_absent_and_leaves_nothing_beside_it() {
        let folder = folder("whole");
        let path = folder.join("more/file");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mut dropped = Pending::create(&path).unwrap();
        dropped.write_all(b"three").unwrap();
        drop(dropped);
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(&folder)),
            (b"two".to_vec(), vec!["more/file".into()])
        );
    }

    #[test]
    fn a_name_of_a_folder_is_refused() {
        let folder = folder("folders");
        for path in [folder.clone(), folder.join("new/"), folder.join("."), folder.join(".."), PathBuf::new()]
        {
            let error = write_atomically(&path, b"one").unwrap_err();
            assert!(error.to_string().contains("valid is a file"), "{}: {error}", path.display());
        }
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn a_link_is_followed_and_stays_and_permissions_stay() {
        let folder = folder("links");
        let kept = folder.join("kept");
        std::fs::write(&kept, "old").unwrap();
        std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(folder.join("far")).unwrap();
        symlink("../kept", folder.join("far/link")).unwrap();
        symlink("far/link", folder.join("link")).unwrap();
        symlink("later", folder.join("dangling")).unwrap();
        write_atomically(&folder.join("link"), b"new").unwrap();
        write_atomically(&folder.join("dangling"), b"there").unwrap();
        assert!(folder.join("link").is_symlink() && folder.join("far/link").is_symlink());
        assert_eq!(std::fs::read(&kept).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(folder.join("later")).unwrap(), b"there");
        symlink("b", folder.join("a")).unwrap();
        symlink("a", folder.join("b")).unwrap();
        assert!(write_atomically(&folder.join("a"), b"never").is_err());
    }

    #[test]
    fn a_path_that_is_no_regular_file_is_written_to_and_stays() {
        // A named pipe stands in for a device: a bug in the tested code could remove a real device from the machine.
        let folder = folder("devices");
        let (pipe, link) = (folder.join("pipe"), folder.join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("pipe", &link).unwrap();
        for path in [&pipe, &link] {
            let read = std::thread::scope(|scope| {
                let reader = scope.spawn(|| std::fs::read(&pipe));
                write_atomically(path, b"through").unwrap();
                reader.join().unwrap()
            });
            assert_eq!(read.unwrap(), b"through");
        }
        assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo() && link.is_symlink());
        assert_eq!(names(&folder), ["link", "pipe"]);
    }

    #[test]
    fn writers_of_one_file_do_not_disturb_each_other() {
        let folder = folder("together");
        let path = folder.join("same");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_atomically(path, &[writer; 4096]).unwrap()));
            }
        });
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() == 4096 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(&folder), ["same"]);
    }

    #[test]
    fn a_name_as_long_as_the_system_takes_is_written() {
        let folder = folder("long");
        let path = folder.join("m".repeat(255));
        write_atomically(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"whole");
    }
}
