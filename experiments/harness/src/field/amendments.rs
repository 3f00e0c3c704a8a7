//! What the seals of a trial's lock say, compared with its log: which source of outcomes was in force at an attempt, and how many attempts
//! had been made by an amendment.

use super::log::Entry;
use super::plan::{FieldPlan, OutcomeSource};
use crate::plan::registration::Lock;

/// Field of an amendment's change of the source of outcomes.
const OUTCOME: &str = "trial.outcome";

/// Returns the index of a seal of the lock: 0 for the registration's, then one for each amendment. `None` for a seal that the lock does
/// not have.
fn index(lock: &Lock, seal: &str) -> Option<usize> {
    let mut seals =
        std::iter::once(&lock.seal).chain(lock.amendments.iter().map(|amendment| &amendment.seal));
    seals.position(|known| known == seal)
}

/// Returns the source of outcomes that was in force under a seal of the lock; `plan` is the plan as the lock has it now. `None` for a
/// seal that the lock does not have.
pub fn outcome_at(plan: &FieldPlan, lock: &Lock, seal: &str) -> Option<OutcomeSource> {
    let since = lock.amendments.iter().skip(index(lock, seal)?);
    let changed = since.flat_map(|amendment| &amendment.changes).find(|change| change.field == OUTCOME);
    let Some(before) = changed.and_then(|change| change.registered.as_ref()) else {
        return Some(plan.outcome);
    };
    serde_json::from_value(before.trim_matches('"').into()).ok()
}

/// Returns everything in which lock and log contradict each other: attempts under a seal that the lock does not have or that an earlier
/// attempt's replaced, and amendments that count other attempts than the log has.
pub fn contradictions(lock: &Lock, entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    // Number of attempts that were over when an attempt began, and the index of its seal.
    let (mut begun, mut over) = (Vec::new(), 0);
    for (line, entry) in (1..).zip(entries) {
        match entry {
            Entry::Begun { lock: seal, .. } => match index(lock, seal) {
                None => found.push(format!("line {line}: lock: found {seal}, which is no seal of the lock")),
                Some(at) => {
                    if begun.last().is_some_and(|(before, _)| at < *before) {
                        found.push(format!(
                            "line {line}: lock: found {seal}, which an amendment had replaced before"
                        ));
                    }
                    begun.push((at, over));
                }
            },
            Entry::Ended { .. } | Entry::Abandoned { .. } => over += 1,
            Entry::Withdrawn { .. } | Entry::Inspected { .. } => {}
        }
    }
    for (at, amendment) in (1..).zip(&lock.amendments) {
        // Of an attempt that was open at the amendment, the end may have been noted before or after it.
        let least = begun.iter().rev().find(|(under, _)| *under < at).map_or(0, |(_, over)| *over);
        let most = begun.iter().find(|(under, _)| *under >= at).map_or(over, |(_, over)| *over);
        let said = amendment.episodes_seen;
        if !(least as u64..=most as u64).contains(&said) {
            let when = &amendment.when;
            found.push(format!(
                "the amendment of {when} says that {said} attempts had been made by then; by the log it was {most}"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::field::attempts::tests::{begun, done, ended};
    use crate::field::plan::tests::plan;
    use crate::field::schedule::schedule;
    use crate::plan::registration::{Frozen, Scenes};

    fn lock(seen: &[u64]) -> Lock {
        let frozen = |outcome: &str| {
            let scenes = Scenes::new(String::new(), BTreeMap::new());
            Frozen::of(json!({ "trial": { "outcome": outcome } }), BTreeMap::new(), BTreeMap::new(), scenes)
        };
        let mut lock = Lock::new(frozen("plant"), "now".into(), "abc".into(), Vec::new()).unwrap();
        for (seen, outcome) in seen.iter().zip(["person", "plant"]) {
            lock = lock.amend(frozen(outcome), "later".into(), "why", *seen, Vec::new()).unwrap();
        }
        lock
    }

    #[test]
    fn an_outcome_is_judged_by_the_plan_of_its_seal() {
        let (plan, lock) = (FieldPlan { outcome: OutcomeSource::Plant, ..plan() }, lock(&[0, 0]));
        let at = |seal: &str| outcome_at(&plan, &lock, seal);
        assert_eq!(at(&lock.seal), Some(OutcomeSource::Plant));
        assert_eq!(at(&lock.amendments[0].seal), Some(OutcomeSource::Person));
        assert_eq!(at(&lock.amendments[1].seal), Some(OutcomeSource::Plant));
        assert_eq!(at("another"), None);
    }

    #[test]
    fn an_amendment_counts_the_attempts_that_the_log_has() {
        let schedule = schedule(&plan(), 2);
        let log = |lock: &Lock, seals: &[usize]| {
            let all: Vec<String> = [lock.seal.clone()]
                .into_iter()
                .chain(lock.amendments.iter().map(|one| one.seal.clone()))
                .collect();
            let mut entries = Vec::new();
            for (episode, seal) in seals.iter().enumerate() {
                let mut begun = begun(episode, 1);
                let Entry::Begun { lock, .. } = &mut begun else { unreachable!() };
                *lock = all[*seal].clone();
                entries.extend([begun, ended(&schedule, episode, 1, done(true))]);
            }
            entries
        };
        let found = |seen: &[u64], seals: &[usize]| {
            let lock = lock(seen);
            contradictions(&lock, &log(&lock, seals))
        };
        assert!(found(&[2], &[0, 0, 1]).is_empty());
        // The second attempt was open at the amendment.
        assert!(found(&[1], &[0, 0, 1]).is_empty());
        assert!(found(&[3, 3], &[0, 0, 0]).is_empty());
        for (seen, by_log) in [(0, 3), (1, 3), (4, 3)] {
            let said = found(&[seen], &[0, 0, 0, 1]);
            let words = format!("{seen} attempts had been made by then; by the log it was {by_log}");
            assert!(said.len() == 1 && said[0].contains(&words), "{said:?}");
        }
        assert!(found(&[0], &[1]).is_empty());
        let said = found(&[0], &[1, 0]);
        assert!(
            said.iter().any(|line| line.contains("line 3: lock: found") && line.contains("replaced before")),
            "{said:?}"
        );
    }
}
