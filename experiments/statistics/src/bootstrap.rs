//! Bootstrap intervals over clusters: percentile and BCa.
//! A statistic is a function of how often each cluster was drawn, so nothing is copied or sorted again.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};

use crate::classes::Classes;
use crate::error::open_unit;
use crate::multinomial::Multinomial;
use crate::resample::Draws;
use crate::streams::{Stream, Streams};
use crate::{Clusters, StatisticsError};

/// Fewer resamples than this are not worth a thread.
const LEAST_SHARE: usize = 500;

/// Method of computing an interval from the bootstrap distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The distribution's own quantiles.
    Percentile,
    /// Bias-corrected and accelerated.
    Bca,
}

/// Settings of a bootstrap.
///
/// A seed draws the same resamples on every machine, and a percentile interval of [`crate::Ratio`] or of an AUROC is
/// the same to the last bit. BCa goes through exponentials and logarithms of the platform, which may differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Resamples: [`Bootstrap::REPLICATES`].
    pub replicates: u64,
    /// Seed of all streams.
    pub seed: u64,
    /// Two-sided confidence level, in (0, 1).
    pub confidence: f64,
    /// Percentile or BCa.
    pub method: Method,
}

/// An estimate with its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The statistic on the data.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// Standard deviation over the resamples.
    pub standard_error: f64,
    /// Clusters that were resampled.
    pub clusters: usize,
    /// Resamples on which the statistic was undefined (one class, no episode that weak lost); left out.
    pub undefined: usize,
}

impl Bootstrap {
    /// Valid numbers of resamples. The values of all of them are kept and sorted.
    pub const REPLICATES: std::ops::RangeInclusive<u64> = 100..=1_000_000;

    /// The interval of a statistic. `statistic` takes `[clusters]` multiplicities, all 1 for the data themselves, and
    /// returns `None` where it is undefined.
    ///
    /// Errors: settings out of range; a statistic that is undefined on the data or on all resamples; data that BCa
    /// cannot correct.
    pub fn interval(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[u32]) -> Option<f64> + Sync,
    ) -> Result<Estimate, StatisticsError> {
        self.interval_over(&Classes::singles(clusters), statistic)
    }

    /// [`Bootstrap::interval`] for a statistic of `[classes]` multiplicities.
    pub(crate) fn interval_over(
        &self,
        classes: &Classes,
        statistic: impl Fn(&[u32]) -> Option<f64> + Sync,
    ) -> Result<Estimate, StatisticsError> {
        self.validate()?;
        let distribution = self.distribution_over(classes, 0..self.replicates, &statistic);
        self.summarise_over(classes, &distribution, statistic)
    }

    /// The statistic on the resamples with these numbers. Ranges of numbers may be computed separately, in any order and on
    /// any machine, and then concatenated.
    pub fn distribution(
        &self,
        clusters: &Clusters,
        numbers: Range<u64>,
        statistic: impl Fn(&[u32]) -> Option<f64> + Sync,
    ) -> Vec<Option<f64>> {
        self.distribution_over(&Classes::singles(clusters), numbers, statistic)
    }

    fn distribution_over(
        &self,
        classes: &Classes,
        numbers: Range<u64>,
        statistic: impl Fn(&[u32]) -> Option<f64> + Sync,
    ) -> Vec<Option<f64>> {
        let count = classes.sizes().len();
        if classes.clusters() == count {
            return self.replicates(numbers, || {
                let (mut draws, mut weights) = (Draws::new(classes.groups()), vec![0; count]);
                let statistic = &statistic;
                move |stream| {
                    draws.count(stream, &mut weights);
                    statistic(&weights)
                }
            });
        }
        self.replicates(numbers, || {
            let (mut multinomial, mut weights) = (Multinomial::new(classes), vec![0; count]);
            let statistic = &statistic;
            move |stream| {
                multinomial.count(stream, &mut weights);
                statistic(&weights)
            }
        })
    }

    /// The value of each of these resamples, in the order of their numbers. Each resample has a separate random stream. The
    /// resamples are divided among the cores, each with a separate `resampler`; the number of cores affects only the time.
    pub(crate) fn replicates<V: FnMut(&mut Stream) -> Option<f64>>(
        &self,
        numbers: Range<u64>,
        resampler: impl Fn() -> V + Sync,
    ) -> Vec<Option<f64>> {
        let count = numbers.end.saturating_sub(numbers.start) as usize;
        let mut values = vec![None; count];
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = count.div_ceil(cores).max(LEAST_SHARE);
        let run = |part: usize, values: &mut [Option<f64>]| {
            let mut streams = Streams::new(self.seed, numbers.start + (part * share) as u64);
            let mut value = resampler();
            values.iter_mut().for_each(|place| *place = value(&mut streams.next()));
        };
        let (first, others) = values.split_at_mut(share.min(count));
        std::thread::scope(|scope| {
            for (part, values) in others.chunks_mut(share).enumerate() {
                let run = &run;
                scope.spawn(move || run(part + 1, values));
            }
            run(0, first);
        });
        values
    }

    /// The interval from a bootstrap distribution, in any order.
    ///
    /// Quantiles interpolate linearly between order statistics. Sources: Efron, *Better Bootstrap Confidence
    /// Intervals*, JASA 1987; for several groups Davison, Hinkley, *Bootstrap Methods and their Application*, 1997,
    /// section 5.3; ties with the estimate count one half.
    pub fn summarise(
        &self,
        clusters: &Clusters,
        distribution: &[Option<f64>],
        statistic: impl Fn(&[u32]) -> Option<f64>,
    ) -> Result<Estimate, StatisticsError> {
        self.summarise_over(&Classes::singles(clusters), distribution, statistic)
    }

    fn summarise_over(
        &self,
        classes: &Classes,
        distribution: &[Option<f64>],
        statistic: impl Fn(&[u32]) -> Option<f64>,
    ) -> Result<Estimate, StatisticsError> {
        self.validate()?;
        let estimate = statistic(classes.sizes()).ok_or(StatisticsError::Undefined("the data"))?;
        let mut sorted: Vec<f64> = distribution.iter().copied().flatten().collect();
        if sorted.is_empty() {
            return Err(StatisticsError::Undefined("every resample"));
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        let (low, high) = match self.method {
            Method::Percentile => (tail, 1.0 - tail),
            Method::Bca => {
                let bias = bias(&sorted, estimate)?;
                let acceleration = acceleration(classes, statistic)?;
                let corrected = |share: f64| {
                    let shifted = bias + normal_quantile(share);
                    normal_cdf(bias + shifted / (1.0 - acceleration * shifted))
                };
                (corrected(tail), corrected(1.0 - tail))
            }
        };
        Ok(Estimate {
            estimate,
            lower: quantile(&sorted, low),
            upper: quantile(&sorted, high),
            standard_error: standard_deviation(&sorted),
            clusters: classes.clusters(),
            undefined: distribution.len() - sorted.len(),
        })
    }

    pub(crate) fn validate(&self) -> Result<(), StatisticsError> {
        open_unit("confidence", self.confidence)?;
        if !Self::REPLICATES.contains(&self.replicates) {
            let found = self.replicates as f64;
            let valid = "100 to 1,000,000";
            return Err(StatisticsError::Range { name: "replicates", found, valid });
        }
        Ok(())
    }
}

/// z₀: how far the estimate lies from the middle of the distribution, in standard normal units.
fn bias(sorted: &[f64], estimate: f64) -> Result<f64, StatisticsError> {
    let below = sorted.partition_point(|value| *value < estimate);
    let not_above = sorted.partition_point(|value| *value <= estimate);
    let share = (below + not_above) as f64 / (2 * sorted.len()) as f64;
    if share <= 0.0 || share >= 1.0 {
        return Err(StatisticsError::Bca("the estimate lies beyond every resample"));
    }
    Ok(normal_quantile(share))
}

/// a: a sixth of the skewness of the influence values, from leaving out one cluster at a time.
fn acceleration(
    classes: &Classes,
    statistic: impl Fn(&[u32]) -> Option<f64>,
) -> Result<f64, StatisticsError> {
    let mut weights = classes.sizes().to_vec();
    let (mut cubes, mut squares) = (0.0, 0.0);
    for group in classes.groups() {
        let n: f64 = classes.sizes()[group.clone()].iter().copied().map(f64::from).sum();
        if n < 2.0 {
            continue;
        }
        let mut left_out = Vec::with_capacity(group.len());
        for class in group.clone() {
            weights[class] -= 1;
            let value = statistic(&weights)
                .ok_or(StatisticsError::Bca("leaving out one cluster leaves the statistic undefined"))?;
            weights[class] += 1;
            left_out.push((value, f64::from(weights[class])));
        }
        let mean = left_out.iter().map(|(value, size)| value * size).sum::<f64>() / n;
        for (value, size) in left_out {
            let influence = (n - 1.0) * (mean - value) / n;
            squares += size * influence * influence;
            cubes += size * influence * influence * influence;
        }
    }
    Ok(if squares > 0.0 { cubes / (6.0 * squares * squares.sqrt()) } else { 0.0 })
}

/// Quantile of sorted values, linear between order statistics (Hyndman, Fan 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

fn standard_deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (n - 1.0).max(1.0)).sqrt()
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

fn normal_quantile(share: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_quantile_inverts_its_distribution() {
        for share in [1e-9, 0.001, 0.025, 0.3, 0.5, 0.7, 0.975, 0.9999] {
            assert!((normal_cdf(normal_quantile(share)) / share - 1.0).abs() < 1e-10, "{share}"); // As good as the error function is.
        }
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-13);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }
}
