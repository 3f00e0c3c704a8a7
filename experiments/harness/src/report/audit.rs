//! Audit of the results: whether all are present, and whether twins are equal up to their first hand-over. Both have to
//! hold before any test is read. Every episode that is missing, foreign or not equal to its twin is listed by name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::episode::arm::WEAK;
use crate::episode::outcome::EpisodeResult;
use crate::episode::twins;
use crate::plan::study::{AA, StudySettings};
use crate::run::runner::describe;
use aegis_core::{Disturbance, EpisodeKey};

/// Findings of the audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Number of episodes in the plan, over all arms.
    pub expected: u64,
    /// Number of expected episodes that have a result.
    pub found: u64,
    /// Expected episodes without a result, by name.
    pub missing: Vec<String>,
    /// Stored episodes that the plan does not ask for, by name. No statistic uses them.
    pub foreign: Vec<String>,
    /// Number of compared pairs of a weak episode and a twin.
    pub pairs: u64,
    /// Twins that differ from weak before their first hand-over or have another disturbance than the plan draws, and episodes of the arm `aa` that differ from weak anywhere.
    pub violations: Vec<String>,
    /// Number of episodes of the arm `aa`, a copy of weak, that equal weak bit for bit. `None` where the plan has no such arm.
    pub equal_copies: Option<u64>,
    /// Keys of the complete sets, which have a result of every arm, in ascending order.
    #[serde(skip)]
    pub complete: Vec<EpisodeKey>,
}

/// Audits all results of a study; `keys` are all keys of the plan, and `drawn` returns the disturbance that the plan draws
/// for one.
pub fn audit(
    study: &StudySettings,
    keys: &[EpisodeKey],
    results: &[EpisodeResult],
    drawn: &dyn Fn(EpisodeKey) -> Option<Disturbance>,
) -> Audit {
    let asked: BTreeSet<EpisodeKey> = keys.iter().copied().collect();
    let mut there: BTreeMap<EpisodeKey, BTreeMap<&str, &EpisodeResult>> = BTreeMap::new();
    let mut foreign = Vec::new();
    for result in results {
        if asked.contains(&result.key) && study.arms.contains(&result.arm) {
            there.entry(result.key).or_default().insert(result.arm.as_str(), result);
        } else {
            foreign.push(describe(result.key, result.arm.as_str()));
        }
    }
    let mut audit = Audit {
        expected: (asked.len() * study.arms.len()) as u64,
        found: 0,
        missing: Vec::new(),
        foreign,
        pairs: 0,
        violations: Vec::new(),
        equal_copies: study.arms.iter().any(|name| *name == *AA).then_some(0),
        complete: Vec::new(),
    };
    for key in asked {
        let twins = there.remove(&key).unwrap_or_default();
        for name in &study.arms {
            match twins.contains_key(name.as_str()) {
                true => audit.found += 1,
                false => audit.missing.push(describe(key, name.as_str())),
            }
        }
        if twins.len() == study.arms.len() {
            audit.complete.push(key);
        }
        let Some(weak) = twins.get(WEAK) else { continue };
        for (name, other) in twins.iter().filter(|(name, _)| **name != WEAK) {
            audit.pairs += 1;
            let mut equal = twins::check(weak, other).is_ok() && other.disturbance == drawn(key);
            if *name == AA {
                equal &= weak.path == other.path && weak.scores == other.scores;
                audit.equal_copies = audit.equal_copies.map(|count| count + u64::from(equal));
            }
            if !equal {
                audit.violations.push(describe(key, name));
            }
        }
    }
    audit
}
