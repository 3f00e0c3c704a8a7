//! Counts of draws of each class of clusters, without drawing clusters: multinomial counts, one binomial per class.
//! Each binomial inverts a table of its distribution function, so that a replicate costs a few look-ups.

use rand_chacha::rand_core::Rng;

use crate::classes::Classes;
use crate::streams::Stream;

/// Size of a bundle. A number of draws is split into whole bundles and a remainder; the sum of both counts has the same
/// distribution. This needs few and small tables, which stay in the processor's cache.
const BUNDLE: u32 = 64;

/// Masses below this share of the largest are left out: a table of 64-bit thresholds cannot show them.
const NEGLIGIBLE: f64 = 1.0 / (1_u128 << 64) as f64;

/// Multinomial counts of the classes of each group, with the tables that have been needed so far.
#[derive(Clone)]
pub(crate) struct Multinomial {
    groups: Vec<Group>,
}

#[derive(Clone)]
struct Group {
    clusters: u32,
    /// The largest class first, which leaves the fewest draws to the others.
    conditionals: Vec<Conditional>,
    /// The class that takes the remaining draws.
    last: usize,
}

impl Multinomial {
    pub(crate) fn new(classes: &Classes) -> Self {
        let group = |members: &std::ops::Range<usize>| {
            let mut order: Vec<usize> = members.clone().collect();
            order.sort_by_key(|class| std::cmp::Reverse(classes.sizes()[*class]));
            let clusters = classes.sizes()[members.clone()].iter().sum();
            let last = order.pop()?;
            let mut among = clusters;
            let conditional = |class: usize| {
                let size = classes.sizes()[class];
                among -= size;
                Conditional::new(class, size, among, clusters)
            };
            Some(Group { clusters, conditionals: order.into_iter().map(conditional).collect(), last })
        };
        Self { groups: classes.groups().iter().filter_map(group).collect() }
    }

    /// `weights[i]` becomes the times class i was drawn; as many draws in a group as it has clusters.
    pub(crate) fn count(&mut self, stream: &mut Stream, weights: &mut [u32]) {
        for group in &mut self.groups {
            let mut missing = group.clusters;
            for conditional in &mut group.conditionals {
                let drawn = conditional.draw(stream, missing);
                weights[conditional.class] = drawn;
                missing -= drawn;
            }
            weights[group.last] = missing;
        }
    }
}

/// Distribution of the count of a class among the draws that earlier classes left.
#[derive(Clone)]
struct Conditional {
    class: usize,
    /// Clusters of this class, and of all classes after it.
    size: u32,
    others: u32,
    /// Tables for a number of whole bundles, and for a number of draws below a bundle.
    bundles: Vec<Option<Table>>,
    singles: Vec<Option<Table>>,
}

impl Conditional {
    fn new(class: usize, size: u32, others: u32, most: u32) -> Self {
        let empty = |count: u32| (0..count).map(|_| None).collect();
        Self { class, size, others, bundles: empty(most / BUNDLE + 1), singles: empty(BUNDLE.min(most + 1)) }
    }

    fn draw(&mut self, stream: &mut Stream, draws: u32) -> u32 {
        let (bundles, singles) = (draws / BUNDLE, draws % BUNDLE);
        let (size, others) = (self.size, self.others);
        let mut part = |table: &mut Option<Table>, draws: u32| match draws {
            0 => 0,
            _ => table.get_or_insert_with(|| Table::new(draws, size, others)).draw(stream),
        };
        part(&mut self.bundles[bundles as usize], bundles * BUNDLE)
            + part(&mut self.singles[singles as usize], singles)
    }
}

/// The distribution function of a binomial.
#[derive(Clone)]
struct Table {
    /// The count of a value below the first bound; each bound passed adds one.
    first: u32,
    /// Distribution function times 2^64.
    bounds: Vec<u64>,
}

impl Table {
    /// Of `draws` that each hit with probability size / (size + others), both above 0.
    ///
    /// Masses follow from the largest by their ratios, right to about 1e-13. Sums, products and quotients alone are
    /// the same on every machine; logarithms and powers, which samplers of any number of draws need, are not.
    ///
    /// Source: Devroye, *Non-Uniform Random Variate Generation*, 1986, chapters III.2 and X.4.
    fn new(draws: u32, size: u32, others: u32) -> Self {
        let odds = f64::from(size) / f64::from(others);
        let mode = (u64::from(draws) + 1) * u64::from(size) / (u64::from(size) + u64::from(others));
        let mode = mode as u32; // At most `draws`, as others > 0.
        let step = |count: u32| f64::from(draws - count + 1) * odds / f64::from(count);
        let shown = |mass: &f64| *mass > NEGLIGIBLE;
        let falling = (1..=mode).rev().scan(1.0, |mass, count| {
            *mass /= step(count);
            Some(*mass)
        });
        let rising = (mode + 1..=draws).scan(1.0, |mass, count| {
            *mass *= step(count);
            Some(*mass)
        });
        let mut masses: Vec<f64> = falling.take_while(shown).collect();
        let first = mode - masses.len() as u32;
        masses.reverse();
        masses.push(1.0);
        masses.extend(rising.take_while(shown));
        let whole: f64 = masses.iter().sum();
        masses.pop(); // The last count has no bound above it.
        let mut below = 0.0;
        let bound = |mass: &f64| {
            below += mass;
            (below / whole * (1_u128 << 64) as f64) as u64
        };
        Self { first, bounds: masses.iter().map(bound).collect() }
    }

    fn draw(&self, stream: &mut Stream) -> u32 {
        let uniform = stream.next_u64();
        self.first + self.bounds.partition_point(|bound| *bound <= uniform) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clusters;
    use crate::binomial::Binomial;
    use crate::resample::Draws;
    use crate::streams::Streams;

    /// Groups with so many clusters of each class.
    fn classes(groups: &[&[u32]]) -> (Clusters, Classes, Vec<usize>) {
        let (mut keys, mut of_group, mut profiles) = (Vec::new(), Vec::new(), Vec::new());
        for (group, sizes) in groups.iter().enumerate() {
            for (class, size) in sizes.iter().enumerate() {
                for _ in 0..*size {
                    keys.push(keys.len());
                    of_group.push(group);
                    profiles.push(class);
                }
            }
        }
        let clusters = Clusters::within(&keys, &of_group).unwrap();
        let classes = Classes::merged(&clusters, &profiles).unwrap().0;
        assert_eq!(classes.sizes(), groups.concat());
        let start = |group: usize| groups[..group].iter().map(|sizes| sizes.len()).sum::<usize>();
        let class_of = profiles.iter().zip(&of_group).map(|(class, group)| start(*group) + class).collect();
        (clusters, classes, class_of)
    }

    fn counts(classes: &Classes, seed: u64, replicates: u64) -> Vec<Vec<u32>> {
        let (mut multinomial, mut streams) = (Multinomial::new(classes), Streams::new(seed, 0));
        let mut weights = vec![0; classes.sizes().len()];
        (0..replicates)
            .map(|_| {
                multinomial.count(&mut streams.next(), &mut weights);
                weights.clone()
            })
            .collect()
    }

    #[test]
    fn tables_hold_the_distribution_function() {
        for (draws, size, others) in
            [(1, 1, 1), (7, 3, 4), (700, 1, 699), (700, 595, 105), (1023, 1, 9_000), (65_536, 9_999, 5)]
        {
            let share = f64::from(size) / f64::from(size + others);
            let exact = Binomial::new(u64::from(draws), share);
            let table = Table::new(draws, size, others);
            for (place, bound) in table.bounds.iter().enumerate() {
                let expected = exact.lower_tail(u64::from(table.first) + place as u64);
                assert!(
                    (*bound as f64 / (1_u128 << 64) as f64 - expected).abs() < 1e-12,
                    "{draws} {size} {others}"
                );
            }
            assert!(table.first + table.bounds.len() as u32 <= draws);
        }
    }

    #[test]
    fn counts_have_the_mean_and_the_covariance_of_a_multinomial() {
        let replicates = 100_000;
        // One group whose draws share tables, one in bundles, and two side by side.
        for groups in [&[&[20, 85, 595][..]][..], &[&[400, 4_000, 50, 600]], &[&[30, 30, 4], &[5, 95]]] {
            let (_, classes, _) = classes(groups);
            let drawn = counts(&classes, 11, replicates);
            let moment = |i: usize, j: usize, mean: &[f64]| {
                let product = |w: &Vec<u32>| (f64::from(w[i]) - mean[i]) * (f64::from(w[j]) - mean[j]);
                drawn.iter().map(product).sum::<f64>() / replicates as f64
            };
            let expected: Vec<f64> = classes.sizes().iter().copied().map(f64::from).collect();
            let group_of = |class: usize| classes.groups().iter().position(|g| g.contains(&class)).unwrap();
            let clusters =
                |class: usize| expected[classes.groups()[group_of(class)].clone()].iter().sum::<f64>();
            let covariance = |i: usize, j: usize| match group_of(i) == group_of(j) {
                true if i == j => expected[i] * (1.0 - expected[i] / clusters(i)),
                true => -expected[i] * expected[j] / clusters(i),
                false => 0.0,
            };
            for i in 0..expected.len() {
                let mean = drawn.iter().map(|w| f64::from(w[i])).sum::<f64>() / replicates as f64;
                let error = (covariance(i, i) / replicates as f64).sqrt();
                assert!((mean - expected[i]).abs() < 4.5 * error, "{groups:?}: mean {mean} of class {i}");
                for j in 0..=i {
                    let (found, exact) = (moment(i, j, &expected), covariance(i, j));
                    // Of a normal law's sample covariance; 5 % over for the tails of small classes.
                    let squares = covariance(i, i) * covariance(j, j) + exact * exact;
                    let error = 1.05 * (squares / replicates as f64).sqrt();
                    assert!((found - exact).abs() < 4.5 * error, "{groups:?}: {found} for {exact}, {i} {j}");
                }
            }
        }
    }

    #[test]
    fn counts_have_the_law_of_drawing_clusters() {
        let replicates = 40_000;
        let (clusters, classes, class_of) = classes(&[&[3, 37, 60], &[1_100, 90]]);
        let drawn = counts(&classes, 21, replicates);
        let mut by_cluster = vec![vec![0_u32; 5]; replicates as usize];
        let (mut streams, mut weights) = (Streams::new(22, 0), vec![0; clusters.count()]);
        let mut draws = Draws::new(clusters.groups());
        for counted in &mut by_cluster {
            draws.count(&mut streams.next(), &mut weights);
            for (class, weight) in class_of.iter().zip(&weights) {
                counted[*class] += weight;
            }
        }
        // Two-sample Kolmogorov-Smirnov of each class, and of a sum of classes that shows how they depend on another.
        let statistics: [fn(&[u32]) -> u32; 5] =
            [|w| w[0], |w| w[1], |w| w[3], |w| 5 * w[0] + w[1], |w| w[1] + w[3]];
        for (number, statistic) in statistics.iter().enumerate() {
            let sorted = |rows: &[Vec<u32>]| {
                let mut values: Vec<u32> = rows.iter().map(|row| statistic(row)).collect();
                values.sort_unstable();
                values
            };
            let (left, right) = (sorted(&drawn), sorted(&by_cluster));
            let share = |values: &[u32], value: u32| values.partition_point(|v| *v <= value) as f64;
            let gap = left.iter().map(|v| (share(&left, *v) - share(&right, *v)).abs()).fold(0.0, f64::max);
            let limit = 1.95 * (2.0 / replicates as f64).sqrt(); // The 0.999 quantile.
            assert!(gap / (replicates as f64) < limit, "{number}: {gap}");
        }
    }

    #[test]
    fn a_seed_has_these_counts_on_every_machine() {
        // Worked out apart from this code, with rational distribution functions.
        let (_, classes, _) = classes(&[&[20, 85, 595]]);
        assert_eq!(counts(&classes, 11, 4), [[27, 76, 597], [19, 85, 596], [11, 94, 595], [28, 90, 582]]);
    }

    #[test]
    fn every_group_has_as_many_draws_as_clusters() {
        let (_, classes, _) = classes(&[&[3, 4], &[2], &[2_000, 1, 999]]);
        for weights in counts(&classes, 5, 500) {
            let sums: Vec<u32> = classes.groups().iter().map(|g| weights[g.clone()].iter().sum()).collect();
            assert_eq!(sums, [7, 2, 3_000]);
        }
    }

    #[test]
    fn tables_made_before_change_nothing() {
        let (_, classes, _) = classes(&[&[300, 700, 2_000, 60]]);
        let in_turn = counts(&classes, 5, 300);
        for (number, expected) in in_turn.iter().enumerate() {
            let mut weights = vec![0; 4];
            let mut stream = Streams::new(5, number as u64).next();
            Multinomial::new(&classes).count(&mut stream, &mut weights);
            assert_eq!(weights, *expected);
        }
    }
}
