//! Paired outcomes: episodes that weak loses and an arm recovers, episodes that the arm breaks, and the net effect.
//! Clusters are the episodes that share task and initial state.

use serde::Serialize;

use crate::{Bootstrap, Clusters, Estimate, McNemar, Proportion, Ratio, StatisticsError, mcnemar};

/// One episode of an arm beside its weak twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Twin {
    /// Task within the suite.
    pub task: usize,
    /// Initial state within the task.
    pub initial_state: usize,
    /// Whether the weak policy alone won.
    pub weak: bool,
    /// Whether the arm won.
    pub arm: bool,
}

impl Twin {
    /// Returns whether weak lost the episode and the arm won it.
    pub fn recovered(&self) -> bool {
        !self.weak && self.arm
    }

    /// Returns whether weak won the episode and the arm lost it.
    pub fn broken(&self) -> bool {
        self.weak && !self.arm
    }
}

/// A share of episodes, with the interval that takes them for independent and the one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Counts and Clopper–Pearson interval.
    pub proportion: Proportion,
    /// Bootstrap over clusters; none where it is undefined (fewer than two clusters, BCa without variation).
    pub clustered: Option<Estimate>,
}

/// Effects of an arm on the outcomes of the weak policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedEffects {
    /// Pairs of episodes.
    pub episodes: u64,
    /// P(arm wins | weak loses), the recovered-task rate; none when weak lost nothing.
    pub recovered: Option<Rate>,
    /// P(arm loses | weak wins); none when weak won nothing.
    pub broken: Option<Rate>,
    /// (recovered − broken) / episodes: what the arm adds to the success rate.
    pub net_effect: f64,
    /// Bootstrap over clusters; none where it is undefined.
    pub net_effect_clustered: Option<Estimate>,
    /// Exact test of "the arm wins more than weak": b recovered, c broken.
    pub mcnemar: McNemar,
}

/// Clusters of twins: the pairs that share task and initial state.
///
/// Errors: those of [`Clusters::new`].
pub fn twin_clusters(twins: &[Twin]) -> Result<Clusters, StatisticsError> {
    Clusters::new(&twins.iter().map(|twin| (twin.task, twin.initial_state)).collect::<Vec<_>>())
}

/// Recovered-task rate, break rate and net effect of an arm over its weak twins.
///
/// Exact intervals and bootstraps have the confidence level of `bootstrap`. Errors: no twins, settings out of range.
pub fn paired_effects(twins: &[Twin], bootstrap: &Bootstrap) -> Result<PairedEffects, StatisticsError> {
    if twins.is_empty() {
        return Err(StatisticsError::Empty { name: "twins" });
    }
    bootstrap.validate()?;
    let (recovered, broken) = discordant(twins);
    let episodes = twins.len() as u64;
    let net = |twin: &Twin| f64::from(twin.recovered()) - f64::from(twin.broken());
    Ok(PairedEffects {
        episodes,
        recovered: rate(twins, bootstrap, Twin::recovered, |twin| !twin.weak)?,
        broken: rate(twins, bootstrap, Twin::broken, |twin| twin.weak)?,
        net_effect: (recovered as f64 - broken as f64) / episodes as f64,
        net_effect_clustered: clustered(twins, bootstrap, |twin| (net(twin), 1.0)),
        mcnemar: mcnemar(recovered, broken),
    })
}

/// Pairs recovered and pairs broken: b and c of McNemar's test.
pub fn discordant(twins: &[Twin]) -> (u64, u64) {
    let count = |keep: fn(&Twin) -> bool| twins.iter().filter(|twin| keep(twin)).count() as u64;
    (count(Twin::recovered), count(Twin::broken))
}

fn rate(
    twins: &[Twin],
    bootstrap: &Bootstrap,
    hit: fn(&Twin) -> bool,
    counts: fn(&Twin) -> bool,
) -> Result<Option<Rate>, StatisticsError> {
    let n = twins.iter().filter(|twin| counts(twin)).count() as u64;
    let k = twins.iter().filter(|twin| hit(twin)).count() as u64;
    if n == 0 {
        return Ok(None);
    }
    Ok(Some(Rate {
        proportion: Proportion::new(k, n, bootstrap.confidence)?,
        clustered: clustered(twins, bootstrap, |twin| (f64::from(hit(twin)), f64::from(counts(twin)))),
    }))
}

fn clustered(
    twins: &[Twin],
    bootstrap: &Bootstrap,
    row: impl Fn(&Twin) -> (f64, f64) + Copy,
) -> Option<Estimate> {
    let clusters = twin_clusters(twins).ok()?;
    let ratio = Ratio::new(&clusters, twins.iter().map(row));
    ratio.interval(&clusters, bootstrap).ok()
}
