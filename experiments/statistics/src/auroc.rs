//! Area under the receiver operating characteristic.
//! The Mann–Whitney form, with ties counted one half.

use crate::StatisticsError;

/// Probability that a random positive scores above a random negative, ties one half. NaN ranks highest.
///
/// Source: Hanley, McNeil, *The meaning and use of the area under a ROC curve*, Radiology 1982.
pub fn auroc(labels: &[bool], scores: &[f64]) -> Result<f64, StatisticsError> {
    if labels.len() != scores.len() {
        return Err(StatisticsError::Lengths { labels: labels.len(), scores: scores.len() });
    }
    let positives = labels.iter().filter(|label| **label).count();
    let negatives = labels.len() - positives;
    if positives == 0 || negatives == 0 {
        return Err(StatisticsError::OneClass(positives > 0));
    }
    let key = |index: usize| if scores[index].is_nan() { f64::INFINITY } else { scores[index] };
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|a, b| key(*a).total_cmp(&key(*b)));

    let mut rank_sum = 0.0;
    let mut start = 0;
    for tied in order.chunk_by(|a, b| key(*a) == key(*b)) {
        let mean_rank = start as f64 + (tied.len() as f64 + 1.0) / 2.0;
        rank_sum += mean_rank * tied.iter().filter(|index| labels[**index]).count() as f64;
        start += tied.len();
    }
    let (positives, negatives) = (positives as f64, negatives as f64);
    Ok((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}
