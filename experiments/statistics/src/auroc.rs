//! The receiver operating characteristic, and the area under it over all pairs or within groups, with intervals.
//! The Mann–Whitney form with ties counted one half; sorted once, so a resample costs one walk over the rows.

use std::collections::BTreeMap;

use serde::Serialize;

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
/// A score that only separates easy tasks from hard ones has the value ½ here. `groups` is `[rows]`. Groups with one
/// class have no pairs and no weight.
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

    /// Returns wins over pairs. Half-wins are counted in integers, so the result is exact for any order of rows.
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

/// One corner of a ROC curve: the rates of an alarm at this score or above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RocPoint {
    /// The lowest score that raises an alarm; `None` at the origin, where no score does.
    pub threshold: Option<f64>,
    /// Share of negatives with an alarm.
    pub false_alarms: f64,
    /// Share of positives with an alarm.
    pub detected: f64,
}

/// The ROC curve from the origin to (1, 1), one point for each distinct score, without those in the middle of a
/// straight part. `labels` and `scores` are `[rows]`; NaN ranks highest, as in [`auroc`], whose value is the area
/// under these points joined by straight lines.
///
/// Errors: those of [`auroc`].
///
/// Source: Fawcett, *An introduction to ROC analysis*, Pattern Recognition Letters 2006, algorithm 1.
pub fn roc(labels: &[bool], scores: &[f64]) -> Result<Vec<RocPoint>, StatisticsError> {
    auroc(labels, scores)?;
    let score = |row: usize| if scores[row].is_nan() { f64::INFINITY } else { scores[row] };
    let mut rows: Vec<usize> = (0..labels.len()).collect();
    rows.sort_unstable_by(|a, b| score(*b).total_cmp(&score(*a)));
    let positives = labels.iter().filter(|label| **label).count() as u64;
    let negatives = labels.len() as u64 - positives;
    let mut corners: Vec<(Option<f64>, u64, u64)> = vec![(None, 0, 0)];
    let (mut negative, mut positive) = (0, 0);
    for (place, row) in rows.iter().enumerate() {
        negative += u64::from(!labels[*row]);
        positive += u64::from(labels[*row]);
        if rows.get(place + 1).is_some_and(|next| score(*next) == score(*row)) {
            continue;
        }
        // Collinearity is tested in integers, so that rounding of the shares cannot affect it.
        if let [.., (_, x0, y0), (_, x1, y1)] = corners[..]
            && (x1 - x0) * (positive - y0) == (negative - x0) * (y1 - y0)
        {
            corners.pop();
        }
        corners.push((Some(score(*row)), negative, positive));
    }
    let point = |(threshold, negative, positive)| RocPoint {
        threshold,
        false_alarms: negative as f64 / negatives as f64,
        detected: positive as f64 / positives as f64,
    };
    Ok(corners.into_iter().map(point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(points: &[RocPoint]) -> f64 {
        let part = |pair: &[RocPoint]| {
            (pair[1].false_alarms - pair[0].false_alarms) * (pair[1].detected + pair[0].detected) / 2.0
        };
        points.windows(2).map(part).sum()
    }

    #[test]
    fn a_roc_curve_is_counted_by_hand() {
        let labels = [true, true, false, true, false, false];
        let scores = [0.9, f64::NAN, 0.7, 0.7, 0.2, 0.1];
        let points: Vec<_> = roc(&labels, &scores)
            .unwrap()
            .into_iter()
            .map(|point| (point.threshold, point.false_alarms, point.detected))
            .collect();
        // Up past the two highest, aslant over the tie, and flat to the end.
        let third = 1.0 / 3.0;
        let corners =
            [(None, 0.0, 0.0), (Some(0.9), 0.0, 2.0 * third), (Some(0.7), third, 1.0), (Some(0.1), 1.0, 1.0)];
        assert_eq!(points, corners);
        assert!(matches!(roc(&[true], &[0.5]), Err(StatisticsError::OneClass(true))));
    }

    #[test]
    fn the_area_under_it_is_the_auroc() {
        // A multiplicative sequence with ties and both classes mixed.
        let value = |index: u64| index * 7919 % 101;
        let labels: Vec<bool> = (0..200).map(|index| value(index) + value(index + 50) > 100).collect();
        let scores: Vec<f64> = (0..200).map(|index| (value(index) / 4) as f64).collect();
        let difference = area(&roc(&labels, &scores).unwrap()) - auroc(&labels, &scores).unwrap();
        assert!(difference.abs() < 1e-12, "{difference}");
    }
}
