//! Where in a lock's chain something happened, and what of the plan has changed since.
//! Follows from the log of amendments alone, so that it can be said of a plan that no longer exists anywhere else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::frozen::Difference;
use super::lock::Lock;

/// Settings of a plan that no episode depends on: what results are made of, which of them are asked for, and where files lie
/// (what is in these is frozen beside the plan). Each stands for itself and all that is below it.
const NOT_OF_EPISODES: [&str; 11] = [
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
    /// The place of a seal in the chain: 0 for the registration, n for the n-th entry of the log; none for any other seal.
    pub fn place_of(&self, seal: &str) -> Option<usize> {
        let mut seals = std::iter::once(&self.seal).chain(self.amendments.iter().map(|entry| &entry.seal));
        seals.position(|one| one == seal)
    }

    /// What is otherwise now than it was at a place of the chain; what was taken back since is not.
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

/// The changes of one amendment by what changed: a model's file by its role, since one of another name takes two lines.
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
    /// Whether an episode could come out otherwise by it. What is not known to leave every episode alone is taken to change it.
    pub fn is_of_episodes(&self) -> bool {
        match self.file.as_str() {
            "plan" => !NOT_OF_EPISODES.iter().any(|known| {
                self.field.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }),
            // That another version of the program gives the same bits is what running sets again shows.
            "versions" => self.field != "aegis",
            // What a file says that it came from.
            _ => !self.field.ends_with(" origins)"),
        }
    }
}
