//! What a store holds, read: results, sets as their columns have them, digests of traces, interruptions.
//! Always in one order, whatever the order in which it came.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::open::{check_is_store, read_only};
use super::{Store, StoreError, columns, key};
use crate::episode::EpisodeResult;
use crate::files::hex;
use crate::key::EpisodeKey;

/// An arm's episode as its columns have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEpisode {
    /// Its place among the twins.
    pub place: i64,
    /// The arm.
    pub arm: String,
    /// The result, as JSON.
    pub text: String,
}

/// The twins of one key, as their columns have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSet {
    /// What the twins share.
    pub key: EpisodeKey,
    /// The episodes, by place.
    pub episodes: Vec<StoredEpisode>,
    /// SHA-256 of the step trace; none where the store has no such row.
    pub trace: Option<String>,
    /// The newest seal of the lock under which it ran; none where an older version stored it.
    pub lock: Option<String>,
}

impl Store {
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

    /// Every set of twins as it is stored, by key: its episodes by place, and its trace's digest.
    ///
    /// # Errors
    /// [`StoreError::Database`] where a table cannot be read.
    pub fn sets(&self) -> Result<Vec<StoredSet>, StoreError> {
        let mut sets: BTreeMap<EpisodeKey, StoredSet> = BTreeMap::new();
        let empty = |key| StoredSet { key, episodes: Vec::new(), trace: None, lock: None };
        let order = "SELECT task, initial_state, replicate, place, arm, result FROM episodes \
                     ORDER BY task, initial_state, replicate, place, arm";
        let rows = self.rows(order, |row| {
            let key = key([row.get(0)?, row.get(1)?, row.get(2)?]);
            Ok((key, StoredEpisode { place: row.get(3)?, arm: row.get(4)?, text: row.get(5)? }))
        })?;
        for (key, episode) in rows {
            sets.entry(key).or_insert_with(|| empty(key)).episodes.push(episode);
        }
        for (key, trace) in self.traces()? {
            sets.entry(key).or_insert_with(|| empty(key)).trace = Some(trace);
        }
        for (key, lock) in self.locks()? {
            sets.entry(key).and_modify(|set| set.lock = lock);
        }
        Ok(sets.into_values().collect())
    }

    /// Digest of each key's step trace, by key.
    pub fn traces(&self) -> Result<Vec<(EpisodeKey, String)>, StoreError> {
        let order = "SELECT task, initial_state, replicate, sha256 FROM traces \
                     ORDER BY task, initial_state, replicate";
        self.rows(order, |row| Ok((key([row.get(0)?, row.get(1)?, row.get(2)?]), row.get(3)?)))
    }

    /// The newest seal of the lock under which each sealed set ran.
    fn locks(&self) -> Result<Vec<(EpisodeKey, Option<String>)>, StoreError> {
        if !self.names_locks() {
            return Ok(Vec::new());
        }
        let query = "SELECT task, initial_state, replicate, lock FROM seals WHERE interruption IS NULL AND task IS NOT NULL \
                     AND initial_state IS NOT NULL AND replicate IS NOT NULL";
        self.rows(query, |row| Ok((key([row.get(0)?, row.get(1)?, row.get(2)?]), row.get(3)?)))
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

/// The episodes from these initial states that a store holds, of whatever experiment it is: which experiment, key and arm.
///
/// # Errors
/// [`StoreError::Database`] for a file that is no store, [`StoreError::None`] where there is none.
pub fn stored_episodes(
    path: &Path,
    starts: Range<usize>,
) -> Result<BTreeSet<(String, EpisodeKey, String)>, StoreError> {
    let connection = read_only(path)?;
    check_is_store(path, &connection)?;
    let read = || {
        let mut statement = connection.prepare(
            "SELECT (SELECT value FROM store WHERE name = 'belongs'), task, initial_state, replicate, arm FROM episodes \
             WHERE initial_state >= ?1 AND initial_state < ?2",
        )?;
        let rows = statement.query_map(params![starts.start as i64, starts.end as i64], |row| {
            let registration_id: Option<String> = row.get(0)?;
            Ok((
                registration_id.unwrap_or_default(),
                key([row.get(1)?, row.get(2)?, row.get(3)?]),
                row.get(4)?,
            ))
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|source| StoreError::Database { path: path.to_owned(), source })
}
