//! Finds the version of the plan under which each stored set ran: the set's seal names an entry of the lock's chain,
//! and the lock's amendments give the changes since. Sets whose episodes would differ under the current plan are
//! refused; sets from before another amendment are counted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::store::StoredSet;
use crate::plan::registration::{Amendment, Lock};
use crate::run::runner::describe;

/// Part of a store that had run before an amendment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Before {
    /// Number of sets.
    pub sets: u64,
    /// Number of their episodes, over all arms.
    pub episodes: u64,
}

/// Result of checking the sets of a store against a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RanUnder {
    /// Messages about sets that are not results of the current plan, one for each plan version that they ran under.
    pub wrong: Vec<String>,
    /// Sets that had run before each amendment, in the order of the lock.
    pub before: Vec<Before>,
    /// Number of sets that name the lock under which they ran.
    pub known: u64,
    /// Number of sets that do not, because an older version stored them.
    pub unknown: u64,
}

impl RanUnder {
    /// Checks sets against the lock of their study.
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
                    "{count} sets of twins, the first is {first}: ran under a lock of seal {seal}, which is not in this lock's \
                     chain; valid is the lock that they ran under, or a later version of it"
                ));
                continue;
            };
            for before in found.before.iter_mut().skip(place) {
                before.sets += count as u64;
                before.episodes += episodes as u64;
            }
            let changed = lock.changed_since(place).into_iter().filter(|one| one.affects_episodes());
            let changed: Vec<String> = changed.map(|one| one.to_string()).collect();
            if changed.is_empty() {
                continue;
            }
            let then = match place.checked_sub(1).and_then(|index| lock.amendments.get(index)) {
                None => format!("registered on {}", lock.created),
                Some(Amendment { when, .. }) => format!("amended on {when}"),
            };
            found.wrong.push(format!(
                "{count} sets of twins, the first is {first}: ran under the plan as {then}; episodes depend on later changes \
                 ({}); valid is one folder for the results of one plan: run the present plan into another folder, or revert \
                 the change by `aegis plan amend`",
                changed.join("; ")
            ));
        }
        found
    }

    /// Returns a sentence on the sets that had run before an amendment; `None` where no set names its lock.
    pub fn sentence(&self, index: usize) -> Option<String> {
        let Before { sets, episodes } = self.before.get(index).filter(|_| self.known > 0)?;
        let unknown = match self.unknown {
            0 => String::new(),
            count => format!("; for {count} sets that an older version stored this is unknown"),
        };
        Some(format!(
            "By then, {sets} sets of twins ({episodes} episodes) of these results had run{unknown}."
        ))
    }

    /// Returns messages about amendments that state fewer episodes seen than had run in this store.
    pub fn unreported(&self, lock: &Lock) -> Vec<String> {
        let entries = lock.amendments.iter().zip(&self.before).enumerate();
        let unreported = entries.filter(|(_, (amendment, before))| {
            !amendment.changes.is_empty() && amendment.episodes_seen < before.episodes
        });
        unreported
            .map(|(index, (Amendment { when, episodes_seen, .. }, Before { sets, episodes }))| {
                format!(
                    "amendments[{index}] of the lock, {when}: episodes_seen: found {episodes_seen}; {episodes} episodes in {sets} sets of \
                     twins of this store had run by then"
                )
            })
            .collect()
    }
}
