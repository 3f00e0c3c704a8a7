//! A store opened to be read: as SQLite opens it, or as a file that nobody writes where its folder takes no new files.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{PATIENCE, StoreError};

/// The log beside a store that a run writes to.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("-wal");
    path.with_file_name(name)
}

/// Whether results lie in the log beside a store and not in its file yet, as after a run that was killed.
pub fn has_log(path: &Path) -> bool {
    std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0)
}

/// Opens a store to read it.
///
/// SQLite wants to make files beside a store whose results go through a log. Where the folder takes none, and no log lies
/// there, nobody is writing, and the file is read as it is.
pub(super) fn read_only(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::None { path: path.to_owned() });
    }
    let failed = |source| StoreError::Database { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(usable);
    match opened {
        Err(error) if is_for_want_of_files(&error) => {
            if has_log(path) {
                return Err(StoreError::Log { path: path.to_owned(), log: log_of(path) });
            }
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(path), flags).and_then(usable).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

/// The connection, once it has read something.
fn usable(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(PATIENCE)?;
    connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_for_want_of_files(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The URI of a file that does not change while it is read.
fn immutable(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_name_in_its_uri() {
        let uri = immutable(Path::new("/a b/ü?c#d%/episodes.sqlite"));
        assert_eq!(uri, "file:/a%20b/%C3%BC%3Fc%23d%25/episodes.sqlite?immutable=1");
    }
}
