//! Summary of paired episodes: success per arm, recovered and broken episodes relative to the weak twin, duty and
//! fires. Computed from results alone.

use std::collections::BTreeMap;

use aegis_statistics::{Interval, StatisticsError, clopper_pearson, mcnemar};
use serde::Serialize;

use crate::episode::arm::{ArmName, WEAK};
use crate::episode::outcome::EpisodeResult;
use aegis_core::EpisodeKey;

/// Summary of one arm, compared with its weak twins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmSummary {
    /// Name of the arm.
    pub arm: ArmName,
    /// Number of episodes.
    pub episodes: u64,
    /// Number of successful episodes.
    pub successes: u64,
    /// 95 % Clopper–Pearson interval of the success rate.
    pub success_interval: Interval,
    /// Number of episodes that the weak twin lost and this arm won.
    pub recovered: u64,
    /// Number of episodes that the weak twin lost.
    pub weak_lost: u64,
    /// Number of episodes that the weak twin won and this arm lost.
    pub broken: u64,
    /// Number of episodes that the weak twin won.
    pub weak_won: u64,
    /// Exact one-sided McNemar p-value for the claim that this arm wins more than the weak arm.
    pub p_value: f64,
    /// Fraction of all control steps that the strong policy drove.
    pub duty: f64,
    /// Total number of fires.
    pub fires: u64,
}

/// Summarises every arm that has results, in the order of their first appearance.
pub fn summarise(results: &[EpisodeResult]) -> Result<Vec<ArmSummary>, StatisticsError> {
    let weak: BTreeMap<EpisodeKey, bool> = results
        .iter()
        .filter(|result| result.arm == *WEAK)
        .map(|result| (result.key, result.success))
        .collect();
    let mut arms: Vec<(&ArmName, Vec<&EpisodeResult>)> = Vec::new();
    for result in results {
        match arms.iter_mut().find(|(arm, _)| **arm == result.arm) {
            Some((_, of_arm)) => of_arm.push(result),
            None => arms.push((&result.arm, vec![result])),
        }
    }
    arms.into_iter().map(|(arm, results)| summarise_arm(arm.clone(), &results, &weak)).collect()
}

fn summarise_arm(
    arm: ArmName,
    results: &[&EpisodeResult],
    weak: &BTreeMap<EpisodeKey, bool>,
) -> Result<ArmSummary, StatisticsError> {
    let count =
        |keep: &dyn Fn(&EpisodeResult) -> bool| results.iter().filter(|result| keep(result)).count() as u64;
    let lost = |result: &EpisodeResult| weak.get(&result.key) == Some(&false);
    let won = |result: &EpisodeResult| weak.get(&result.key) == Some(&true);
    let episodes = results.len() as u64;
    let successes = count(&|result| result.success);
    let recovered = count(&|result| lost(result) && result.success);
    let broken = count(&|result| won(result) && !result.success);
    let steps: u64 = results.iter().map(|result| u64::from(result.steps)).sum();
    let strong_steps: u64 = results.iter().map(|result| u64::from(result.strong_steps)).sum();
    Ok(ArmSummary {
        arm,
        episodes,
        successes,
        success_interval: clopper_pearson(successes, episodes, 0.95)?,
        recovered,
        weak_lost: count(&lost),
        broken,
        weak_won: count(&won),
        p_value: mcnemar(recovered, broken).one_sided,
        duty: strong_steps as f64 / steps.max(1) as f64,
        fires: results.iter().map(|result| u64::from(result.fires)).sum(),
    })
}
