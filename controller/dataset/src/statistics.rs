//! Statistics of columns, with the names and the merging of LeRobot's: exact within an episode, and over episodes weighted by
//! their rows. Values that are not finite are left out. Pure.

/// Quantiles with their names.
pub const QUANTILES: [(f64, &str); 5] =
    [(0.01, "q01"), (0.10, "q10"), (0.50, "q50"), (0.90, "q90"), (0.99, "q99")];

/// Levels of a colour.
const LEVELS: usize = 256;
/// Colours of a pixel.
const COLOURS: usize = 3;

/// Statistics of one column, by component.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub min: Vec<f64>,
    pub max: Vec<f64>,
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
    /// Number of rows, or of pictures.
    pub count: u64,
    /// Quantiles in the order of [`QUANTILES`].
    pub quantiles: [Vec<f64>; QUANTILES.len()],
}

impl Statistics {
    fn zeros(width: usize) -> Self {
        let zeros = || vec![0.0; width];
        Self {
            min: zeros(),
            max: zeros(),
            mean: zeros(),
            std: zeros(),
            count: 0,
            quantiles: [(); QUANTILES.len()].map(|()| zeros()),
        }
    }

    /// Computes the statistics of values, row-major `[rows, width]`. The count is that of the finite values of the component that
    /// has most of them.
    pub fn of(values: &[f64], width: usize) -> Self {
        let mut found = Self::zeros(width);
        for component in 0..width {
            let column = values.iter().skip(component).step_by(width).copied();
            let mut column: Vec<f64> = column.filter(|value| value.is_finite()).collect();
            let (Some(first), count) = (column.first().copied(), column.len()) else { continue };
            column.sort_by(f64::total_cmp);
            let mean = column.iter().map(|value| value - first).sum::<f64>() / count as f64 + first;
            let squares = column.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
            found.min[component] = column[0];
            found.max[component] = column[count - 1];
            found.mean[component] = mean;
            found.std[component] = (squares / count as f64).sqrt();
            for ((share, _), quantile) in QUANTILES.iter().zip(&mut found.quantiles) {
                quantile[component] = at(&column, *share);
            }
            found.count = found.count.max(count as u64);
        }
        found
    }

    /// Returns each statistic but the count with its name, in LeRobot's order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Vec<f64>)> {
        let first = [("min", &self.min), ("max", &self.max), ("mean", &self.mean), ("std", &self.std)];
        first
            .into_iter()
            .chain(QUANTILES.iter().zip(&self.quantiles).map(|((_, name), values)| (*name, values)))
    }
}

/// Returns a quantile of sorted values, interpolated linearly between two of them.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Counts of each level of each colour over pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Colours {
    pictures: u64,
    counts: Vec<u64>,
}

impl Default for Colours {
    fn default() -> Self {
        Self { pictures: 0, counts: vec![0; LEVELS * COLOURS] }
    }
}

impl Colours {
    /// Returns the counts of one picture, `[height, width, 3]`.
    pub fn of(rgb: &[u8]) -> Self {
        let mut found = Self { pictures: 1, ..Self::default() };
        for pixel in rgb.chunks_exact(COLOURS) {
            for (colour, level) in pixel.iter().enumerate() {
                found.counts[colour * LEVELS + usize::from(*level)] += 1;
            }
        }
        found
    }

    /// Adds another picture's counts, or those of more.
    pub fn add(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    /// Returns the statistics over every pixel, of levels from 0 to 1. The count is that of the pictures.
    pub fn statistics(&self) -> Statistics {
        let mut found = Statistics::zeros(COLOURS);
        for (colour, counts) in self.counts.chunks_exact(LEVELS).enumerate() {
            let pixels: u64 = counts.iter().sum();
            let levels = || {
                counts
                    .iter()
                    .enumerate()
                    .filter(|(_, count)| **count > 0)
                    .map(|(level, count)| (level as f64 / 255.0, *count as f64))
            };
            let (Some(first), Some(last)) = (levels().next(), levels().next_back()) else { continue };
            let mean = levels().map(|(level, count)| level * count).sum::<f64>() / pixels as f64;
            let squares = levels().map(|(level, count)| (level - mean).powi(2) * count).sum::<f64>();
            (found.min[colour], found.max[colour], found.mean[colour]) = (first.0, last.0, mean);
            found.std[colour] = (squares / pixels as f64).sqrt();
            for ((share, _), quantile) in QUANTILES.iter().zip(&mut found.quantiles) {
                let wanted = share * pixels as f64;
                let mut below = 0.0;
                let level = levels().find(|(_, count)| {
                    below += count;
                    below >= wanted
                });
                quantile[colour] = level.map_or(last.0, |(level, _)| level);
            }
        }
        Statistics { count: self.pictures, ..found }
    }
}

/// Statistics over episodes, added one after another.
#[derive(Clone, Debug, Default)]
pub struct Total(Option<Statistics>);

impl Total {
    /// Adds an episode's statistics.
    pub fn add(&mut self, more: &Statistics) {
        if more.count == 0 {
            return;
        }
        let Some(total) = &mut self.0 else {
            self.0 = Some(more.clone());
            return;
        };
        let (before, added) = (total.count as f64, more.count as f64);
        let all = before + added;
        for component in 0..total.mean.len() {
            let between = more.mean[component] - total.mean[component];
            let variance = (total.std[component].powi(2) * before + more.std[component].powi(2) * added)
                / all
                + between * between * before * added / (all * all);
            total.mean[component] += between * added / all;
            total.std[component] = variance.sqrt();
            total.min[component] = total.min[component].min(more.min[component]);
            total.max[component] = total.max[component].max(more.max[component]);
            for (quantile, other) in total.quantiles.iter_mut().zip(&more.quantiles) {
                quantile[component] += (other[component] - quantile[component]) * added / all;
            }
        }
        total.count += more.count;
    }

    /// Returns the statistics of all episodes; `None` where there is no value.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_give_the_statistics_of_their_definition() {
        // Two components, five rows; the second has a value that is not finite.
        let values = [1.0, 5.0, 2.0, 5.0, 3.0, f64::NAN, 4.0, 5.0, 10.0, 5.0];
        let found = Statistics::of(&values, 2);
        assert_eq!((found.min, found.max, found.count), (vec![1.0, 5.0], vec![10.0, 5.0], 5));
        assert_eq!(found.mean, [4.0, 5.0]);
        assert!((found.std[0] - 10.0_f64.sqrt()).abs() < 1e-12 && found.std[1] == 0.0);
        assert_eq!(found.quantiles[2], [3.0, 5.0]);
        assert!(
            (found.quantiles[3][0] - 7.6).abs() < 1e-12,
            "as NumPy interpolates: {:?}",
            found.quantiles[3]
        );
    }

    #[test]
    fn a_large_mean_does_not_swallow_a_small_spread() {
        let values: Vec<f64> = (0..1000).map(|index| 1e6 + f64::from(index % 2) * 1e-3).collect();
        let found = Statistics::of(&values, 1);
        assert!((found.std[0] - 5e-4).abs() < 1e-7, "{}", found.std[0]);
    }

    #[test]
    fn episodes_together_are_as_one() {
        let values: Vec<f64> = (0..60).map(|index| f64::from(index * index % 17) - 3.0).collect();
        let whole = Statistics::of(&values, 2);
        let mut total = Total::default();
        for part in [&values[..10], &values[10..36], &values[36..]] {
            total.add(&Statistics::of(part, 2));
        }
        total.add(&Statistics::of(&[f64::NAN; 4], 2));
        let found = total.statistics().unwrap();
        assert_eq!((&found.min, &found.max, found.count), (&whole.min, &whole.max, 30));
        for component in 0..2 {
            assert!((found.mean[component] - whole.mean[component]).abs() < 1e-12);
            assert!((found.std[component] - whole.std[component]).abs() < 1e-12);
        }
        assert!(Total::default().statistics().is_none());
    }

    #[test]
    fn colours_are_counted_over_every_pixel() {
        let mut colours = Colours::of(&[0, 255, 51, 255, 255, 51]);
        colours.add(&Colours::of(&[0, 255, 51, 0, 255, 51]));
        let found = colours.statistics();
        assert_eq!(
            (found.count, &found.min[..], &found.max[..]),
            (2, &[0.0, 1.0, 0.2][..], &[1.0, 1.0, 0.2][..])
        );
        assert!((found.mean[0] - 0.25).abs() < 1e-12 && (found.std[0] - 0.1875_f64.sqrt()).abs() < 1e-12);
        assert_eq!((found.quantiles[2][0], found.quantiles[3][0]), (0.0, 1.0));
    }
}
