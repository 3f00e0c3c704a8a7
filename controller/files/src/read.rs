//! Files that people bring, read for what they are: what stands in a file's place is named, and a byte-order mark is none of
//! its text.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::mistaken;

/// What editors of other systems put before UTF-8 text.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// How many bytes say of what kind a file is.
const FIRST: u64 = 4096;

/// A file's bytes.
///
/// # Errors
/// What the system says, and [`ErrorKind::InvalidData`] with what stands in the file's place: nothing, a pointer of Git
/// LFS, a web page.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    match mistaken::never_wanted(&bytes) {
        Some(what) => Err(io::Error::new(ErrorKind::InvalidData, what)),
        None => Ok(bytes),
    }
}

/// A file's text, without a byte-order mark.
///
/// # Errors
/// As [`read_bytes`], and for bytes that are no UTF-8 what they seem to be instead.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = read_bytes(path)?;
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

/// What a file is that somebody failed to read as another kind, where its first bytes say so.
pub fn instead_of(path: &Path) -> Option<String> {
    let mut first = Vec::new();
    File::open(path).ok()?.take(FIRST).read_to_end(&mut first).ok()?;
    mistaken::never_wanted(&first)
        .map(str::to_owned)
        .or_else(|| mistaken::kind(&first).map(|kind| format!("found {kind}")))
}

/// The same bytes without a byte-order mark before them.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
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
}
