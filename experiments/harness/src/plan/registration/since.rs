//! Position of a seal in a lock's chain, and the changes of the plan since then. Only the log of amendments is needed,
//! so this also works for versions of a plan that exist nowhere else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::frozen::Difference;
use super::lock::Lock;

/// Settings of a plan that no episode depends on: settings of the analysis, the choice of results, and file locations
/// (the files' contents are frozen beside the plan). Each key includes all keys below it.
const IRRELEVANT_TO_EPISODES: [&str; 11] = [
    "fit",
    "models",
    "ranges",
    "study.alpha",
    "study.bootstrap",
    "study.budget_tolerance",
    "study.contrasts",
    "study.kill",
    "study.precondition.auroc_floor",
    "study.sequential",
    "tasks",
];

impl Lock {
    /// Returns the position of a seal in the chain: 0 for the registration, n for the n-th entry of the log; `None` for
    /// any other seal.
    pub fn place_of(&self, seal: &str) -> Option<usize> {
        let mut seals = std::iter::once(&self.seal).chain(self.amendments.iter().map(|entry| &entry.seal));
        seals.position(|one| one == seal)
    }

    /// Returns the differences between now and a position of the chain; changes that were reverted since are left out.
    pub fn changed_since(&self, place: usize) -> Vec<Difference> {
        let mut net: BTreeMap<(&str, &str), Difference> = BTreeMap::new();
        for amendment in self.amendments.iter().skip(place) {
            for (thing, one) in of_one(&amendment.changes) {
                match net.entry(thing) {
                    Entry::Vacant(free) => {
                        free.insert(one);
                    }
                    Entry::Occupied(mut kept) => kept.get_mut().found = one.found,
                }
            }
        }
        net.into_values().filter(|one| one.registered != one.found).collect()
    }
}

/// Returns the changes of one amendment by the value that changed. A model's file is identified by its role, because a
/// change of its name is recorded as two differences.
fn of_one(changes: &[Difference]) -> BTreeMap<(&str, &str), Difference> {
    let mut found = BTreeMap::new();
    for change in changes {
        let file = if change.field.starts_with("SHA-256 (") { "" } else { change.file.as_str() };
        let nothing = || Difference { registered: None, found: None, ..change.clone() };
        let one: &mut Difference = found.entry((file, change.field.as_str())).or_insert_with(nothing);
        one.registered = one.registered.take().or_else(|| change.registered.clone());
        one.found = one.found.take().or_else(|| change.found.clone());
    }
    found
}

impl Difference {
    /// Returns whether the difference could change an episode. Every value that is not known to leave episodes
    /// unchanged is taken to change them.
    pub fn affects_episodes(&self) -> bool {
        match self.file.as_str() {
            "plan" => !IRRELEVANT_TO_EPISODES.iter().any(|known| {
                self.field.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }),
            // Whether another version of the program gives the same bits is shown by running sets again.
            "versions" => self.field != "aegis",
            // A file's statement of its origin.
            _ => !self.field.ends_with(" origins)"),
        }
    }
}
