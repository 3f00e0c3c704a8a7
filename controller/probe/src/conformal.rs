//! Split conformal prediction: the threshold that at most a share α of won episodes cross.
//! Source: Lei et al., *Distribution-Free Predictive Inference for Regression*, JASA 2018, algorithm 2.

use serde::{Deserialize, Serialize};

use aegis_core::serde_nonfinite;

/// Returns the threshold at level `alpha` over one score per calibration episode: the `ceil((n+1)(1−α))`-th smallest.
///
/// A new score, exchangeable with the calibration scores, exceeds the threshold with probability at most `alpha`. Too
/// few scores for the level give +∞, at which nothing fires. NaN sorts as the highest score.
pub fn split_conformal_threshold(scores: &[f64], alpha: f64) -> f64 {
    let mut sorted: Vec<f64> =
        scores.iter().map(|score| if score.is_nan() { f64::INFINITY } else { *score }).collect();
    sorted.sort_by(f64::total_cmp);
    // The product of exact decimals may exceed a whole number by a rounding error; the slack keeps the rank there.
    let rank = ((sorted.len() as f64 + 1.0) * (1.0 - alpha) - 1e-9).ceil() as usize;
    match rank {
        0 => sorted.first().copied().unwrap_or(f64::INFINITY),
        rank if rank > sorted.len() => f64::INFINITY,
        rank => sorted[rank - 1],
    }
}

/// Upper band over the boundaries of an episode: at most a share α of won episodes ever exceeds it.
///
/// A single threshold has to lie above the boundary where won episodes score highest; a band may be tighter elsewhere.
/// The share counts episodes, not boundaries: an episode leaves the band if its score exceeds the band at any boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionalBand {
    /// Threshold at each boundary, `[boundaries]`. Infinite, in files the string `inf`, where nothing fires.
    #[serde(with = "serde_nonfinite::list")]
    pub upper: Vec<f64>,
}

impl FunctionalBand {
    /// Fits a band at level `alpha` to scores of won episodes, `[episodes][boundaries]`, of any lengths.
    ///
    /// The episodes in `shaping` give the band's shape: the mean and the standard deviation of the scores at each
    /// boundary. Other episodes, in `calibration`, set by split conformal prediction how many deviations above the mean
    /// the band lies. Boundaries before `from`, where no alarm may fire, are ignored and get +∞; an episode that has
    /// ended contributes no score. Where no shaping episode has a score, the last shape is repeated. Too few
    /// calibration episodes for the level, or none that lasts to `from`, give +∞ everywhere. A NaN score lies above
    /// every band and is ignored in the shape.
    ///
    /// A new episode, exchangeable with the calibration episodes, leaves the band with probability at most `alpha`.
    /// Source: Diquigiovanni, Fontana, Vantini, *The Importance of Being a Band: Finite-Sample Exact Distribution-Free
    /// Prediction Sets for Functional Data*, Statistica Sinica 35 (2025), with the standard deviation as modulation; the
    /// band there is two-sided, here only what lies above the mean counts.
    pub fn calibrate(shaping: &[&[f64]], calibration: &[&[f64]], from: usize, alpha: f64) -> Self {
        let boundaries = shaping.iter().chain(calibration).map(|scores| scores.len()).max().unwrap_or(0);
        let shape = shape(shaping, boundaries, from);
        // An episode that never rises above the mean, or ends before any alarm may fire, has an excess of zero.
        let excess = |scores: &&[f64]| {
            let counted = scores.iter().zip(&shape).skip(from);
            counted.map(|(score, at)| at.excess(*score)).fold(0.0, f64::max)
        };
        let excesses: Vec<f64> = calibration.iter().map(excess).collect();
        let reach = split_conformal_threshold(&excesses, alpha);
        let upper = shape.iter().enumerate().map(|(boundary, at)| {
            if boundary < from { f64::INFINITY } else { at.mean + reach * at.deviation }
        });
        Self { upper: upper.collect() }
    }

    /// Fits a band as [`calibrate`](Self::calibrate) does; every other episode, from the first on, shapes the band, and
    /// the rest calibrate it.
    pub fn alternate(episodes: &[&[f64]], from: usize, alpha: f64) -> Self {
        let every_other = |first| episodes.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
        Self::calibrate(&every_other(0), &every_other(1), from, alpha)
    }

    /// Returns the threshold at a boundary, counted from zero; beyond the end of the band, the band's last value.
    pub fn at(&self, boundary: usize) -> f64 {
        self.upper.get(boundary).or(self.upper.last()).copied().unwrap_or(f64::INFINITY)
    }
}

/// Mean and standard deviation of the scores at one boundary.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    fn excess(&self, score: f64) -> f64 {
        let excess = (score - self.mean) / self.deviation;
        // NaN arises from a NaN score and from scores so large that their mean is infinite.
        if excess.is_nan() { f64::INFINITY } else { excess }
    }
}

fn shape(episodes: &[&[f64]], boundaries: usize, from: usize) -> Vec<Moments> {
    // Smallest deviation of a boundary, as a share of the largest one: where few episodes are left, their scores may
    // happen to lie close together, and that one boundary would set the whole band.
    const FLOOR: f64 = 0.1;
    let mut last = Moments { mean: 0.0, deviation: 0.0 };
    let mut shape = Vec::with_capacity(boundaries);
    for boundary in 0..boundaries {
        let scores = || episodes.iter().filter_map(|one| one.get(boundary)).filter(|score| score.is_finite());
        let count = scores().count() as f64;
        if count > 0.0 {
            let mean = scores().sum::<f64>() / count;
            let variance = scores().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
            last = Moments { mean, deviation: variance.sqrt() };
        }
        shape.push(last);
    }
    let widest = shape.iter().skip(from).map(|at| at.deviation).fold(0.0, f64::max);
    // Scores that never differ determine no scale; any positive floor is valid.
    let floor = if widest > 0.0 { FLOOR * widest } else { 1.0 };
    shape.iter_mut().for_each(|at| at.deviation = at.deviation.max(floor));
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excess_of_nan_counts_as_the_largest() {
        let at = |mean| Moments { mean, deviation: 1.0 };
        assert_eq!(at(0.5).excess(1.0), 0.5);
        assert_eq!(at(0.5).excess(f64::NAN), f64::INFINITY);
        assert_eq!(at(f64::INFINITY).excess(f64::INFINITY), f64::INFINITY);
    }
}
