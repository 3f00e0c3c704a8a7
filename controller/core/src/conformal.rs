//! Split conformal prediction: the threshold that at most a share α of won episodes cross.
//! Source: Lei et al., *Distribution-Free Predictive Inference for Regression*, JASA 2018, algorithm 2.

/// Threshold at level `alpha` over one score per calibration episode: the `ceil((n+1)(1−α))`-th smallest.
///
/// Exchangeable with the calibration scores, a new score exceeds it with probability at most `alpha`. Too few scores
/// for the level give +∞: nothing is known, so nothing fires. NaN sorts as the highest score.
pub fn split_conformal_threshold(scores: &[f64], alpha: f64) -> f64 {
    let mut sorted: Vec<f64> =
        scores.iter().map(|score| if score.is_nan() { f64::INFINITY } else { *score }).collect();
    sorted.sort_by(f64::total_cmp);
    // The product of exact decimals can land a hair above a whole number; the slack keeps the rank there.
    let rank = ((sorted.len() as f64 + 1.0) * (1.0 - alpha) - 1e-9).ceil() as usize;
    match rank {
        0 => sorted.first().copied().unwrap_or(f64::INFINITY),
        rank if rank > sorted.len() => f64::INFINITY,
        rank => sorted[rank - 1],
    }
}
