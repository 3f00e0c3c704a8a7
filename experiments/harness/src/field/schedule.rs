//! Order of a field trial's episodes: blocks of one episode of every arm from one start. The starts are in a new order in each round
//! through all of them, and the arms in a new order in each block, so that what drifts over days (light, wear, practice) favours no
//! arm. Every order is drawn from the plan's seed.

use aegis_core::{EpisodeKey, Start};
use rand::RngExt;

use super::plan::FieldPlan;
use crate::episode::arm::ArmName;
use crate::episode::streams::Streams;

/// One episode of the trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Block, from 0.
    pub block: usize,
    /// Index of the start in the robot file.
    pub start: usize,
    /// Arm.
    pub arm: ArmName,
    /// Whether the arm's rule is obeyed; false in the episodes that a rule's `share` leaves to the weak policy.
    pub obeys: bool,
}

/// Returns all episodes in the order in which they run, from a robot file with this number of starts.
pub fn schedule(plan: &FieldPlan, starts: usize) -> Vec<Episode> {
    let streams = Streams::new(plan.master_seed);
    let shuffled = |name: &str, place: u64, count: usize| {
        let key = EpisodeKey { start: Start { task: 0, initial_state: 0 }, replicate: place };
        let mut generator = streams.at(key, name, 0);
        // Sorted by a drawn number each, which no change of a library's shuffling can alter.
        let mut order: Vec<(u64, usize)> = (0..count).map(|index| (generator.random(), index)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index)
    };
    let mut episodes = Vec::new();
    for round in 0..u64::from(plan.blocks_per_start) {
        for start in shuffled("field.starts", round, starts) {
            let block = episodes.len() / plan.arms.len();
            for arm in shuffled("field.arms", block as u64, plan.arms.len()) {
                let arm = plan.arms[arm].clone();
                let share = plan.rules.get(&arm).and_then(|rule| rule.share());
                let obeys = share.is_none_or(|share| {
                    let key = EpisodeKey {
                        start: Start { task: 0, initial_state: start },
                        replicate: block as u64,
                    };
                    streams.at(key, &format!("field.share.{arm}"), 0).random::<f64>() < share
                });
                episodes.push(Episode { block, start, arm, obeys });
            }
        }
    }
    episodes
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::field::plan::tests::plan;

    #[test]
    fn every_block_has_every_arm_once_and_every_round_every_start_once() {
        let plan = plan();
        let episodes = schedule(&plan, 5);
        assert_eq!(episodes.len(), 3 * 5 * 4);
        for (block, episodes) in episodes.chunks(4).enumerate() {
            assert!(episodes.iter().all(|one| one.block == block && one.start == episodes[0].start));
            assert_eq!(episodes.iter().map(|one| &one.arm).collect::<BTreeSet<_>>().len(), 4);
        }
        for round in episodes.chunks(20) {
            assert_eq!(round.iter().map(|one| one.start).collect::<BTreeSet<_>>().len(), 5);
        }
    }

    #[test]
    fn the_order_depends_on_the_seed_alone_and_favours_no_arm() {
        let mut plan = plan();
        (plan.blocks_per_start, plan.master_seed) = (2000, 11);
        let episodes = schedule(&plan, 1);
        assert_eq!(schedule(&plan, 1), episodes);
        let mut first = BTreeMap::<&str, u32>::new();
        for block in episodes.chunks(4) {
            *first.entry(block[0].arm.as_str()).or_default() += 1;
        }
        // A quarter of 2000, within five standard deviations of 19.
        assert!(first.values().all(|count| (400..600).contains(count)), "{first:?}");
        let obeyed = episodes.iter().filter(|one| one.arm == *"blind" && one.obeys).count();
        assert!((890..1110).contains(&obeyed), "half of 2000, within five standard deviations: {obeyed}");
        plan.master_seed = 12;
        assert_ne!(schedule(&plan, 1), episodes);
    }
}
