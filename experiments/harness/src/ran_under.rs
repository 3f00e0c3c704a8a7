//! Under which plan each stored set ran: its seal names an entry of the lock's chain, and what changed since follows from the
//! lock. Sets whose episodes the plan as it is would give otherwise are refused; those from before another change are counted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::registration::{Amendment, Lock};
use crate::runner::describe;
use crate::store::StoredSet;

/// How much of a store had run before an amendment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Before {
    /// Sets of twins.
    pub sets: u64,
    /// Their episodes, all arms together.
    pub episodes: u64,
}

/// What the sets of a store say, held against a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RanUnder {
    /// Why sets are no results of the plan as it is, one line for each plan that they ran under.
    pub wrong: Vec<String>,
    /// How much had run before each amendment, in the order of the lock.
    pub before: Vec<Before>,
    /// Sets that say it.
    pub known: u64,
    /// Sets that do not, as an older version stored them.
    pub unknown: u64,
}

impl RanUnder {
    /// Holds sets against the lock of their study.
    pub fn of(lock: &Lock, sets: &[StoredSet]) -> Self {
        let mut by_seal: BTreeMap<&str, Vec<&StoredSet>> = BTreeMap::new();
        let mut found = Self {
            wrong: Vec::new(),
            before: vec![Before::default(); lock.amendments.len()],
            known: 0,
            unknown: 0,
        };
        for set in sets {
            match &set.lock {
                Some(seal) => {
                    found.known += 1;
                    by_seal.entry(seal).or_default().push(set);
                }
                None => found.unknown += 1,
            }
        }
        for (seal, sets) in by_seal {
            let episodes: usize = sets.iter().map(|set| set.episodes.len()).sum();
            let first = sets.first().map_or(String::new(), |set| describe(set.key, "twins"));
            let count = sets.len();
            let Some(place) = lock.place_of(seal) else {
                found.wrong.push(format!(
                    "{count} sets of twins, the first is {first}: ran under a lock of seal {seal}, which this lock never had; \
                     valid is the lock that they ran under, or one that goes on from it"
                ));
                continue;
            };
            for before in found.before.iter_mut().skip(place) {
                before.sets += count as u64;
                before.episodes += episodes as u64;
            }
            let changed = lock.changed_since(place).into_iter().filter(|one| one.is_of_episodes());
            let changed: Vec<String> = changed.map(|one| one.to_string()).collect();
            if changed.is_empty() {
                continue;
            }
            let then = match place.checked_sub(1).and_then(|index| lock.amendments.get(index)) {
                None => format!("registered on {}", lock.created),
                Some(Amendment { when, .. }) => format!("it was from {when} on"),
            };
            found.wrong.push(format!(
                "{count} sets of twins, the first is {first}: ran under the plan as {then}; episodes depend on what was changed \
                 since ({}); valid is one folder for the results of one plan: run the plan as it is into another, or take the \
                 change back by `aegis plan amend`",
                changed.join("; ")
            ));
        }
        found
    }

    /// What had run before an amendment, as a sentence; none where no set says it.
    pub fn sentence(&self, index: usize) -> Option<String> {
        let Before { sets, episodes } = self.before.get(index).filter(|_| self.known > 0)?;
        let unknown = match self.unknown {
            0 => String::new(),
            count => format!("; of {count} sets that an older version stored it is not known"),
        };
        Some(format!(
            "Of the results here, {sets} sets of twins, {episodes} episodes, had run by then{unknown}."
        ))
    }

    /// Amendments that say that nothing had been seen, though sets of this store had run.
    pub fn untold(&self, lock: &Lock) -> Vec<String> {
        let entries = lock.amendments.iter().zip(&self.before).enumerate();
        let untold = entries.filter(|(_, (amendment, before))| {
            !amendment.changes.is_empty() && !amendment.data_seen() && before.episodes > 0
        });
        untold
            .map(|(index, (Amendment { when, .. }, Before { sets, episodes }))| {
                format!(
                    "amendments[{index}] of the lock, {when}: episodes_seen: found 0; {episodes} episodes in {sets} sets of \
                     twins of this store had run by then"
                )
            })
            .collect()
    }
}
