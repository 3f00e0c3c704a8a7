//! Opens a store read-only: normally, or as an immutable file, for which SQLite creates no files beside it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StoreError, TIMEOUT};
use aegis_files::instead_of;

/// Returns the path of a non-empty log beside a store, left by a killed or running run: the write-ahead log of
/// transactions that are not in the file yet, or the rollback journal of a transaction that is only partly in it.
fn log_of(path: &Path) -> Option<PathBuf> {
    // Logs lie beside the file itself, also where the path is a link to it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    ["-wal", "-journal"].into_iter().find_map(|end| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(end);
        let log = path.with_file_name(name);
        std::fs::metadata(&log).is_ok_and(|log| log.len() > 0).then_some(log)
    })
}

/// Returns whether the store's file is incomplete without a log beside it, as after a run that was killed.
pub fn has_log(path: &Path) -> bool {
    log_of(path).is_some()
}

/// Checks that no log lies beside a store, as it does after a killed run or during one.
///
/// # Errors
/// [`StoreError::Log`] where a log is found.
pub fn check_closed(path: &Path) -> Result<(), StoreError> {
    match log_of(path) {
        None => Ok(()),
        Some(log) => Err(StoreError::Log { path: path.to_owned(), log, source: None }),
    }
}

/// Opens a store read-only.
///
/// SQLite creates files beside a store that was written through a write-ahead log, and leaves them there. Where no log
/// is found, the file is the whole store and is opened as immutable, without creating any file.
pub(super) fn read_only(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::None { path: path.to_owned() });
    }
    if !path.is_file() {
        return Err(no_store(path, "a folder, a pipe or a device".into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = if has_log(path) {
        Connection::open_with_flags(path, flags).and_then(usable)
    } else {
        Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI).and_then(usable)
    };
    opened.map_err(|error| refused(path, error))
}

/// Returns the error for a store that cannot be opened.
pub(super) fn refused(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        let found = instead_of(&path).unwrap_or_else(|| "a file that is no SQLite database".into());
        return no_store(&path, found.trim_start_matches("found ").to_owned());
    }
    match log_of(&path) {
        Some(log) if is_for_want_of_files(&source) || is_io(&source) => {
            StoreError::Log { path, log, source: Some(source) }
        }
        _ => StoreError::Database { path, source },
    }
}

/// Returns the error for a file that is not a store.
pub(super) fn no_store(path: &Path, found: String) -> StoreError {
    let (field, valid) = ("file".into(), "a store that `aegis experiment run` made".into());
    StoreError::Invalid { path: path.to_owned(), field, found, valid }
}

/// Checks that an SQLite database has the tables of a store.
pub(super) fn check_is_store(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'store')";
    match connection.query_row(query, [], |row| row.get(0)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(no_store(path, "an SQLite database of something else".into())),
        Err(source) => Err(StoreError::Database { path: path.to_owned(), source }),
    }
}

/// Returns the items of a database that are not tables of a store, each as its type and name.
pub(super) fn additions(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT type || ' ' || name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                 AND NOT (type = 'table' AND name IN ('store', 'episodes', 'traces', 'interruptions', 'seals', 'parts')) \
                 ORDER BY type, name";
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

/// Refuses to write to a database with triggers, which may change what is stored.
pub(super) fn check_no_trigger(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let found = additions(connection).map_err(|source| refused(path, source))?;
    match found.into_iter().find(|one| one.starts_with("trigger ")) {
        None => Ok(()),
        Some(found) => {
            let valid =
                "a store without triggers, which may change stored results: choose another --out".into();
            Err(StoreError::Invalid { path: path.to_owned(), field: "database".into(), found, valid })
        }
    }
}

/// Returns advice about a failure of the disk or of permissions, to be appended to the error's message.
pub(super) fn advice(source: &rusqlite::Error) -> &'static str {
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            "; SQLite writes to this file and beside it: free space on that disk, or check the disk for errors, and run this \
             again; stored results are kept"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; SQLite opens this file and makes others beside it: check the permissions of file and folder"
        }
        _ => "",
    }
}

/// Sets the connection's timeout and reads once, so that errors of opening appear here.
fn usable(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(TIMEOUT)?;
    connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_for_want_of_files(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// Returns whether an error is one of input or output, as where a journal was rolled back and may not be removed.
fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Returns the URI that opens a file as immutable.
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
    fn a_database_of_something_else_is_no_store_and_a_full_disk_has_its_advice() {
        let folder = aegis_files::Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE people (name TEXT);").unwrap();
        for error in
            [super::super::Store::read(&path, "any").err(), super::super::Store::open(&path, "any").err()]
        {
            let error = error.unwrap().to_string();
            assert!(
                error.contains("found an SQLite database of something else; valid is a store"),
                "{error}"
            );
        }
        let read = read_only(folder.path()).unwrap_err().to_string();
        assert!(read.contains("found a folder"), "{read}");
        let failed = |code| StoreError::Database {
            path: path.clone(),
            source: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None),
        };
        for code in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_IOERR] {
            let said = failed(code).to_string();
            assert!(said.contains("episodes.sqlite") && said.contains("free space on that disk"), "{said}");
        }
        assert!(!failed(rusqlite::ffi::SQLITE_BUSY).to_string().contains("room"));
    }

    #[test]
    fn a_path_is_one_name_in_its_uri() {
        let uri = immutable(Path::new("/a b/ü?c#d%/episodes.sqlite"));
        assert_eq!(uri, "file:/a%20b/%C3%BC%3Fc%23d%25/episodes.sqlite?immutable=1");
    }
}
