//! Family-wise error over several tests.
//! Holm's step-down procedure.

use crate::StatisticsError;
use crate::error::{all_probabilities, open_unit};

/// Holm-adjusted p-values in the order given.
///
/// Errors: no p-values, or one outside [0, 1].
///
/// Source: Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 1979.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatisticsError> {
    if p_values.is_empty() {
        return Err(StatisticsError::Empty { name: "p" });
    }
    all_probabilities("p", p_values)?;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max(((p_values.len() - rank) as f64 * p_values[index]).min(1.0));
        adjusted[index] = largest;
    }
    Ok(adjusted)
}

/// Which hypotheses Holm's procedure rejects at family-wise level `alpha`: those whose adjusted p-value is at most it.
///
/// Errors: those of [`holm`], and a level outside (0, 1).
pub fn holm_rejects(p_values: &[f64], alpha: f64) -> Result<Vec<bool>, StatisticsError> {
    open_unit("alpha", alpha)?;
    Ok(holm(p_values)?.into_iter().map(|p| p <= alpha).collect())
}
