//! Results on disk: one SQLite file, one transaction for the twins of an episode.
//! What is in it is whole; a run that is killed loses what was in flight and nothing else.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::Start;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::episode::EpisodeResult;
use crate::files::hex;
use crate::key::EpisodeKey;

/// Version of the tables.
const SCHEMA: u32 = 1;
/// How long a write waits for another process that reads or writes.
const PATIENCE: Duration = Duration::from_secs(30);

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
    #[error("{path}: {source}", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
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

/// The results of one experiment.
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the store of an experiment, which `belongs` names, for writing; makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a store of another experiment or version.
    pub fn open(path: &Path, belongs: &str) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        let prepare = |connection: &mut Connection| {
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // What is committed survives a power cut too.
            connection.pragma_update(None, "synchronous", "FULL")?;
            let transaction = connection.transaction()?;
            let there: bool =
                transaction.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))?;
            if !there {
                transaction.execute_batch(TABLES)?;
                let mut insert = transaction.prepare("INSERT INTO store VALUES (?1, ?2)")?;
                insert.execute(params!["schema", SCHEMA.to_string()])?;
                insert.execute(params!["belongs", belongs])?;
                drop(insert);
            }
            transaction.commit()
        };
        prepare(&mut connection).map_err(failed)?;
        let store = Self { path: path.to_owned(), connection };
        store.check(belongs)?;
        Ok(store)
    }

    /// Opens a store that is there, to read it only.
    ///
    /// # Errors
    /// As [`Store::open`], and where there is no store.
    pub fn read(path: &Path, belongs: &str) -> Result<Self, StoreError> {
        let connection = read_only(path)?;
        let store = Self { path: path.to_owned(), connection };
        store.check(belongs)?;
        Ok(store)
    }

    fn check(&self, belongs: &str) -> Result<(), StoreError> {
        for (name, valid) in [("schema", SCHEMA.to_string()), ("belongs", belongs.to_owned())] {
            let found: Option<String> = self
                .connection
                .query_row("SELECT value FROM store WHERE name = ?1", [name], |row| row.get(0))
                .optional()
                .map_err(|source| self.failed(source))?;
            if found.as_ref() != Some(&valid) {
                let valid = match name {
                    "belongs" => format!(
                        "{valid}, the seal in the plan's lock; another plan's results need a folder of their own"
                    ),
                    _ => valid,
                };
                return Err(self.invalid(name, found.unwrap_or_else(|| "nothing".into()), valid));
            }
        }
        Ok(())
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn invalid(&self, field: &str, found: String, valid: String) -> StoreError {
        StoreError::Invalid { path: self.path.clone(), field: field.to_owned(), found, valid }
    }

    /// Keeps the twins of one key, in the order of their arms, and the digest of their step trace; all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Database`] also where one of them is there already: nothing is ever overwritten.
    pub fn insert(&mut self, twins: &[EpisodeResult], trace_sha256: &str) -> Result<(), StoreError> {
        let Some(first) = twins.first() else { return Ok(()) };
        let texts = twins
            .iter()
            .map(|twin| Ok((twin.arm.as_str().to_owned(), serde_json::to_string(twin)?)))
            .collect::<Result<Vec<_>, serde_json::Error>>()
            .map_err(|error| self.invalid("result", error.to_string(), "a result that is JSON".into()))?;
        self.insert_texts(first.key, &texts, trace_sha256)
    }

    /// Takes the twins of one key over from another store, letter for letter.
    pub fn copy(&mut self, other: &Self, key: EpisodeKey, trace_sha256: &str) -> Result<(), StoreError> {
        let read = || {
            let mut statement = other.connection.prepare(
                "SELECT arm, result FROM episodes WHERE task = ?1 AND initial_state = ?2 AND replicate = ?3 \
                 ORDER BY place",
            )?;
            let rows = statement.query_map(columns(key), |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        };
        let texts = read().map_err(|source| other.failed(source))?;
        self.insert_texts(key, &texts, trace_sha256)
    }

    fn insert_texts(
        &mut self,
        key: EpisodeKey,
        texts: &[(String, String)],
        trace_sha256: &str,
    ) -> Result<(), StoreError> {
        let [task, initial_state, replicate] = columns(key);
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for (place, (arm, text)) in texts.iter().enumerate() {
                transaction.execute(
                    "INSERT INTO episodes VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![task, initial_state, replicate, arm, place as i64, text],
                )?;
            }
            transaction.execute(
                "INSERT INTO traces VALUES (?1, ?2, ?3, ?4)",
                params![task, initial_state, replicate, trace_sha256],
            )?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))
    }

    /// Notes that the plant failed to run an episode, which is run again.
    pub fn interrupted(&mut self, what: &str, reason: &str) -> Result<(), StoreError> {
        let inserted = self.connection.execute("INSERT INTO interruptions VALUES (?1, ?2)", [what, reason]);
        inserted.map(|_| ()).map_err(|source| self.failed(source))
    }

    /// All results, by key and then in the order of the arms, whatever the order in which they came.
    pub fn results(&self) -> Result<Vec<EpisodeResult>, StoreError> {
        let order = "SELECT task, initial_state, replicate, arm, result FROM episodes \
                     ORDER BY task, initial_state, replicate, place";
        let rows = self.rows(order, |row| {
            let name: [i64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok((name, row.get::<_, String>(3)?, row.get::<_, String>(4)?))
        })?;
        rows.into_iter()
            .map(|([task, initial_state, replicate], arm, text)| {
                let field = format!(
                    "episode of task {task}, initial state {initial_state}, replicate {replicate}, {arm}"
                );
                let result: EpisodeResult = serde_json::from_str(&text).map_err(|error| {
                    self.invalid(&field, error.to_string(), "a result as a run writes it".into())
                })?;
                if columns(result.key) != [task, initial_state, replicate] || result.arm != *arm.as_str() {
                    let found = format!("the result of {:?}, {}", result.key, result.arm);
                    return Err(self.invalid(&field, found, "its own".into()));
                }
                Ok(result)
            })
            .collect()
    }

    /// Whether exactly this result is stored, letter for letter: reading JSON may move a number by its last bit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn holds(&self, result: &EpisodeResult) -> Result<bool, StoreError> {
        let text = serde_json::to_string(result)
            .map_err(|error| self.invalid("result", error.to_string(), "a result that is JSON".into()))?;
        let [task, initial_state, replicate] = columns(result.key);
        let query = "SELECT COUNT(*) FROM episodes WHERE task = ?1 AND initial_state = ?2 AND replicate = ?3 \
                     AND arm = ?4 AND result = ?5";
        let named = params![task, initial_state, replicate, result.arm.as_str(), text];
        let found = self.connection.query_row(query, named, |row| row.get::<_, i64>(0));
        found.map(|count| count > 0).map_err(|source| self.failed(source))
    }

    /// SHA-256 over all results as they are stored, in the order of [`results`](Self::results).
    pub fn sha256(&self) -> Result<String, StoreError> {
        let order = "SELECT result FROM episodes ORDER BY task, initial_state, replicate, place";
        let mut hasher = Sha256::new();
        for text in self.rows(order, |row| row.get::<_, String>(0))? {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        }
        Ok(hex(&hasher.finalize()))
    }

    /// Moves all that is in the log beside the file into the file, so that the file alone is the store.
    pub fn settle(&self) -> Result<(), StoreError> {
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        moved.map_err(|source| self.failed(source))
    }

    /// Digest of each key's step trace, by key.
    pub fn traces(&self) -> Result<Vec<(EpisodeKey, String)>, StoreError> {
        let order = "SELECT task, initial_state, replicate, sha256 FROM traces \
                     ORDER BY task, initial_state, replicate";
        self.rows(order, |row| Ok((key([row.get(0)?, row.get(1)?, row.get(2)?]), row.get(3)?)))
    }

    /// Episodes that the plant failed to run, and why; they were run again.
    pub fn interruptions(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.rows("SELECT what, reason FROM interruptions ORDER BY rowid", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn rows<T>(
        &self,
        query: &str,
        of: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| of(row))?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        read().map_err(|source| self.failed(source))
    }
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::None { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let patient = opened.and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection));
    patient.map_err(|source| StoreError::Database { path: path.to_owned(), source })
}

/// How many episodes from these initial states a store holds, of whatever experiment it is.
///
/// # Errors
/// [`StoreError::Database`] for a file that is no store, [`StoreError::None`] where there is none.
pub fn stored_episodes(path: &Path, starts: Range<usize>) -> Result<u64, StoreError> {
    let connection = read_only(path)?;
    let count = || {
        let within = params![starts.start as i64, starts.end as i64];
        let query = "SELECT COUNT(*) FROM episodes WHERE initial_state >= ?1 AND initial_state < ?2";
        connection.query_row(query, within, |row| row.get::<_, i64>(0))
    };
    count().map(|count| count as u64).map_err(|source| StoreError::Database { path: path.to_owned(), source })
}

/// As SQLite has them: signed, the bits kept.
fn columns(key: EpisodeKey) -> [i64; 3] {
    [key.start.task as i64, key.start.initial_state as i64, key.replicate as i64]
}

fn key([task, initial_state, replicate]: [i64; 3]) -> EpisodeKey {
    let start = Start { task: task as usize, initial_state: initial_state as usize };
    EpisodeKey { start, replicate: replicate as u64 }
}
