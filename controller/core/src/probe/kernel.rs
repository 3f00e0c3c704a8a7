//! The few vector operations that every head is made of.
//! They pair by the shorter side, so a head of the wrong shape gives a wrong number, never a panic.

/// Inner product, in lanes so that it vectorises; the order of the sum is fixed.
pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (lefts, rights) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f64 = lefts.remainder().iter().zip(rights.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in lefts.zip(rights) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// `target += factor · values`.
pub(super) fn add_scaled(target: &mut [f64], factor: f64, values: &[f64]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}

/// The rows of a row-major matrix of `width` columns.
pub(super) fn rows(matrix: &[f64], width: usize) -> std::slice::ChunksExact<'_, f64> {
    matrix.chunks_exact(width.max(1))
}

/// `out = matrix · vector + bias`.
pub(super) fn affine(matrix: &[f64], bias: &[f64], vector: &[f64], out: &mut [f64]) {
    for ((out, row), bias) in out.iter_mut().zip(rows(matrix, vector.len())).zip(bias) {
        *out = bias + dot(row, vector);
    }
}

/// Writes `(value − mean) / scale` and says whether all of it is finite.
pub(super) fn standardise(values: &[f64], mean: &[f64], scale: &[f64], out: &mut [f64]) -> bool {
    let mut finite = true;
    for (((out, value), mean), scale) in out.iter_mut().zip(values).zip(mean).zip(scale) {
        *out = (value - mean) / scale;
        finite &= out.is_finite();
    }
    finite
}

/// Logistic function.
pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Negative log likelihood of a label under log odds, without overflow.
pub(super) fn cross_entropy(logit: f64, failed: bool) -> f64 {
    logit.max(0.0) + (-logit.abs()).exp().ln_1p() - if failed { logit } else { 0.0 }
}

/// Slope of [`cross_entropy`] in the log odds.
pub(super) fn cross_entropy_slope(logit: f64, failed: bool) -> f64 {
    sigmoid(logit) - f64::from(u8::from(failed))
}
