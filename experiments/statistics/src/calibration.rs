//! Calibration of predicted probabilities: Brier score, reliability bins, expected calibration error.
//! Bins have equal width and include their counts, so that empty bins are visible.

use serde::Serialize;

use crate::error::{all_probabilities, same_length};
use crate::{Proportion, StatisticsError};

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Lower edge, inside.
    pub lower: f64,
    /// Upper edge, outside but for the last bin.
    pub upper: f64,
    /// Rows in the bin.
    pub count: u64,
    /// Mean predicted probability; none in an empty bin.
    pub predicted: Option<f64>,
    /// Share of positives with its Clopper–Pearson interval; none in an empty bin.
    pub observed: Option<Proportion>,
}

/// A reliability diagram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Mean squared difference of prediction and outcome.
    pub brier: f64,
    /// Mean over rows of the gap between prediction and share of positives in the row's bin.
    pub expected_calibration_error: f64,
    /// The bins, from 0 to 1.
    pub bins: Vec<ReliabilityBin>,
}

/// Mean squared difference of predicted probability and outcome: `[rows]` each.
///
/// Errors: lengths that differ, no rows, a prediction outside [0, 1].
///
/// Source: Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 1950, in its
/// form for one event.
pub fn brier(labels: &[bool], predicted: &[f64]) -> Result<f64, StatisticsError> {
    validate(labels, predicted)?;
    let squares = labels.iter().zip(predicted).map(|(label, p)| (p - f64::from(u8::from(*label))).powi(2));
    Ok(squares.sum::<f64>() / labels.len() as f64)
}

/// Reliability in `bins` bins of equal width, intervals at a two-sided `confidence` level.
///
/// Errors: those of [`brier`], no bins, a level outside (0, 1).
///
/// Source: Naeini, Cooper, Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015.
pub fn reliability(
    labels: &[bool],
    predicted: &[f64],
    bins: usize,
    confidence: f64,
) -> Result<Reliability, StatisticsError> {
    let brier = brier(labels, predicted)?;
    if bins == 0 {
        return Err(StatisticsError::Range { name: "bins", found: 0.0, valid: "at least 1" });
    }
    // Rows, positives and sum of predictions of each bin.
    let mut tallies = vec![(0_u64, 0_u64, 0.0_f64); bins];
    for (label, p) in labels.iter().zip(predicted) {
        let tally = &mut tallies[((p * bins as f64) as usize).min(bins - 1)];
        tally.0 += 1;
        tally.1 += u64::from(*label);
        tally.2 += p;
    }
    let mut error = 0.0;
    let mut found = Vec::with_capacity(bins);
    for (place, (count, positives, sum)) in tallies.into_iter().enumerate() {
        error += (sum - positives as f64).abs();
        found.push(ReliabilityBin {
            lower: place as f64 / bins as f64,
            upper: (place + 1) as f64 / bins as f64,
            count,
            predicted: (count > 0).then(|| sum / count as f64),
            observed: (count > 0).then(|| Proportion::new(positives, count, confidence)).transpose()?,
        });
    }
    Ok(Reliability { brier, expected_calibration_error: error / labels.len() as f64, bins: found })
}

fn validate(labels: &[bool], predicted: &[f64]) -> Result<(), StatisticsError> {
    same_length(("predicted", predicted.len()), ("labels", labels.len()))?;
    if labels.is_empty() {
        return Err(StatisticsError::Empty { name: "labels" });
    }
    all_probabilities("predicted", predicted)
}
