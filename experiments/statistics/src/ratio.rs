//! The form of most statistics: a ratio of sums over clusters.
//! Means, rates and shares of steps are all of this form.

use std::ops::Range;

use crate::classes::Classes;
use crate::resample::{Draws, STRATUM};
use crate::{Bootstrap, Clusters, Estimate, StatisticsError};

/// A ratio of two sums of rows, made ready for resampling clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    numerators: Vec<f64>,
    denominators: Vec<f64>,
}

impl Ratio {
    /// One numerator and one denominator per row, `[rows]`, in the order of the clusters' rows.
    pub fn new(clusters: &Clusters, rows: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        Self {
            numerators: clusters.sums(rows.clone().map(|(numerator, _)| numerator)),
            denominators: clusters.sums(rows.map(|(_, denominator)| denominator)),
        }
    }

    /// The ratio with its interval over the same `clusters`.
    ///
    /// If clusters take few values, the counts of equal clusters are drawn instead of clusters. If they take many, drawn
    /// clusters are added up without being counted. Both have the same distribution as [`Bootstrap::interval`] and are several
    /// times as fast.
    ///
    /// Errors: those of [`Bootstrap::interval`], and fewer than two clusters with a denominator other than 0, as every resample
    /// of one cluster is the same.
    pub fn interval(&self, clusters: &Clusters, bootstrap: &Bootstrap) -> Result<Estimate, StatisticsError> {
        let found = self.denominators.iter().filter(|denominator| **denominator != 0.0).count();
        if found < 2 {
            return Err(StatisticsError::FewClusters { found });
        }
        let rows = self.numerators.iter().zip(&self.denominators);
        let profiles: Vec<(u64, u64)> = rows.map(|(n, d)| (n.to_bits(), d.to_bits())).collect();
        let Some((classes, members)) = Classes::merged(clusters, &profiles) else {
            bootstrap.validate()?;
            let distribution = self.distribution(clusters, bootstrap);
            return bootstrap.summarise(clusters, &distribution, |weights| self.value(weights));
        };
        let of_members = |values: &[f64]| members.iter().map(|member| values[*member]).collect();
        let merged =
            Self { numerators: of_members(&self.numerators), denominators: of_members(&self.denominators) };
        bootstrap.interval_over(&classes, |weights| merged.value(weights))
    }

    /// The ratio under `[clusters]` multiplicities; none where the denominator is 0.
    pub fn value(&self, weights: &[u32]) -> Option<f64> {
        quotient([weighted_sum(weights, &self.numerators), weighted_sum(weights, &self.denominators)])
    }

    /// The ratio on each resample, from the draws that [`Bootstrap::distribution`] would count.
    fn distribution(&self, clusters: &Clusters, bootstrap: &Bootstrap) -> Vec<Option<f64>> {
        let draws = Draws::new(clusters.groups());
        let table = |stratum: &Range<usize>| {
            let mut rows = [[0.0; 2]; STRATUM];
            for (row, cluster) in rows.iter_mut().zip(stratum.clone()) {
                *row = [self.numerators[cluster], self.denominators[cluster]];
            }
            rows
        };
        let tables: Vec<[[f64; 2]; STRATUM]> = draws.strata().iter().map(table).collect();
        bootstrap.replicates(0..bootstrap.replicates, || {
            let (mut draws, tables) = (draws.clone(), &tables);
            move |stream| {
                let mut lanes = [[0.0; 2]; 4];
                draws.draw(stream, |stratum, drawn| add_drawn(&mut lanes, &tables[stratum], drawn));
                quotient(sum_lanes(lanes))
            }
        })
    }
}

fn quotient([numerator, denominator]: [f64; 2]) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}

fn add(sum: &mut [f64; 2], row: [f64; 2]) {
    sum[0] += row[0];
    sum[1] += row[1];
}

fn sum_lanes(lanes: [[f64; 2]; 4]) -> [f64; 2] {
    [0, 1].map(|part| (lanes[0][part] + lanes[1][part]) + (lanes[2][part] + lanes[3][part]))
}

/// Adds the rows that were drawn, in four lanes as [`weighted_sum`] does.
fn add_drawn(lanes: &mut [[f64; 2]; 4], table: &[[f64; 2]; STRATUM], drawn: &[u8]) {
    let mut sums = *lanes;
    let blocks = drawn.chunks_exact(4);
    for place in blocks.remainder() {
        add(&mut sums[0], table[usize::from(*place)]);
    }
    for block in blocks {
        for lane in 0..4 {
            add(&mut sums[lane], table[usize::from(block[lane])]);
        }
    }
    *lanes = sums;
}

/// The mean of one value per row, with its interval over clusters: `[rows]`.
///
/// Errors: lengths that differ, a value that is not finite, and those of [`Bootstrap::interval`].
pub fn bootstrap_mean(
    values: &[f64],
    clusters: &Clusters,
    bootstrap: &Bootstrap,
) -> Result<Estimate, StatisticsError> {
    crate::error::same_length(("values", values.len()), ("clusters", clusters.rows()))?;
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        let found = values[index];
        return Err(StatisticsError::Value { name: "values", index, found, valid: "finite numbers" });
    }
    let ratio = Ratio::new(clusters, values.iter().map(|value| (*value, 1.0)));
    ratio.interval(clusters, bootstrap)
}

/// Σ wᵢ vᵢ in four lanes: a fixed order of additions, and four times as fast as one.
fn weighted_sum(weights: &[u32], values: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (weight_blocks, value_blocks) = (weights.chunks_exact(4), values.chunks_exact(4));
    let rest: f64 = weight_blocks
        .remainder()
        .iter()
        .zip(value_blocks.remainder())
        .map(|(weight, value)| f64::from(*weight) * value)
        .sum();
    for (weights, values) in weight_blocks.zip(value_blocks) {
        for lane in 0..4 {
            lanes[lane] += f64::from(weights[lane]) * values[lane];
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    #[test]
    fn adding_up_draws_is_weighing_their_counts() {
        let rows: Vec<(f64, f64)> =
            (0..400_u32).map(|row| (f64::from(row).sin(), f64::from(row % 7))).collect();
        for groups in [1, 3] {
            let of_group: Vec<usize> = (0..400).map(|row| row % groups).collect();
            let clusters = Clusters::within(&(0..400).collect::<Vec<_>>(), &of_group).unwrap();
            let ratio = Ratio::new(&clusters, rows.iter().copied());
            let settings =
                Bootstrap { replicates: 300, seed: 2, confidence: 0.9, method: Method::Percentile };
            let counted = settings.distribution(&clusters, 0..300, |weights| ratio.value(weights));
            for (sum, weighed) in ratio.distribution(&clusters, &settings).iter().zip(counted) {
                assert!((sum.unwrap() - weighed.unwrap()).abs() < 1e-14);
            }
        }
    }
}
