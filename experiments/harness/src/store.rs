//! Results on disk: one SQLite file, one transaction for the twins of an episode.
//! What is in it is whole; a run that is killed loses what was in flight and nothing else.

mod contents;
mod file_system;
mod landing;
mod open;
mod seals;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::Start;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::key::EpisodeKey;
use crate::trace::Layout;

pub use contents::{StoredEpisode, StoredSet, stored_episodes};
use open::read_only;
pub use open::{check_closed, has_log};
pub use seals::{Chain, Part};

/// Version of the tables: in 3 seals say under which lock a set ran.
const SCHEMA: u32 = 3;
/// The version before it, with a chain of seals and traces of layout 2. It becomes one of the newest with the next set.
const WITHOUT_LOCKS: u32 = 2;
/// The first version, which is read, and written on, as it was.
const UNSEALED: u32 = 1;
/// How long a write waits for another process that reads or writes.
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

/// Why results cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("{path}: found no store; valid is one that `aegis experiment run` made", path = path.display())]
    None {
        /// The file.
        path: PathBuf,
    },
    /// SQLite, or the disk under it, failed.
    #[error("{path}: {source}{}", open::advice(source), path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// What a run that was killed, or goes on, keeps beside the store lies there, and the store cannot be opened with it.
    #[error(
        "{path}: {reason}{log} is of a run that was killed or goes on, so the store's file is not all of it: run \
         `aegis experiment report` there as somebody who may write, or on a copy of the whole folder",
        path = path.display(), log = log.display(),
        reason = source.as_ref().map_or(String::new(), |source| format!("cannot open: {source}; "))
    )]
    Log {
        /// The file.
        path: PathBuf,
        /// What lies beside it.
        log: PathBuf,
        /// What SQLite said, where it was asked.
        source: Option<rusqlite::Error>,
    },
    /// The file is another than the one that was opened, or there is none.
    #[error(
        "{path}: was removed or replaced while it was written, so what ran since is not kept; valid is a folder that nothing \
         else changes while a run goes on: run it again",
        path = path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The store is of another version or another experiment, or holds what no run writes.
    #[error("{path}: {field}: found {found}; valid is {valid}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which value.
        field: String,
        /// What is there.
        found: String,
        /// What would be valid.
        valid: String,
    },
}

impl StoreError {
    /// Whether the disk or the system failed, and nothing is wrong with what was asked for.
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

/// The results of one experiment.
pub struct Store {
    path: PathBuf,
    connection: Connection,
    schema: u32,
    /// The newest seal of the lock under which sets are stored.
    lock: Option<String>,
    /// The file that was opened.
    file: Option<FileId>,
}

/// What tells a file from every other on this machine: its device and its number there.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Store {
    /// Opens the store of an experiment, which `registration_id` names, for writing; makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a store of another experiment or version.
    pub fn open(path: &Path, registration_id: &str) -> Result<Self, StoreError> {
        Self::open_of(path, registration_id, &[])
    }

    /// The same for a store that is merged from parts, whose last seals its chain begins with.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_of(path: &Path, registration_id: &str, parts: &[Part]) -> Result<Self, StoreError> {
        Self::open_on(path, registration_id, parts, file_system::is_shared(path))
    }

    /// The same where it is known whether the folder is shared by machines.
    fn open_on(
        path: &Path,
        registration_id: &str,
        parts: &[Part],
        is_shared: bool,
    ) -> Result<Self, StoreError> {
        let prepare = |connection: &mut Connection| {
            connection.busy_timeout(TIMEOUT)?;
            let there: bool =
                connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
            let before: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            // A store stays as it was made, whose bytes its seal may be over, but where it would break.
            if is_shared && before == "wal" {
                connection.pragma_update(None, "journal_mode", "DELETE")?;
            } else if !is_shared && !there {
                connection.pragma_update(None, "journal_mode", "WAL")?;
            }
            // What is committed survives a power cut too.
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

    /// Opens a store that is there, to read it only.
    ///
    /// # Errors
    /// As [`Store::open`], and where there is no store.
    pub fn read(path: &Path, registration_id: &str) -> Result<Self, StoreError> {
        Self::checked(path, read_only(path)?, registration_id)
    }

    fn checked(path: &Path, connection: Connection, registration_id: &str) -> Result<Self, StoreError> {
        open::check_is_store(path, &connection)?;
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
                "{belongs}, the seal in the plan's lock; another plan's results need a folder of their own"
            );
            return Err(store.invalid("belongs", found.unwrap_or_else(nothing), valid));
        }
        Ok(store)
    }

    /// Refuses to go on where what lands is not kept.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where the file was removed or replaced since it was opened.
    pub fn check_place(&self) -> Result<(), StoreError> {
        if self.file.is_some() && file_id(&self.path) == self.file {
            return Ok(());
        }
        Err(StoreError::Gone { path: self.path.clone() })
    }

    /// A value of the table that says what the store is.
    fn value(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM store WHERE name = ?1";
        let found = self.connection.query_row(query, [name], |row| row.get(0)).optional();
        found.map_err(|source| self.failed(source))
    }

    /// The same store, whose next sets run under the lock of this newest seal.
    pub fn under(self, lock: &str) -> Self {
        Self { lock: Some(lock.to_owned()), ..self }
    }

    /// The layout of the traces that are written beside this store.
    pub fn trace_layout(&self) -> Layout {
        if self.is_sealed() { Layout::Two } else { Layout::One }
    }

    /// Whether what lands in this store is sealed; those of an older version are not.
    pub fn is_sealed(&self) -> bool {
        self.schema != UNSEALED
    }

    /// Whether sets may say under which lock they ran.
    fn names_locks(&self) -> bool {
        self.schema == SCHEMA
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn invalid(&self, field: &str, found: String, valid: String) -> StoreError {
        StoreError::Invalid { path: self.path.clone(), field: field.to_owned(), found, valid }
    }

    /// The chain of seals, made again from what is stored; none for a store of the version without one.
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

    /// Moves all that is in the log beside the file into the file, so that the file alone is the store.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        moved.map_err(|source| self.failed(source))
    }
}

/// As SQLite has them: signed, the bits kept.
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
    fn where_machines_share_a_folder_no_memory_is_shared_and_the_file_is_the_store() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("episodes.sqlite");
        let mut store = Store::open_on(&path, "study", &[], true).unwrap();
        assert_eq!(mode(&store), "delete");
        store.interrupted("one", "unplugged").unwrap();
        assert_eq!(beside(&path), ["episodes.sqlite"], "while it is open, too");
        assert!(!has_log(&path));
        store.checkpoint().unwrap();
        drop(store);
        // It goes on as it is where it is taken home, so that its bytes stay those of its seal.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(mode(&Store::open_on(&path, "study", &[], false).unwrap()), "delete");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(Store::read(&path, "study").unwrap().interruptions().unwrap().len(), 1);
    }

    #[test]
    fn a_store_that_was_made_at_home_loses_its_log_where_machines_share_its_folder() {
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
    fn a_journal_of_a_run_that_was_killed_is_not_passed_over() {
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
    fn what_stands_in_the_place_of_a_store_is_named() {
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
    fn a_full_disk_is_nobodys_mistake() {
        let of = |code| {
            let source = rusqlite::Error::SqliteFailure(Error::new(code), None);
            StoreError::Database { path: "episodes.sqlite".into(), source }
        };
        assert!(of(SQLITE_FULL).is_of_the_system() && of(SQLITE_IOERR).is_of_the_system());
        assert!(!of(SQLITE_NOTADB).is_of_the_system());
        assert!(!StoreError::None { path: "episodes.sqlite".into() }.is_of_the_system());
    }
}
