//! Area under the receiver operating characteristic, over all pairs or within groups, with intervals over clusters.
//! The Mann–Whitney form with ties counted one half; sorted once, so a resample costs one walk over the rows.

use std::collections::BTreeMap;

use crate::error::same_length;
use crate::{Bootstrap, Clusters, Estimate, StatisticsError};

/// Probability that a random positive scores above a random negative, ties one half. NaN ranks highest, as the gate
/// takes it. `labels` and `scores` are `[rows]`; time of order n log n.
///
/// Errors: lengths that differ, no rows, one class.
///
/// Source: Hanley, McNeil, *The meaning and use of the area under a ROC curve*, Radiology 1982.
pub fn auroc(labels: &[bool], scores: &[f64]) -> Result<f64, StatisticsError> {
    auroc_within(labels, scores, &vec![(); labels.len()]).map_err(|error| match error {
        StatisticsError::NoMixedGroup { .. } => StatisticsError::OneClass(labels.first() == Some(&true)),
        other => other,
    })
}

/// [`auroc`] over pairs within the same group (task) alone: the mean over groups, each weighted by its pairs.
///
/// A score that only tells easy tasks from hard ones comes to ½ here. `groups` is `[rows]`. Groups with one class
/// have no pairs and no weight.
///
/// Errors: lengths that differ, no rows, no group with both classes.
pub fn auroc_within<G: Ord>(labels: &[bool], scores: &[f64], groups: &[G]) -> Result<f64, StatisticsError> {
    same_length(("scores", scores.len()), ("labels", labels.len()))?;
    same_length(("groups", groups.len()), ("labels", labels.len()))?;
    if labels.is_empty() {
        return Err(StatisticsError::Empty { name: "labels" });
    }
    let ranking = Ranking::new(labels, scores, groups, |row| row as u32);
    ranking
        .value(&vec![1; labels.len()])
        .ok_or(StatisticsError::NoMixedGroup { groups: ranking.groups.len() })
}

/// [`auroc`] with its interval from a bootstrap over clusters.
///
/// Errors: those of [`auroc`] and of [`Bootstrap::interval`].
pub fn auroc_interval(
    labels: &[bool],
    scores: &[f64],
    clusters: &Clusters,
    bootstrap: &Bootstrap,
) -> Result<Estimate, StatisticsError> {
    auroc(labels, scores)?;
    interval(labels, scores, &vec![(); labels.len()], clusters, bootstrap)
}

/// [`auroc_within`] with its interval from a bootstrap over clusters, drawn within their groups. `keys`, `[rows]`,
/// names each row's cluster.
///
/// Errors: those of [`auroc_within`], [`Clusters::within`] and [`Bootstrap::interval`].
pub fn auroc_within_interval<G: Ord, K: Ord>(
    labels: &[bool],
    scores: &[f64],
    groups: &[G],
    keys: &[K],
    bootstrap: &Bootstrap,
) -> Result<Estimate, StatisticsError> {
    auroc_within(labels, scores, groups)?;
    interval(labels, scores, groups, &Clusters::within(keys, groups)?, bootstrap)
}

fn interval<G: Ord>(
    labels: &[bool],
    scores: &[f64],
    groups: &[G],
    clusters: &Clusters,
    bootstrap: &Bootstrap,
) -> Result<Estimate, StatisticsError> {
    same_length(("clusters", clusters.rows()), ("labels", labels.len()))?;
    let ranking = Ranking::new(labels, scores, groups, |row| clusters.of_row()[row]);
    bootstrap.interval(clusters, |weights| ranking.value(weights))
}

/// One row in the order of scores.
#[derive(Clone, Copy)]
struct Ranked {
    cluster: u32,
    positive: bool,
    ends_tie: bool,
}

/// Rows of each group in the order of their scores.
struct Ranking {
    groups: Vec<Vec<Ranked>>,
}

impl Ranking {
    fn new<G: Ord>(labels: &[bool], scores: &[f64], groups: &[G], cluster: impl Fn(usize) -> u32) -> Self {
        let score = |row: usize| if scores[row].is_nan() { f64::INFINITY } else { scores[row] };
        let mut members: BTreeMap<&G, Vec<usize>> = BTreeMap::new();
        for (row, group) in groups.iter().enumerate() {
            members.entry(group).or_default().push(row);
        }
        let ranked = |mut rows: Vec<usize>| {
            rows.sort_unstable_by(|a, b| score(*a).total_cmp(&score(*b)));
            let ends =
                |place: usize| rows.get(place + 1).is_none_or(|next| score(*next) != score(rows[place]));
            let rank = |(place, row): (usize, &usize)| Ranked {
                cluster: cluster(*row),
                positive: labels[*row],
                ends_tie: ends(place),
            };
            rows.iter().enumerate().map(rank).collect()
        };
        Self { groups: members.into_values().map(ranked).collect() }
    }

    /// Wins over pairs, in whole half-wins: exact whatever the order of rows.
    fn value(&self, weights: &[u32]) -> Option<f64> {
        let (mut half_wins, mut pairs) = (0_u64, 0_u64);
        for rows in &self.groups {
            let (mut positives, mut below) = (0, 0);
            let (mut tied_positives, mut tied_negatives) = (0_u64, 0_u64);
            for row in rows {
                let weight = u64::from(weights[row.cluster as usize]);
                let positive = weight * u64::from(row.positive);
                tied_positives += positive;
                tied_negatives += weight - positive;
                if row.ends_tie {
                    half_wins += tied_positives * (2 * below + tied_negatives);
                    positives += tied_positives;
                    below += tied_negatives;
                    (tied_positives, tied_negatives) = (0, 0);
                }
            }
            pairs += positives * below;
        }
        (pairs > 0).then(|| half_wins as f64 / (2 * pairs) as f64)
    }
}
