//! The statistics that most rows come to: a ratio of sums over clusters.
//! Means, rates and shares of steps are all of this form.

use crate::classes::Classes;
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
    /// Where clusters take few values it draws counts of them instead of clusters: the same law, several times as fast.
    /// Errors: those of [`Bootstrap::interval`].
    pub fn interval(&self, clusters: &Clusters, bootstrap: &Bootstrap) -> Result<Estimate, StatisticsError> {
        let rows = self.numerators.iter().zip(&self.denominators);
        let profiles: Vec<(u64, u64)> = rows.map(|(n, d)| (n.to_bits(), d.to_bits())).collect();
        let Some((classes, members)) = Classes::merged(clusters, &profiles) else {
            return bootstrap.interval(clusters, |weights| self.value(weights));
        };
        let of_members = |values: &[f64]| members.iter().map(|member| values[*member]).collect();
        let merged =
            Self { numerators: of_members(&self.numerators), denominators: of_members(&self.denominators) };
        bootstrap.interval_over(&classes, |weights| merged.value(weights))
    }

    /// The ratio under `[clusters]` multiplicities; none where the denominator is 0.
    pub fn value(&self, weights: &[u32]) -> Option<f64> {
        let numerator = weighted_sum(weights, &self.numerators);
        let denominator = weighted_sum(weights, &self.denominators);
        (denominator != 0.0).then(|| numerator / denominator)
    }
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
