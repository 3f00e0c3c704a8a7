//! Chain of seals in a store: one seal for each set and each interruption, made in the transaction that stores it. A
//! seal is a digest over the stored rows and the previous seal, so a later edit is found at the entry that was edited.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::{StoredSet, key};
use crate::plan::registration::digest;
use crate::run::runner::describe;

/// Version of the chain's first digest, which later versions of the store have kept.
const CHAIN: u32 = 2;

/// Tables of the chain. A row of `seals` is about a set, with its key and the seal of the lock under which it ran, or
/// about an interruption, with that row's id.
pub(super) const TABLES: &str = "
CREATE TABLE seals (
    place INTEGER PRIMARY KEY, task INTEGER, initial_state INTEGER, replicate INTEGER, interruption INTEGER,
    seal TEXT NOT NULL, lock TEXT,
    UNIQUE (task, initial_state, replicate)
) STRICT;
CREATE TABLE parts (place INTEGER PRIMARY KEY, sets INTEGER NOT NULL, seal TEXT) STRICT;
";

/// A store that this one was merged from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of sets that came from it.
    pub sets: usize,
    /// Last seal of that store when it was merged; `None` for a store without seals.
    pub seal: Option<String>,
}

/// A store's chain of seals, recomputed from what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Last seal, which covers everything that was stored.
    pub head: String,
    /// Number of seals.
    pub seals: usize,
    /// Stores that this one was merged from, in their order.
    pub parts: Vec<Part>,
    /// Messages, each about one entry that differs from its seal.
    pub wrong: Vec<String>,
}

/// Subject of a seal: a set by its key's columns, or an interruption by its row id.
#[derive(Clone, Copy)]
enum Sealed {
    Set([i64; 3]),
    Interruption(i64),
}

/// One row of the chain.
struct Entry {
    place: i64,
    of: Option<Sealed>,
    seal: String,
}

/// Returns the digest that the first seal builds on: over the registration id and the parts of a merged store.
fn beginning(registration_id: &str, parts: &[Part]) -> String {
    let parts: Vec<Value> = parts.iter().map(|part| json!([part.sets, part.seal])).collect();
    digest(&json!({ "schema": CHAIN, "belongs": registration_id, "parts": parts }))
}

/// Returns the seal over a set: every column of its episodes, its trace's digest, and the lock's seal where one is
/// stored.
fn over_set(previous: &str, [task, initial_state, replicate]: [i64; 3], set: &StoredSet) -> String {
    let episodes: Vec<Value> = set.episodes.iter().map(|one| json!([one.place, one.arm, one.text])).collect();
    digest(&json!({
        "previous": previous,
        "set": [task, initial_state, replicate],
        "episodes": episodes,
        "trace_sha256": set.trace,
        "lock": set.lock,
    }))
}

/// Returns the seal over an interruption.
fn over_interruption(previous: &str, [what, reason]: [&str; 2]) -> String {
    digest(&json!({ "previous": previous, "interruption": [what, reason] }))
}

/// Writes the parts of a new, merged store, before any set is stored.
pub(super) fn begin(connection: &Connection, parts: &[Part]) -> rusqlite::Result<()> {
    for (place, part) in parts.iter().enumerate() {
        let row = params![place as i64 + 1, part.sets as i64, part.seal];
        connection.execute("INSERT INTO parts VALUES (?1, ?2, ?3)", row)?;
    }
    Ok(())
}

/// Adds the column for locks to the chain of a store without it; rows that were sealed before have no lock.
pub(super) fn add_locks(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("ALTER TABLE seals ADD COLUMN lock TEXT")
}

/// Returns the place of the next seal and the seal before it.
fn last(connection: &Connection) -> rusqlite::Result<(i64, String)> {
    let query = "SELECT place, seal FROM seals ORDER BY place DESC LIMIT 1";
    let found = connection.query_row(query, [], |row| Ok((row.get::<_, i64>(0)? + 1, row.get(1)?)));
    if let Some(found) = found.optional()? {
        return Ok(found);
    }
    let registration_id: String =
        connection.query_row("SELECT value FROM store WHERE name = 'belongs'", [], |row| row.get(0))?;
    Ok((1, beginning(&registration_id, &parts(connection)?)))
}

/// Seals a set that was just written, within the same transaction.
pub(super) fn seal_set(connection: &Connection, columns: [i64; 3], set: &StoredSet) -> rusqlite::Result<()> {
    let (place, previous) = last(connection)?;
    let [task, initial_state, replicate] = columns;
    let seal = over_set(&previous, columns, set);
    let row = params![place, task, initial_state, replicate, seal, set.lock];
    let insert = "INSERT INTO seals (place, task, initial_state, replicate, seal, lock) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.execute(insert, row).map(|_| ())
}

/// Seals an interruption that was just written, within the same transaction.
pub(super) fn seal_interruption(connection: &Connection, row: i64, what: [&str; 2]) -> rusqlite::Result<()> {
    let (place, previous) = last(connection)?;
    let row = params![place, row, over_interruption(&previous, what)];
    let insert = "INSERT INTO seals (place, interruption, seal) VALUES (?1, ?2, ?3)";
    connection.execute(insert, row).map(|_| ())
}

fn parts(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    let mut statement = connection.prepare("SELECT sets, seal FROM parts ORDER BY place")?;
    let rows = statement
        .query_map([], |row| Ok(Part { sets: row.get::<_, i64>(0)? as usize, seal: row.get(1)? }))?;
    rows.collect()
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let query = "SELECT place, task, initial_state, replicate, interruption, seal FROM seals ORDER BY place";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| {
        let of = match (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?) {
            (Some(task), Some(initial_state), Some(replicate), None) => {
                Some(Sealed::Set([task, initial_state, replicate]))
            }
            (None, None, None, Some(row)) => Some(Sealed::Interruption(row)),
            _ => None,
        };
        Ok(Entry { place: row.get(0)?, of, seal: row.get(5)? })
    })?;
    rows.collect()
}

fn interruptions(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, [String; 2]>> {
    let mut statement = connection.prepare("SELECT rowid, what, reason FROM interruptions")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?])))?;
    rows.collect()
}

/// Recomputes the chain from what is stored. Each entry is checked against the stored seal before it, so every edited
/// entry is reported and the entries after it are not.
pub(super) fn chain(
    connection: &Connection,
    registration_id: &str,
    sets: &[StoredSet],
) -> rusqlite::Result<Chain> {
    let parts = parts(connection)?;
    let beginning = beginning(registration_id, &parts);
    let interruptions = interruptions(connection)?;
    let by_columns: BTreeMap<[i64; 3], &StoredSet> =
        sets.iter().map(|set| (super::columns(set.key), set)).collect();
    let mut unsealed: BTreeSet<[i64; 3]> = by_columns.keys().copied().collect();
    let mut unnoted: BTreeSet<i64> = interruptions.keys().copied().collect();
    let mut wrong = Vec::new();
    let entries = entries(connection)?;
    let mut previous = beginning.as_str();
    for (index, entry) in entries.iter().enumerate() {
        let (what, again) = match entry.of {
            Some(Sealed::Set(columns)) => {
                unsealed.remove(&columns);
                let again = by_columns.get(&columns).map(|set| over_set(previous, columns, set));
                (describe(key(columns), "twins"), again)
            }
            Some(Sealed::Interruption(row)) => {
                unnoted.remove(&row);
                let noted = interruptions.get(&row);
                let again = noted.map(|[what, reason]| over_interruption(previous, [what, reason]));
                (format!("interruption {row}"), again)
            }
            None => ("an entry without a subject".to_owned(), None),
        };
        let place = entry.place;
        if place != index as i64 + 1 {
            wrong.push(format!("seal {place}: {what}: found place {place}; valid is {}", index + 1));
        }
        match again {
            None => wrong.push(format!("seal {place}: {what}: was sealed and is missing")),
            Some(again) if again != entry.seal => wrong.push(format!(
                "seal {place}: {what}: found seal {}, but the stored rows give {again}; rows or seal were edited after they \
                 were stored",
                entry.seal
            )),
            Some(_) => {}
        }
        previous = &entry.seal;
    }
    wrong.extend(
        unsealed.into_iter().map(|columns| {
            format!("{}: is in the store and was never sealed", describe(key(columns), "twins"))
        }),
    );
    wrong.extend(unnoted.into_iter().map(|row| format!("interruption {row}: was never sealed")));
    Ok(Chain { head: previous.to_owned(), seals: entries.len(), parts, wrong })
}
