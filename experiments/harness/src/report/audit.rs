//! Whether results are whole, and twins twins: what has to hold before any test is read.
//! Nothing is left out in silence; what is missing or wrong is named.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::arm::WEAK;
use crate::episode::EpisodeResult;
use crate::key::EpisodeKey;
use crate::runner::describe;
use crate::study::{AA, StudySettings};
use crate::twins;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Episodes that the plan asks for, all arms together.
    pub expected: u64,
    /// Those of them that are there.
    pub found: u64,
    /// Those that are not, by name.
    pub missing: Vec<String>,
    /// Stored episodes that the plan does not ask for, by name; they count for nothing.
    pub foreign: Vec<String>,
    /// Pairs of twins that were compared.
    pub pairs: u64,
    /// Pairs that part before their first hand-over, and copies of the weak arm that differ from it at all.
    pub violations: Vec<String>,
    /// Copies of the weak arm that are bit for bit what it is; none where the plan has no such arm.
    pub equal_copies: Option<u64>,
    /// Keys of which every arm is there, in order.
    #[serde(skip)]
    pub complete: Vec<EpisodeKey>,
}

/// Looks through all results of a study.
pub fn audit(study: &StudySettings, keys: &[EpisodeKey], results: &[EpisodeResult]) -> Audit {
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
            let mut equal = twins::check(weak, other).is_ok();
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
