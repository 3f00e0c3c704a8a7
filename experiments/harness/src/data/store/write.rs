//! Writes to a store: complete sets and interruptions. Each is sealed in the transaction that stores it.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{SCHEMA, Store, StoreError, StoredEpisode, StoredSet, WITHOUT_LOCKS, columns, seals};
use crate::episode::outcome::EpisodeResult;
use aegis_core::EpisodeKey;

impl Store {
    /// Stores the episodes of one key, in the order of their arms, and the digest of their step trace, in one
    /// transaction.
    ///
    /// # Errors
    /// [`StoreError::Database`], also where one of the episodes is stored already: rows are never overwritten.
    pub fn insert(&mut self, twins: &[EpisodeResult], trace_sha256: &str) -> Result<(), StoreError> {
        let Some(first) = twins.first() else { return Ok(()) };
        let texts = twins
            .iter()
            .map(|twin| Ok((twin.arm.as_str().to_owned(), serde_json::to_string(twin)?)))
            .collect::<Result<Vec<_>, serde_json::Error>>()
            .map_err(|error| self.invalid("result", error.to_string(), "a result that is JSON".into()))?;
        self.insert_texts(first.key, &texts, trace_sha256, self.lock.clone())
    }

    /// Copies the set of one key from another store, byte for byte, with the lock under which it ran.
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
        self.insert_texts(key, &texts, trace_sha256, other.lock_of(key)?)
    }

    fn insert_texts(
        &mut self,
        key: EpisodeKey,
        texts: &[(String, String)],
        trace_sha256: &str,
        lock: Option<String>,
    ) -> Result<(), StoreError> {
        let [task, initial_state, replicate] = columns(key);
        let episodes = texts.iter().enumerate().map(|(place, (arm, text))| StoredEpisode {
            place: place as i64,
            arm: arm.clone(),
            text: text.clone(),
        });
        let trace = Some(trace_sha256.to_owned());
        let set = StoredSet { key, episodes: episodes.collect(), trace, lock };
        let sealed = self.is_sealed();
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for StoredEpisode { place, arm, text } in &set.episodes {
                transaction.execute(
                    "INSERT INTO episodes VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![task, initial_state, replicate, arm, place, text],
                )?;
            }
            transaction.execute(
                "INSERT INTO traces VALUES (?1, ?2, ?3, ?4)",
                params![task, initial_state, replicate, trace_sha256],
            )?;
            if sealed {
                upgrade_schema(&transaction)?;
                seals::seal_set(&transaction, columns(key), &set)?;
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))?;
        if sealed {
            self.schema = SCHEMA;
        }
        Ok(())
    }

    /// Stores an interruption: the plant was lost during a job, which is run again.
    pub fn interrupted(&mut self, what: &str, reason: &str) -> Result<(), StoreError> {
        let sealed = self.is_sealed();
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("INSERT INTO interruptions VALUES (?1, ?2)", [what, reason])?;
            if sealed {
                seals::seal_interruption(&transaction, transaction.last_insert_rowid(), [what, reason])?;
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))
    }

    /// Returns the newest seal of the lock under which a set ran; `None` where the store does not record it.
    fn lock_of(&self, key: EpisodeKey) -> Result<Option<String>, StoreError> {
        if !self.names_locks() {
            return Ok(None);
        }
        let query = "SELECT lock FROM seals WHERE task = ?1 AND initial_state = ?2 AND replicate = ?3";
        let found = self.connection.query_row(query, columns(key), |row| row.get(0)).optional();
        found.map(Option::flatten).map_err(|source| self.failed(source))
    }
}

/// Upgrades a sealed store to the newest version, within the transaction of the next set.
fn upgrade_schema(connection: &Connection) -> rusqlite::Result<()> {
    let query = "SELECT value FROM store WHERE name = 'schema'";
    let found: String = connection.query_row(query, [], |row| row.get(0))?;
    if found != WITHOUT_LOCKS.to_string() {
        return Ok(());
    }
    seals::add_locks(connection)?;
    let newest = SCHEMA.to_string();
    connection.execute("UPDATE store SET value = ?1 WHERE name = 'schema'", [newest]).map(|_| ())
}
