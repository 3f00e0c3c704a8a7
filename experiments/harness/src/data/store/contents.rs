//! Reads the contents of a store: results, sets, digests of traces, and interruptions. The order of the output does not
//! depend on the order in which rows were stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::open::{check_is_store, read_only};
use super::{Store, StoreError, columns, key};
use crate::episode::outcome::EpisodeResult;
use aegis_core::EpisodeKey;
use aegis_files::hex;

/// One arm's episode as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEpisode {
    /// Index of the arm in its set.
    pub place: i64,
    /// Name of the arm.
    pub arm: String,
    /// Result as JSON text.
    pub text: String,
}

/// The set of one key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSet {
    /// Key: start and replicate, which all arms share.
    pub key: EpisodeKey,
    /// Episodes, ordered by place.
    pub episodes: Vec<StoredEpisode>,
    /// SHA-256 of the step trace; `None` where the store has no row for it.
    pub trace: Option<String>,
    /// Newest seal of the lock under which the set ran; `None` where an older version of the store wrote it.
    pub lock: Option<String>,
}

impl Store {
    /// Returns all results, ordered by key and then by the order of the arms.
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
                    self.invalid(&field, error.to_string(), "a result that a run wrote".into())
                })?;
                if columns(result.key) != [task, initial_state, replicate] || result.arm != *arm.as_str() {
                    let found = format!("the result of {:?}, {}", result.key, result.arm);
                    return Err(self.invalid(&field, found, "the result of this episode".into()));
                }
                Ok(result)
            })
            .collect()
    }

    /// Returns whether exactly this result is stored. JSON texts are compared byte for byte, because reading JSON may
    /// change the last bit of a number.
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

    /// Returns the SHA-256 over the stored texts of all results, in the order of [`results`](Self::results).
    pub fn sha256(&self) -> Result<String, StoreError> {
        let order = "SELECT result FROM episodes ORDER BY task, initial_state, replicate, place";
        let mut hasher = Sha256::new();
        for text in self.rows(order, |row| row.get::<_, String>(0))? {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        }
        Ok(hex(&hasher.finalize()))
    }

    /// Returns every stored set, ordered by key, with its episodes by place, the digest of its trace, and its lock.
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

    /// Returns the digest of each key's step trace, ordered by key.
    pub fn traces(&self) -> Result<Vec<(EpisodeKey, String)>, StoreError> {
        let order = "SELECT task, initial_state, replicate, sha256 FROM traces \
                     ORDER BY task, initial_state, replicate";
        self.rows(order, |row| Ok((key([row.get(0)?, row.get(1)?, row.get(2)?]), row.get(3)?)))
    }

    /// Returns, for each sealed set, the newest seal of the lock under which it ran.
    fn locks(&self) -> Result<Vec<(EpisodeKey, Option<String>)>, StoreError> {
        if !self.names_locks() {
            return Ok(Vec::new());
        }
        let query = "SELECT task, initial_state, replicate, lock FROM seals WHERE interruption IS NULL AND task IS NOT NULL \
                     AND initial_state IS NOT NULL AND replicate IS NOT NULL";
        self.rows(query, |row| Ok((key([row.get(0)?, row.get(1)?, row.get(2)?]), row.get(3)?)))
    }

    /// Returns the interruptions as pairs of job and reason: jobs whose plant was lost, which were run again.
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

/// Returns the episodes from a range of initial states in a store of any experiment, each as registration id, key and
/// arm name.
///
/// # Errors
/// [`StoreError::Invalid`] for a file that is no store, [`StoreError::None`] where there is no file, and
/// [`StoreError::Database`] where it cannot be read.
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
