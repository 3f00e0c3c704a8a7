//! When an arm handed control to the strong policy, and how much of an episode the strong policy drove.
//! Computed from the hand-overs and strong steps of the results.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::episode::outcome::EpisodeResult;

/// Interventions of the strong policy in the episodes of one arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Help {
    /// Episodes in which the strong policy drove at least one control step.
    pub helped: u64,
    /// Hand-overs to the strong policy by control step: `[step, count]`, steps ascending.
    pub began: Vec<[u64; 2]>,
    /// Strong steps of an episode as a share of the horizon: lower quartile, median and upper quartile, by nearest rank.
    pub duty: [f64; 3],
}

impl Help {
    /// Computes the interventions from an arm's results; `horizon_steps` is the plan's.
    pub(super) fn of<'a>(results: impl Iterator<Item = &'a EpisodeResult>, horizon_steps: u32) -> Self {
        let (mut helped, mut began, mut shares) = (0, BTreeMap::new(), Vec::new());
        for result in results {
            helped += u64::from(result.strong_steps > 0);
            shares.push(f64::from(result.strong_steps) / f64::from(horizon_steps.max(1)));
            // Weak drives first, so the hand-overs at even places go to strong. An arm that begins with strong has no hand-overs.
            for step in result.hand_overs.iter().step_by(2) {
                *began.entry(u64::from(*step)).or_insert(0) += 1;
            }
        }
        let began = began.into_iter().map(|(step, count)| [step, count]).collect();
        Self { helped, began, duty: super::probe_discrimination::quartiles(shares).unwrap_or_default() }
    }
}
