//! Files that are either whole or absent. What is written goes beside its place under a name that nobody else has, and then
//! takes the place of what was there: of a regular file alone, whose permissions stay, at the end of every link.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Links that are followed before they are taken for a circle; as many as Linux follows.
const MOST_LINKS: usize = 40;
/// Names that are tried before something else must be wrong.
const MOST_NAMES: usize = 100;

/// Writes a whole file; nothing half-written stays when it fails.
///
/// # Errors
/// As [`Pending::create`] and [`Pending::commit`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut pending = Pending::create(path)?;
    pending.write_all(bytes)?;
    pending.commit()
}

/// A path for people and for JSON, which has no other text than Unicode: what is none becomes `\u{fffd}`.
pub fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// A file that is being written beside its place, and is gone unless it is committed.
#[derive(Debug)]
pub struct Pending {
    file: File,
    /// The file beside the place, and the place; none for what is written as it is, a device or a pipe.
    places: Option<(PathBuf, PathBuf)>,
}

impl Pending {
    /// Begins a file, and makes the folders around it. A link is followed to what it names. What is there and is no regular
    /// file, as a device or a pipe, is written to and stays what it is.
    ///
    /// # Errors
    /// A path that names a folder, links in a circle, and what the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        if is_folder_name(path) {
            let what = "the name is a folder's; valid is a file";
            return Err(io::Error::new(ErrorKind::IsADirectory, what));
        }
        let there = match std::fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::Error::new(ErrorKind::IsADirectory, "a folder is there; valid is a file"));
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

    /// Puts the file in its place, once all of it is on the disk.
    ///
    /// # Errors
    /// What the system says; then nothing of it stays.
    pub fn commit(mut self) -> io::Result<()> {
        let Some((part, target)) = &self.places else { return self.file.flush() };
        self.file.sync_all()?;
        std::fs::rename(part, target)?;
        // In its place: there is nothing left to remove.
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
            // The error to report is the one that kept it from its place.
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Whether a path can only be a folder's: it ends in `/`, `.` or `..`, or is empty.
fn is_folder_name(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    path.file_name().is_none() || name.ends_with(b"/") || name.ends_with(b"/.")
}

/// The path at the end of a path's links; there need not be anything yet. Folders on the way are left to the system.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            // It is no link, or nothing is there.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "links in a circle"))
}

/// A new file in a folder under a name that nothing has, with the permissions of what it will replace.
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

/// Names that nothing has by chance, short enough for every file system; the first will nearly always do.
pub(crate) fn fresh_names() -> impl Iterator<Item = String> {
    let name = |number: usize| {
        format!(".aegis-{:016x}.part", RandomState::new().hash_one((std::process::id(), number)))
    };
    (0..MOST_NAMES).map(name)
}

/// Gives a file the owner and the permissions of another, before anything is in it.
#[cfg(unix)]
fn keep_permissions(file: &File, there: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (there.uid(), there.gid()) {
        // Only root may give a file away. Without that it stays its writer's, as a new file is.
        let _ = fchown(file, Some(there.uid()), Some(there.gid()));
    }
    // A file system without permissions refuses to set them, and gives every file the same ones.
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
    fn what_is_no_regular_file_is_written_to_and_stays() {
        // A named pipe stands for a device, which a mistake in what is tested here would take from the whole machine.
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
