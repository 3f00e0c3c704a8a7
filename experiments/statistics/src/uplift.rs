//! Rankings by benefit, where the outcome of every row is known both with and without a treatment: uplift curve and Qini coefficient.
//!
//! Source: Radcliffe, *Using Control Groups to Target on Predicted Lift: Building and Assessing Uplift Models*, Direct Marketing
//! Analytics Journal, 2007. There rows are of a randomised trial, in which each row has one of its outcomes, and the curve is an
//! estimate. Here each row has its benefit, so the curve of a ranking is exact, and so is that of the best ranking.

use serde::Serialize;

use crate::error::same_length;
use crate::{Bootstrap, Clusters, Estimate, StatisticsError};

/// Point of an uplift curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct UpliftPoint {
    /// Share of the rows that are treated: those with the highest scores.
    pub share: f64,
    /// Total benefit of these rows, divided by the number of all rows.
    pub gain: f64,
}

/// Ranking of rows by one score, and the best one there could be.
#[derive(Clone, Debug)]
pub struct Qini {
    ranking: Ranking,
    best: Ranking,
}

/// Rows by descending score. Rows of equal score are one block, over which the curve is a straight line.
#[derive(Clone, Debug)]
struct Ranking {
    /// Cluster, weight and weighted benefit of each row.
    rows: Vec<(u32, f64, f64)>,
    /// End of each block.
    ends: Vec<usize>,
}

impl Qini {
    /// Ranks rows by `scores`, a row with NaN first. `benefits` are the gains in the outcome that a treatment brings, and `weights` the
    /// number of rows that each row stands for; all are `[rows]`, the rows of `clusters`.
    ///
    /// # Errors
    /// Lengths that differ, a benefit that is not finite, and a weight that is not finite and above 0.
    pub fn new(
        benefits: &[f64],
        weights: &[f64],
        scores: &[f64],
        clusters: &Clusters,
    ) -> Result<Self, StatisticsError> {
        let rows = clusters.rows();
        for (name, found) in
            [("benefits", benefits.len()), ("weights", weights.len()), ("scores", scores.len())]
        {
            same_length((name, found), ("clusters", rows))?;
        }
        let bad = |name, values: &[f64], valid, is_valid: fn(f64) -> bool| match values
            .iter()
            .position(|value| !is_valid(*value))
        {
            Some(index) => Err(StatisticsError::Value { name, index, found: values[index], valid }),
            None => Ok(()),
        };
        bad("benefits", benefits, "finite numbers", f64::is_finite)?;
        bad("weights", weights, "finite, above 0", |weight| weight.is_finite() && weight > 0.0)?;
        let by = |scores: &[f64]| Ranking::new(benefits, weights, scores, clusters);
        Ok(Self { ranking: by(scores), best: by(benefits) })
    }

    /// Returns the Qini coefficient: the area between the uplift curve and the straight line from nothing treated to everything treated,
    /// which a random ranking follows, divided by the same area for the best ranking, that by benefit. 1 is the best ranking, 0 a random
    /// one, and below 0 a ranking that is worse than random.
    ///
    /// `drawn` has the multiplicity of each cluster. `None` where every row has the same benefit, so that no ranking is better than
    /// another.
    pub fn value(&self, drawn: &[u32]) -> Option<f64> {
        let (area, best) = (self.ranking.area(drawn)?, self.best.area(drawn)?);
        // Areas are sums of products of weights, so rounding cannot make a larger one of zero.
        (best > 1e-12).then(|| area / best)
    }

    /// Returns the Qini coefficient with its interval from a bootstrap over the clusters.
    ///
    /// # Errors
    /// Those of [`Bootstrap::interval`].
    pub fn interval(&self, clusters: &Clusters, bootstrap: &Bootstrap) -> Result<Estimate, StatisticsError> {
        bootstrap.interval(clusters, |drawn| self.value(drawn))
    }

    /// Returns the Qini coefficient of this ranking minus that of another one of the same rows, with its interval.
    ///
    /// # Errors
    /// Those of [`Bootstrap::interval`].
    pub fn difference(
        &self,
        other: &Self,
        clusters: &Clusters,
        bootstrap: &Bootstrap,
    ) -> Result<Estimate, StatisticsError> {
        bootstrap.interval(clusters, |drawn| Some(self.value(drawn)? - other.value(drawn)?))
    }

    /// Returns the uplift curve at `parts` + 1 equally spaced shares from 0 to 1, straight between the ends of blocks.
    pub fn curve(&self, parts: usize) -> Vec<UpliftPoint> {
        let parts = parts.max(1);
        let (mut corners, mut weight, mut gain) = (vec![(0.0, 0.0)], 0.0, 0.0);
        let mut start = 0;
        for end in &self.ranking.ends {
            for (_, row_weight, benefit) in &self.ranking.rows[start..*end] {
                weight += row_weight;
                gain += benefit;
            }
            corners.push((weight, gain));
            start = *end;
        }
        let at = |part: usize| {
            let share = part as f64 / parts as f64;
            let gained = interpolate(&corners, share * weight);
            UpliftPoint { share, gain: if weight > 0.0 { gained / weight } else { 0.0 } }
        };
        (0..=parts).map(at).collect()
    }
}

impl Ranking {
    fn new(benefits: &[f64], weights: &[f64], scores: &[f64], clusters: &Clusters) -> Self {
        let score = |row: usize| if scores[row].is_nan() { f64::INFINITY } else { scores[row] };
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
        let starts_block = |place: &usize| *place == 0 || score(order[*place]) != score(order[place - 1]);
        let mut ends: Vec<usize> = (0..order.len()).filter(starts_block).skip(1).collect();
        if !order.is_empty() {
            ends.push(order.len());
        }
        let row = |row: &usize| (clusters.of_row()[*row], weights[*row], weights[*row] * benefits[*row]);
        Self { rows: order.iter().map(row).collect(), ends }
    }

    /// Returns the area between the curve and the straight line; `None` without rows.
    fn area(&self, drawn: &[u32]) -> Option<f64> {
        let (mut weight, mut gain, mut area, mut start) = (0.0, 0.0, 0.0, 0);
        for end in &self.ends {
            let (mut width, mut rise) = (0.0, 0.0);
            for (cluster, row_weight, benefit) in &self.rows[start..*end] {
                let times = f64::from(drawn[*cluster as usize]);
                width += times * row_weight;
                rise += times * benefit;
            }
            area += width * (gain + rise / 2.0);
            weight += width;
            gain += rise;
            start = *end;
        }
        (weight > 0.0).then(|| area / (weight * weight) - gain / (2.0 * weight))
    }
}

/// Returns the height of a line through `corners`, ascending in their first number, at `x`; the last height beyond them.
pub(crate) fn interpolate(corners: &[(f64, f64)], x: f64) -> f64 {
    let next = corners.partition_point(|(at, _)| *at < x);
    match (next.checked_sub(1).and_then(|last| corners.get(last)), corners.get(next)) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some((_, y)), None) | (None, Some((_, y))) => *y,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    fn of(benefits: &[f64], weights: &[f64], scores: &[f64]) -> (Qini, Clusters) {
        let clusters = Clusters::new(&(0..benefits.len()).collect::<Vec<_>>()).unwrap();
        (Qini::new(benefits, weights, scores, &clusters).unwrap(), clusters)
    }

    #[test]
    fn a_case_by_hand() {
        // Four rows; treated one after another the total benefit is 1, 1, 0, 1, of four rows 0.25, 0.25, 0, 0.25. The area below that
        // curve is (0.125 + 0.25 + 0.125 + 0.125) / 4 = 0.15625, below the line to 0.25 it is 0.125. The best order, 1, 1, 0, −1, has
        // (0.125 + 0.375 + 0.5 + 0.375) / 4 = 0.34375.
        let (benefits, even) = ([1.0, 0.0, -1.0, 1.0], [1.0; 4]);
        let (qini, _) = of(&benefits, &even, &[0.9, 0.8, 0.7, 0.6]);
        let exact = (0.15625 - 0.125) / (0.34375 - 0.125);
        assert!((qini.value(&[1; 4]).unwrap() - exact).abs() < 1e-12);
        let gains: Vec<f64> = qini.curve(4).iter().map(|point| point.gain).collect();
        assert_eq!(gains, [0.0, 0.25, 0.25, 0.0, 0.25]);
        // The first two in one block: a straight line to 0.25 at one half.
        let (tied, _) = of(&benefits, &even, &[0.9, 0.9, 0.7, 0.6]);
        assert!((tied.value(&[1; 4]).unwrap() - (0.125 - 0.125) / 0.21875).abs() < 1e-12);
        assert_eq!(tied.curve(4)[1].gain, 0.125);
    }

    #[test]
    fn the_best_ranking_has_one_the_worst_is_below_zero_and_ties_have_none() {
        let benefits = [1.0, 0.0, -1.0, 1.0, 0.0, 0.0];
        let value = |scores: &[f64]| of(&benefits, &[1.0; 6], scores).0.value(&[1; 6]).unwrap();
        assert!((value(&benefits) - 1.0).abs() < 1e-12);
        assert!((value(&benefits.map(|benefit| -benefit)) + 1.0).abs() < 1e-12);
        assert!(value(&[0.5; 6]).abs() < 1e-12);
        assert_eq!(value(&[f64::NAN, 0.0, -1.0, f64::NAN, 0.0, 0.0]), value(&benefits), "NaN ranks first");
        assert_eq!(of(&[1.0; 3], &[1.0; 3], &[1.0, 2.0, 3.0]).0.value(&[1; 3]), None, "no ranking is better");
    }

    #[test]
    fn a_weight_and_a_multiplicity_stand_for_as_many_rows() {
        let scores = [0.3, 0.2, 0.1];
        let (heavy, _) = of(&[0.0, 1.0, -1.0], &[1.0, 2.0, 1.0], &scores);
        let (plain, _) = of(&[0.0, 1.0, -1.0], &[1.0; 3], &scores);
        let (twice, _) = of(&[0.0, 1.0, 1.0, -1.0], &[1.0; 4], &[0.3, 0.2, 0.2, 0.1]);
        let expected = twice.value(&[1; 4]).unwrap();
        assert!((heavy.value(&[1; 3]).unwrap() - expected).abs() < 1e-12);
        assert!((plain.value(&[1, 2, 1]).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn intervals_enclose_the_estimate_and_a_difference_from_itself_is_zero() {
        let rows = 60;
        let benefits: Vec<f64> = (0..rows).map(|row| f64::from(row % 3) - 1.0).collect();
        let scores: Vec<f64> = (0..rows).map(|row| f64::from(row % 3) + f64::from(row).sin()).collect();
        let clusters = Clusters::new(&(0..rows).map(|row| row / 2).collect::<Vec<_>>()).unwrap();
        let qini = Qini::new(&benefits, &[1.0; 60], &scores, &clusters).unwrap();
        let bootstrap = Bootstrap { replicates: 200, seed: 1, confidence: 0.9, method: Method::Percentile };
        let found = qini.interval(&clusters, &bootstrap).unwrap();
        assert!(
            found.lower < found.estimate && found.estimate < found.upper && found.lower > 0.0,
            "{found:?}"
        );
        let none = qini.difference(&qini, &clusters, &bootstrap).unwrap();
        assert_eq!((none.lower, none.upper), (0.0, 0.0));
    }

    #[test]
    fn refusals_name_the_list() {
        let clusters = Clusters::new(&[1, 2]).unwrap();
        let refused = |benefits: &[f64], weights: &[f64]| {
            Qini::new(benefits, weights, &[0.0, 1.0], &clusters).unwrap_err().to_string()
        };
        assert!(refused(&[1.0], &[1.0, 1.0]).contains("benefits: found 1 rows; valid is 2"));
        assert!(refused(&[1.0, f64::NAN], &[1.0, 1.0]).contains("benefits[1]: found NaN"));
        assert!(refused(&[1.0, 0.0], &[1.0, 0.0]).contains("weights[1]: found 0; valid is finite, above 0"));
    }
}
