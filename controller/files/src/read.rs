//! Reading of files that users supply. Where another kind of file stands in a file's place, the error names that kind. A
//! byte-order mark is not part of a file's text.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::mistaken::{self, MARK};

/// Number of first bytes from which the kind of a file is recognised.
const FIRST: u64 = 4096;
/// Largest size, bytes, of a text that people write or that describes one thing: a thousand times the size of the shipped
/// ones.
const TEXT: u64 = 64 << 20;
/// Largest size, bytes, of a text with a row or a number for each of many things.
const ROWS: u64 = 1 << 30;

/// Opens a regular file for reading. A pipe is refused: opening one waits for a writer, which may never come, and a pipe
/// can be read only once.
///
/// # Errors
/// The operating system's error, and [`ErrorKind::InvalidInput`] for a path that is not a regular file, with what it is.
pub fn open_file(path: &Path) -> io::Result<File> {
    let there = std::fs::metadata(path)?;
    if there.is_file() {
        return File::open(path);
    }
    let what = if there.is_dir() { "a folder" } else { "a pipe, a device or a socket" };
    Err(io::Error::new(ErrorKind::InvalidInput, format!("found {what}; valid is a regular file")))
}

/// Reads a file's bytes, of any kind.
///
/// # Errors
/// As [`open_file`], and [`ErrorKind::OutOfMemory`] for a file that does not fit into memory.
pub fn read_any(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(open_file(path)?, u64::MAX)
}

/// Reads a file's bytes.
///
/// # Errors
/// As [`read_any`], and [`ErrorKind::InvalidData`] with what stands in the file's place: an empty file, a Git LFS pointer,
/// or a web page.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    wanted(read_any(path)?)
}

/// Reads a file's text, without a byte-order mark.
///
/// # Errors
/// As [`read_bytes`]; for bytes that are not UTF-8, with the kind of file that they seem to be; and for a text too long for
/// a plan, a card or anything else that describes one thing.
pub fn read_text(path: &Path) -> io::Result<String> {
    text(wanted(read_up_to(open_file(path)?, TEXT)?)?)
}

/// Reads a text with a row or a number for each of many things, as [`read_text`] does but with a larger limit. Also reads a
/// pipe that a shell has opened: `/dev/stdin`, or the path that `<(…)` gives.
///
/// # Errors
/// As [`read_text`].
pub fn read_rows(path: &Path) -> io::Result<String> {
    let opened = ["/dev", "/proc"].iter().any(|place| path.starts_with(place)) && !path.is_dir();
    let file = if opened { File::open(path)? } else { open_file(path)? };
    text(wanted(read_up_to(file, ROWS)?)?)
}

/// Reads the bytes of a file that has at most `most` bytes.
fn read_up_to(file: File, most: u64) -> io::Result<Vec<u8>> {
    let too_long = |found: &str| {
        let what = format!("the file has {found} bytes; valid is at most {most} for a file of its kind");
        Err(io::Error::new(ErrorKind::FileTooLarge, what))
    };
    let length = file.metadata()?.len();
    if length > most {
        return too_long(&length.to_string());
    }
    let mut bytes = Vec::new();
    let reserved = usize::try_from(length).is_ok_and(|length| bytes.try_reserve_exact(length).is_ok());
    if !reserved {
        let what = format!("the file has {length} bytes, more than this machine's memory takes");
        return Err(io::Error::new(ErrorKind::OutOfMemory, what));
    }
    // The limit is checked again while reading: a pipe has no length, and a file may grow.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { too_long(&format!("more than {most}")) } else { Ok(bytes) }
}

/// Returns the bytes, or an error where they are known to be a placeholder: nothing, a Git LFS pointer, or a web page.
fn wanted(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match mistaken::never_wanted(&bytes) {
        Some(what) => Err(io::Error::new(ErrorKind::InvalidData, what)),
        None => Ok(bytes),
    }
}

/// Decodes UTF-8 text, without a byte-order mark.
fn text(mut bytes: Vec<u8>) -> io::Result<String> {
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    String::from_utf8(bytes).map_err(|error| {
        let (place, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let what = if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            "the text is UTF-16; valid is UTF-8".into()
        } else if let Some(kind) = mistaken::kind(bytes).filter(|kind| !kind.ends_with("text")) {
            format!("expected text, found {kind}")
        } else {
            format!("expected UTF-8 text, found other bytes from byte {place} on")
        };
        io::Error::new(ErrorKind::InvalidData, what)
    })
}

/// Returns the kind of the file at a path, where its first bytes determine it. Called after reading the file as another
/// kind has failed.
pub fn instead_of(path: &Path) -> Option<String> {
    let mut first = Vec::new();
    open_file(path).ok()?.take(FIRST).read_to_end(&mut first).ok()?;
    mistaken::never_wanted(&first)
        .map(str::to_owned)
        .or_else(|| mistaken::kind(&first).map(|kind| format!("found {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("aegis-files-read-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn text_is_read_without_its_mark_and_anything_else_is_named() {
        let folder = folder("text");
        let path = folder.join("file");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_text(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"\xef\xbb\xbfa = 1\n").as_deref(), Ok("a = 1\n"));
        assert_eq!(read(b"a = 1\n").as_deref(), Ok("a = 1\n"));
        for (bytes, said) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"\xff\xfea\0", "UTF-16"),
            (b"PAR1\xff\xff", "a Parquet file"),
            (b"abc\xff", "from byte 3 on"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(read_bytes(&folder.join("absent")).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_refused_and_a_pipe_of_a_shell_is_read() {
        let folder = folder("pipe");
        let pipe = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let refused =
            |error: Option<io::Error>| error.is_some_and(|error| error.to_string().contains("found a pipe"));
        assert!(refused(read_bytes(&pipe).err()) && refused(read_any(&pipe).err()));
        assert!(refused(read_text(&pipe).err()) && refused(read_rows(&pipe).err()));
        assert!(refused(crate::sha256(&pipe).err()) && instead_of(&pipe).is_none());
        assert!(read_text(&folder).unwrap_err().to_string().contains("found a folder"));
        std::fs::remove_dir_all(folder).unwrap();

        let (reader, mut writer) = io::pipe().unwrap();
        let there = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        io::Write::write_all(&mut writer, b"label,score\n").unwrap();
        drop(writer);
        assert_eq!(read_rows(Path::new(&there)).unwrap(), "label,score\n");
    }

    #[test]
    fn a_text_is_no_longer_than_its_kind() {
        let folder = folder("long");
        let path = folder.join("file");
        let sized = |length| {
            File::create(&path).unwrap().set_len(length).unwrap();
            read_text(&path).map_err(|error| error.to_string())
        };
        let error = sized(TEXT + 1).unwrap_err();
        assert!(error.contains("67108865 bytes") && error.contains("at most 67108864"), "{error}");
        File::create(&path).unwrap().set_len(ROWS + 1).unwrap();
        assert!(read_rows(&path).unwrap_err().to_string().contains("at most 1073741824"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
