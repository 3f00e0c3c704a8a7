//! Fit of a linear head by iteratively reweighted least squares, with an L2 penalty on the weights.

use aegis_core::probe::kernel::sigmoid;
use aegis_core::probe::{Linear, ProbeError};
use nalgebra::{DMatrix, DVector};

use super::data::Standardised;

/// Minimises the penalised loss; `penalty` applies to the weights, not to the bias.
///
/// Source of the update: Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, §4.4.1.
pub(super) fn fit(data: &Standardised, penalty: f64) -> Result<Linear, ProbeError> {
    const MAX_ITERATIONS: usize = 50;
    const TOLERANCE: f64 = 1e-10;
    let width = data.width;
    let examples: Vec<(&[f64], f64, bool)> = data
        .sequences()
        .flat_map(|one| one.boundaries().map(move |features| (features, one.weight(), one.failed)))
        .collect();
    let design = DMatrix::from_fn(examples.len(), width + 1, |row, column| {
        if column == width { 1.0 } else { examples[row].0[column] }
    });
    let mut parameters = DVector::zeros(width + 1);
    for _ in 0..MAX_ITERATIONS {
        let logits = &design * &parameters;
        let mut weighted = design.clone();
        let mut residual = DVector::zeros(examples.len());
        for (row, (_, weight, failed)) in examples.iter().enumerate() {
            let probability = sigmoid(logits[row]);
            residual[row] = weight * (f64::from(u8::from(*failed)) - probability);
            // The floor keeps the Hessian positive definite where the fit is already certain.
            let curvature = weight * (probability * (1.0 - probability)).max(1e-9);
            weighted.row_mut(row).scale_mut(curvature);
        }
        let mut gradient = design.tr_mul(&residual);
        let mut hessian = design.tr_mul(&weighted);
        for column in 0..width {
            gradient[column] -= penalty * parameters[column];
            hessian[(column, column)] += penalty;
        }
        let step =
            hessian.cholesky().ok_or_else(|| ProbeError::Singular(penalty.to_string()))?.solve(&gradient);
        parameters += &step;
        if step.amax() < TOLERANCE {
            break;
        }
    }
    Ok(Linear { weights: parameters.as_slice()[..width].to_vec(), bias: parameters[width] })
}
