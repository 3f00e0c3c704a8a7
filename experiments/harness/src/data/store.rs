//! Store of an experiment's results: one SQLite file, written with one transaction for each set. Every stored set is
//! complete; a run that is killed loses only the sets that were running.

mod contents;
mod file_system;
mod open;
mod seals;
mod write;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::Start;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::data::trace::Layout;
use aegis_core::EpisodeKey;

pub use contents::{StoredEpisode, StoredSet, stored_episodes};
use open::read_only;
pub use open::{check_closed, has_log};
pub use seals::{Chain, Part};

/// Version of the tables. Since version 3, a seal names the lock under which its set ran.
const SCHEMA: u32 = 3;
/// Version with a chain of seals and traces of layout 2, but without locks. It is upgraded to [`SCHEMA`] when the next
/// set is stored.
const WITHOUT_LOCKS: u32 = 2;
/// First version, without seals. It is read and written in its own layout and never upgraded.
const UNSEALED: u32 = 1;
/// Time that a write waits for another process that reads or writes.
const TIMEOUT: Duration = Duration::from_secs(30);

const TABLES: &str = "
CREATE TABLE store (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE episodes (
    task INTEGER NOT NULL, initial_state INTEGER NOT NULL, replicate INTEGER NOT NULL, arm TEXT NOT NULL,
    place INTEGER NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (task, initial_state, replicate, arm)
) STRICT;
CREATE TABLE traces (
    task INTEGER NOT NULL, initial_state INTEGER NOT NULL, replicate INTEGER NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (task, initial_state, replicate)
) STRICT;
CREATE TABLE interruptions (what TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
";

/// Error of writing or reading a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file does not exist.
    #[error("{path}: found no store; valid is one that `aegis experiment run` made", path = path.display())]
    None {
        /// The file.
        path: PathBuf,
    },
    /// SQLite, or the disk below it, failed.
    #[error("{path}: {source}{}", open::advice(source), path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Error of SQLite.
        source: rusqlite::Error,
    },
    /// A log of a killed or running run lies beside the store, and the store cannot be opened with it.
    #[error(
        "{path}: {reason}found {log}, the log of a run that was killed or still runs, without which the store's file is incomplete: run \
         `aegis experiment report` there as a user who may write, or on a copy of the whole folder",
        path = path.display(), log = log.display(),
        reason = source.as_ref().map_or(String::new(), |source| format!("cannot open: {source}; "))
    )]
    Log {
        /// The file.
        path: PathBuf,
        /// Path of the log.
        log: PathBuf,
        /// Error of SQLite, where opening was tried.
        source: Option<rusqlite::Error>,
    },
    /// The file was removed or replaced since it was opened.
    #[error(
        "{path}: was removed or replaced while it was written, so later results are not kept; valid is a folder that nothing \
         else changes during a run: run it again",
        path = path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The store has another version, is of another experiment, or contains something that no run writes.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Name of the value.
        field: String,
        /// Value found.
        found: String,
        /// Description of the valid values.
        valid: String,
    },
}

impl StoreError {
    /// Returns whether the disk or the operating system failed, so that the request itself was valid.
    pub fn is_of_the_system(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        let Self::Database { source, .. } = self else { return false };
        let code = source.sqlite_error_code();
        matches!(
            code,
            Some(
                Code::DiskFull
                    | Code::SystemIoFailure
                    | Code::OutOfMemory
                    | Code::ReadOnly
                    | Code::CannotOpen
                    | Code::PermissionDenied
                    | Code::DatabaseBusy
                    | Code::DatabaseLocked
            )
        )
    }
}

/// Open store of the results of one experiment.
pub struct Store {
    path: PathBuf,
    connection: Connection,
    schema: u32,
    /// Newest seal of the lock under which sets are stored from now on.
    lock: Option<String>,
    /// Identity of the file that was opened.
    file: Option<FileId>,
}

/// Identity of a file on this machine: device and inode number.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Store {
    /// Opens the store of the experiment with `registration_id` for writing, and creates the store if there is none.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a store of another experiment or version.
    pub fn open(path: &Path, registration_id: &str) -> Result<Self, StoreError> {
        Self::open_of(path, registration_id, &[])
    }

    /// Opens a store like [`Store::open`]. A new store is one merged from `parts`: its chain of seals starts from their
    /// last seals.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_of(path: &Path, registration_id: &str, parts: &[Part]) -> Result<Self, StoreError> {
        Self::open_on(path, registration_id, parts, file_system::is_shared(path))
    }

    /// Opens a store like [`Store::open_of`], given whether other machines may write to the folder.
    fn open_on(
        path: &Path,
        registration_id: &str,
        parts: &[Part],
        is_shared: bool,
    ) -> Result<Self, StoreError> {
        if path.exists() && !path.is_file() {
            return Err(open::no_store(path, "a folder, a pipe or a device".into()));
        }
        let prepare = |connection: &mut Connection| {
            connection.busy_timeout(TIMEOUT)?;
            let there: bool =
                connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
            let before: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            // An existing store keeps its journal mode, because a seal may cover the file's bytes. The exception is a
            // write-ahead log in a folder shared by machines, where that mode does not work.
            if is_shared && before == "wal" {
                connection.pragma_update(None, "journal_mode", "DELETE")?;
            } else if !is_shared && !there {
                connection.pragma_update(None, "journal_mode", "WAL")?;
            }
            // Committed transactions also survive a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let there: bool =
                transaction.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
            if !there {
                transaction.execute_batch(TABLES)?;
                transaction.execute_batch(seals::TABLES)?;
                seals::begin(&transaction, parts)?;
                let mut insert = transaction.prepare("INSERT INTO store VALUES (?1, ?2)")?;
                insert.execute(params!["schema", SCHEMA.to_string()])?;
                insert.execute(params!["belongs", registration_id])?;
                drop(insert);
            }
            transaction.commit()
        };
        let opened = Connection::open(path).and_then(|mut connection| {
            prepare(&mut connection)?;
            Ok(connection)
        });
        Self::checked(path, opened.map_err(|error| open::refused(path, error))?, registration_id)
    }

    /// Opens an existing store read-only.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::None`] where there is no store.
    pub fn read(path: &Path, registration_id: &str) -> Result<Self, StoreError> {
        Self::checked(path, read_only(path)?, registration_id)
    }

    fn checked(path: &Path, connection: Connection, registration_id: &str) -> Result<Self, StoreError> {
        open::check_is_store(path, &connection)?;
        if !connection.is_readonly(rusqlite::MAIN_DB).unwrap_or(false) {
            open::check_no_trigger(path, &connection)?;
        }
        let mut store =
            Self { path: path.to_owned(), connection, schema: SCHEMA, lock: None, file: file_id(path) };
        let nothing = || "nothing".to_owned();
        let schema = store.value("schema")?;
        let known =
            [SCHEMA, WITHOUT_LOCKS, UNSEALED].into_iter().find(|known| schema == Some(known.to_string()));
        store.schema = known.ok_or_else(|| {
            store.invalid("schema", schema.unwrap_or_else(nothing), format!("{UNSEALED} to {SCHEMA}"))
        })?;
        let found = store.value("belongs")?;
        if found.as_deref() != Some(registration_id) {
            let valid = format!(
                "{registration_id}, the seal in the plan's lock; store another plan's results in another folder"
            );
            return Err(store.invalid("belongs", found.unwrap_or_else(nothing), valid));
        }
        Ok(store)
    }

    /// Checks that the store's path still names the file that was opened.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where the file was removed or replaced since it was opened.
    pub fn check_not_replaced(&self) -> Result<(), StoreError> {
        if self.file.is_some() && file_id(&self.path) == self.file {
            return Ok(());
        }
        Err(StoreError::Gone { path: self.path.clone() })
    }

    /// Reads a value of the `store` table.
    fn value(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM store WHERE name = ?1";
        let found = self.connection.query_row(query, [name], |row| row.get(0)).optional();
        found.map_err(|source| self.failed(source))
    }

    /// Returns the store with the newest seal of the lock under which its next sets run.
    pub fn under(self, lock: &str) -> Self {
        Self { lock: Some(lock.to_owned()), ..self }
    }

    /// Returns the layout of the traces that are written beside this store.
    pub fn trace_layout(&self) -> Layout {
        if self.is_sealed() { Layout::Two } else { Layout::One }
    }

    /// Returns whether sets and interruptions of this store are sealed; a store of the first version has no seals.
    pub fn is_sealed(&self) -> bool {
        self.schema != UNSEALED
    }

    /// Returns whether the store's version records the lock under which a set ran.
    fn names_locks(&self) -> bool {
        self.schema == SCHEMA
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn invalid(&self, field: &str, found: String, valid: String) -> StoreError {
        StoreError::Invalid { path: self.path.clone(), field: field.to_owned(), found, valid }
    }

    /// Recomputes the chain of seals from the stored rows; `None` for a store of the version without seals.
    ///
    /// # Errors
    /// [`StoreError::Database`] where a table cannot be read.
    pub fn chain(&self) -> Result<Option<Chain>, StoreError> {
        if !self.is_sealed() {
            return Ok(None);
        }
        let registration_id = self.value("belongs")?.unwrap_or_default();
        let made = seals::chain(&self.connection, &registration_id, &self.sets()?);
        made.map(Some).map_err(|source| self.failed(source))
    }

    /// Returns the items of the database that are not tables of a store, each as its type and name, such as `trigger t`. Indices
    /// that SQLite makes by itself are left out.
    ///
    /// # Errors
    /// [`StoreError::Database`] where the database cannot be read.
    pub fn additions(&self) -> Result<Vec<String>, StoreError> {
        open::additions(&self.connection).map_err(|source| self.failed(source))
    }

    /// Moves the contents of the write-ahead log into the store's file, so that the file alone is the store.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        moved.map_err(|source| self.failed(source))
    }
}

/// Converts a key to SQLite's signed integers, with the same bits.
fn columns(key: EpisodeKey) -> [i64; 3] {
    [key.start.task as i64, key.start.initial_state as i64, key.replicate as i64]
}

fn key([task, initial_state, replicate]: [i64; 3]) -> EpisodeKey {
    let start = Start { task: task as usize, initial_state: initial_state as usize };
    EpisodeKey { start, replicate: replicate as u64 }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{Error, SQLITE_FULL, SQLITE_IOERR, SQLITE_NOTADB};

    use super::*;
    use aegis_files::Scratch;

    fn mode(store: &Store) -> String {
        store.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap()
    }

    fn beside(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn in_a_shared_folder_no_memory_is_shared_and_the_file_is_the_store() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        let mut store = Store::open_on(&path, "study", &[], true).unwrap();
        assert_eq!(mode(&store), "delete");
        store.interrupted("one", "unplugged").unwrap();
        assert_eq!(beside(&path), ["episodes.sqlite"], "while it is open, too");
        assert!(!has_log(&path));
        store.checkpoint().unwrap();
        drop(store);
        // On a file system of one machine the journal mode is kept, so that the file's bytes still match its seal.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(mode(&Store::open_on(&path, "study", &[], false).unwrap()), "delete");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(Store::read(&path, "study").unwrap().interruptions().unwrap().len(), 1);
    }

    #[test]
    fn a_store_of_a_local_disk_loses_its_log_in_a_shared_folder() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        let mut store = Store::open_on(&path, "study", &[], false).unwrap();
        assert_eq!(mode(&store), "wal");
        store.interrupted("one", "unplugged").unwrap();
        assert!(has_log(&path));
        drop(store);
        let mut store = Store::open_on(&path, "study", &[], true).unwrap();
        assert_eq!(mode(&store), "delete");
        store.interrupted("two", "unplugged").unwrap();
        assert_eq!(beside(&path), ["episodes.sqlite"]);
        assert_eq!(store.interruptions().unwrap().len(), 2);
        assert!(store.chain().unwrap().unwrap().wrong.is_empty());
    }

    #[test]
    fn a_journal_of_a_killed_run_is_not_ignored() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        drop(Store::open_on(&path, "study", &[], true).unwrap());
        std::fs::write(folder.path().join("episodes.sqlite-journal"), "left").unwrap();
        assert!(has_log(&path));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(has_log(&link), "it lies beside the file, not beside a link to it");
    }

    #[test]
    fn a_store_with_a_trigger_is_read_and_not_written() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        drop(Store::open(&path, "study").unwrap());
        assert_eq!(Store::read(&path, "study").unwrap().additions().unwrap(), Vec::<String>::new());
        let sql = "CREATE TRIGGER wins AFTER INSERT ON episodes BEGIN UPDATE episodes SET result = ''; END;";
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert_eq!(Store::read(&path, "study").unwrap().additions().unwrap(), ["trigger wins"]);
        let error = Store::open(&path, "study").err().unwrap().to_string();
        assert!(error.contains("database: found trigger wins; valid is a store without triggers"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_store_is_named_by_its_kind() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4096\n".repeat(20);
        for (bytes, word) in [(pointer.as_str(), "Git LFS"), (&"no store at all".repeat(100), "found text")] {
            std::fs::write(&path, bytes).unwrap();
            let error = Store::read(&path, "study").err().unwrap().to_string();
            assert!(error.contains(word) && error.contains("aegis experiment run"), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_system() {
        let of = |code| {
            let source = rusqlite::Error::SqliteFailure(Error::new(code), None);
            StoreError::Database { path: "episodes.sqlite".into(), source }
        };
        assert!(of(SQLITE_FULL).is_of_the_system() && of(SQLITE_IOERR).is_of_the_system());
        assert!(!of(SQLITE_NOTADB).is_of_the_system());
        assert!(!StoreError::None { path: "episodes.sqlite".into() }.is_of_the_system());
    }
}
