//! One treatment per unit at most: a threshold is lowered step by step, each unit is treated at its first moment whose score exceeds
//! the threshold, and what this recovers and breaks is counted against what it spends.

use serde::Serialize;

use crate::uplift::interpolate;
use crate::{Bootstrap, Clusters, Estimate, StatisticsError};

/// What a treatment of one unit at one moment would change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// 1 where a lost unit is won by it.
    pub recovered: f64,
    /// 1 where a won unit is lost by it.
    pub broken: f64,
    /// What it costs, in the unit of [`BudgetCurve::new`]'s `whole`.
    pub spent: f64,
}

/// Unit with its moments in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Whether the unit is lost without treatment.
    pub lost: bool,
    /// Score and effect at each moment, in order.
    pub moments: Vec<(f64, Effect)>,
}

/// Recovered and broken shares against the share that is spent.
#[derive(Clone, Debug)]
pub struct BudgetCurve {
    /// Changes while the threshold is lowered: the cluster, and by how much its totals change.
    changes: Vec<(usize, Effect)>,
    /// Ends of the changes of each threshold.
    ends: Vec<usize>,
    /// Lost and won units of each cluster, `[clusters]`.
    units: Vec<[f64; 2]>,
    whole: f64,
}

/// Point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetPoint {
    /// Share that is spent.
    pub spent: f64,
    /// Share of the lost units that are recovered.
    pub recovered: f64,
    /// Share of the won units that are broken.
    pub broken: f64,
}

impl BudgetCurve {
    /// Sweeps a threshold over the units, of which `clusters` has one row each. `whole` is what one unit could spend at most, so that
    /// spending is a share of it. A score that is NaN exceeds every threshold.
    pub fn new(units: &[Unit], clusters: &Clusters, whole: f64) -> Self {
        let score = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
        let moments = units.iter().enumerate().flat_map(|(unit, of)| {
            of.moments.iter().enumerate().map(move |(moment, (value, _))| (score(*value), unit, moment))
        });
        let mut order: Vec<(f64, usize, usize)> = moments.collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut first: Vec<Option<usize>> = vec![None; units.len()];
        let (mut changes, mut ends) = (Vec::new(), Vec::new());
        for (place, (value, unit, moment)) in order.iter().enumerate() {
            if place > 0 && order[place - 1].0 != *value {
                ends.push(changes.len());
            }
            let there = first[*unit];
            if there.is_none_or(|there| *moment < there) {
                let effect = |moment: usize| units[*unit].moments[moment].1;
                let (new, old) = (effect(*moment), there.map_or(Effect::default(), effect));
                changes.push((*unit, new.minus(old)));
                first[*unit] = Some(*moment);
            }
        }
        ends.push(changes.len());
        Self::of(units, clusters, whole, changes, ends)
    }

    /// Treats each unit at one of its moments, drawn uniformly, in a share of the units that grows from none to all: the expectation.
    pub fn random(units: &[Unit], clusters: &Clusters, whole: f64) -> Self {
        let mean = |(unit, of): (usize, &Unit)| {
            let count = of.moments.len().max(1) as f64;
            let sum = of.moments.iter().fold(Effect::default(), |sum, (_, effect)| sum.plus(*effect));
            (
                unit,
                Effect {
                    recovered: sum.recovered / count,
                    broken: sum.broken / count,
                    spent: sum.spent / count,
                },
            )
        };
        let changes: Vec<_> = units.iter().enumerate().map(mean).collect();
        let ends = vec![changes.len()];
        Self::of(units, clusters, whole, changes, ends)
    }

    fn of(
        units: &[Unit],
        clusters: &Clusters,
        whole: f64,
        changes: Vec<(usize, Effect)>,
        ends: Vec<usize>,
    ) -> Self {
        let cluster = |unit: usize| clusters.of_row().get(unit).map_or(0, |cluster| *cluster as usize);
        let mut counts = vec![[0.0; 2]; clusters.count()];
        for (unit, of) in units.iter().enumerate() {
            counts[cluster(unit)][usize::from(!of.lost)] += 1.0;
        }
        let changes = changes.into_iter().map(|(unit, change)| (cluster(unit), change)).collect();
        Self { changes, ends, units: counts, whole }
    }

    /// Returns the mean, over all budgets from 0 to `budget`, of the share of lost units that are recovered within it. Between two
    /// thresholds the looser one is obeyed in a share of the units, so the curve is straight there; beyond the loosest one it stays as it
    /// is. `drawn` has the multiplicity of each cluster; `None` where no unit is lost.
    pub fn area(&self, budget: f64, drawn: &[u32]) -> Option<f64> {
        let mut area = 0.0;
        let (mut at, mut height) = (0.0, 0.0);
        for point in self.points(drawn)? {
            let end = point.spent.min(budget);
            if end > at {
                let reached = height + (point.recovered - height) * (end - at) / (point.spent - at);
                area += (end - at) * (height + reached) / 2.0;
                at = end;
            }
            if point.spent > budget {
                return Some(area / budget);
            }
            height = point.recovered;
        }
        Some((area + (budget - at) * height) / budget)
    }

    /// Returns [`area`](Self::area) with its interval from a bootstrap over the clusters.
    ///
    /// # Errors
    /// Those of [`Bootstrap::interval`].
    pub fn interval(
        &self,
        budget: f64,
        clusters: &Clusters,
        bootstrap: &Bootstrap,
    ) -> Result<Estimate, StatisticsError> {
        bootstrap.interval(clusters, |drawn| self.area(budget, drawn))
    }

    /// Returns the area of this curve minus that of another one of the same units, with its interval.
    ///
    /// # Errors
    /// Those of [`Bootstrap::interval`].
    pub fn difference(
        &self,
        other: &Self,
        budget: f64,
        clusters: &Clusters,
        bootstrap: &Bootstrap,
    ) -> Result<Estimate, StatisticsError> {
        bootstrap.interval(clusters, |drawn| Some(self.area(budget, drawn)? - other.area(budget, drawn)?))
    }

    /// Returns the curve at these budgets, ascending.
    pub fn at(&self, budgets: &[f64]) -> Vec<BudgetPoint> {
        let points: Vec<BudgetPoint> =
            self.points(&vec![1; self.units.len()]).into_iter().flatten().collect();
        let line = |height: fn(&BudgetPoint) -> f64| {
            let mut corners = vec![(0.0, 0.0)];
            for point in &points {
                match corners.last_mut() {
                    Some(last) if last.0 == point.spent => last.1 = height(point),
                    _ => corners.push((point.spent, height(point))),
                }
            }
            corners
        };
        let (recovered, broken) = (line(|point| point.recovered), line(|point| point.broken));
        let one = |spent: &f64| BudgetPoint {
            spent: *spent,
            recovered: interpolate(&recovered, *spent),
            broken: interpolate(&broken, *spent),
        };
        budgets.iter().map(one).collect()
    }

    /// Returns the point of each threshold. A looser threshold that spends less than a stricter one counts as spending as much.
    fn points(&self, drawn: &[u32]) -> Option<impl Iterator<Item = BudgetPoint>> {
        let (mut lost, mut won) = (0.0, 0.0);
        for ([of_lost, of_won], times) in self.units.iter().zip(drawn) {
            lost += f64::from(*times) * of_lost;
            won += f64::from(*times) * of_won;
        }
        let (mut total, mut most, mut start) = (Effect::default(), 0.0_f64, 0);
        let point = move |end: &usize| {
            for (cluster, change) in &self.changes[start..*end] {
                total = total.plus(change.times(f64::from(drawn[*cluster])));
            }
            start = *end;
            most = most.max(total.spent / ((lost + won) * self.whole));
            let broken = if won > 0.0 { total.broken / won } else { 0.0 };
            BudgetPoint { spent: most, recovered: total.recovered / lost, broken }
        };
        (lost > 0.0).then(|| self.ends.iter().map(point))
    }
}

impl Effect {
    fn plus(self, other: Self) -> Self {
        Self {
            recovered: self.recovered + other.recovered,
            broken: self.broken + other.broken,
            spent: self.spent + other.spent,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self { recovered: factor * self.recovered, broken: factor * self.broken, spent: factor * self.spent }
    }

    fn minus(self, other: Self) -> Self {
        self.plus(other.times(-1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(recovered: f64, broken: f64) -> Effect {
        Effect { recovered, broken, spent: 10.0 }
    }

    /// Two lost units and two won ones; a treatment takes 10 of 100.
    fn units() -> Vec<Unit> {
        vec![
            // Recovered if treated early; the high score comes late.
            Unit { lost: true, moments: vec![(0.5, effect(1.0, 0.0)), (0.9, effect(0.0, 0.0))] },
            Unit { lost: true, moments: vec![(0.8, effect(1.0, 0.0)), (0.1, effect(0.0, 0.0))] },
            Unit { lost: false, moments: vec![(0.2, effect(0.0, 0.0)), (0.6, effect(0.0, 1.0))] },
            Unit { lost: false, moments: Vec::new() },
        ]
    }

    #[test]
    fn a_case_by_hand() {
        let units = units();
        let clusters = Clusters::new(&[0, 1, 2, 3]).unwrap();
        let curve = BudgetCurve::new(&units, &clusters, 100.0);
        // By threshold: 0.9 spends 10 of 400 for nothing; 0.8 spends 20 and recovers one of two; 0.6 spends 30 and breaks one of two; at
        // 0.5 the first unit is treated earlier and recovered, for nothing more; at 0.2 the won unit is treated earlier and not broken.
        let found = curve.at(&[0.025, 0.05, 0.075, 0.1]);
        let found: Vec<_> = found.iter().map(|point| (point.recovered, point.broken)).collect();
        assert_eq!(found, [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 0.0)]);
        // Up to 0.05: nothing over the first half, then a line to one half; up to 0.1: from 0.05 on a line to one half at 0.075, where the
        // looser thresholds reach one at the same cost.
        let area = |budget: f64| curve.area(budget, &[1; 4]).unwrap();
        assert!((area(0.05) - 0.125).abs() < 1e-12, "{}", area(0.05));
        let whole = (0.025 * 0.25 + 0.025 * 0.5 + 0.025) / 0.1;
        assert!((area(0.1) - whole).abs() < 1e-12, "{} {whole}", area(0.1));
    }

    #[test]
    fn a_random_moment_is_the_mean_of_a_units_moments() {
        let units = units();
        let clusters = Clusters::new(&[0, 1, 2, 3]).unwrap();
        let random = BudgetCurve::random(&units, &clusters, 100.0);
        // All three that have moments: 30 of 400, one of two recovered on average, a quarter of the won ones broken.
        let found = random.at(&[0.0375, 0.075, 0.5]);
        assert_eq!(found.iter().map(|point| point.recovered).collect::<Vec<_>>(), [0.25, 0.5, 0.5]);
        assert_eq!(found[1].broken, 0.25);
        assert!((random.area(0.075, &[1; 4]).unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(random.area(0.075, &[0, 0, 1, 1]), None, "no lost unit");
    }

    #[test]
    fn one_score_for_all_moments_treats_every_unit_at_its_first() {
        let mut units = units();
        units.iter_mut().flat_map(|unit| &mut unit.moments).for_each(|moment| moment.0 = 0.0);
        let clusters = Clusters::new(&[0, 1, 2, 3]).unwrap();
        let curve = BudgetCurve::new(&units, &clusters, 100.0);
        let found = curve.at(&[0.0375, 0.075]);
        assert_eq!(found.iter().map(|point| point.recovered).collect::<Vec<_>>(), [0.5, 1.0]);
    }
}
