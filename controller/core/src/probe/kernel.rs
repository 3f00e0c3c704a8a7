//! Vector operations of the heads, for scoring and for training.
//! Operands of different lengths are cut to the shorter one, so a head of the wrong shape gives a wrong number, never a
//! panic.

/// Returns the inner product, summed in lanes so that the compiler vectorises it; the order of the sum is fixed.
#[inline]
pub fn dot(left: &[f64], right: &[f64]) -> f64 {
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

/// Computes `target += factor · values`.
#[inline]
pub fn add_scaled(target: &mut [f64], factor: f64, values: &[f64]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}

/// Returns the rows of a row-major matrix of `width` columns.
#[inline]
pub fn rows(matrix: &[f64], width: usize) -> std::slice::ChunksExact<'_, f64> {
    matrix.chunks_exact(width.max(1))
}

/// Computes `out = matrix · vector + bias`.
#[inline]
pub fn affine(matrix: &[f64], bias: &[f64], vector: &[f64], out: &mut [f64]) {
    for ((out, row), bias) in out.iter_mut().zip(rows(matrix, vector.len())).zip(bias) {
        *out = bias + dot(row, vector);
    }
}

/// Writes `(value − mean) / scale` to `out`; returns whether every result is finite.
#[inline]
pub fn standardise(values: &[f64], mean: &[f64], scale: &[f64], out: &mut [f64]) -> bool {
    let mut finite = true;
    for (((out, value), mean), scale) in out.iter_mut().zip(values).zip(mean).zip(scale) {
        *out = (value - mean) / scale;
        finite &= out.is_finite();
    }
    finite
}

/// Returns the logistic function of log odds.
#[inline]
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the negative log likelihood of a label under log odds, without overflow.
#[inline]
pub fn cross_entropy(logit: f64, failed: bool) -> f64 {
    logit.max(0.0) + (-logit.abs()).exp().ln_1p() - if failed { logit } else { 0.0 }
}

/// Returns the slope of [`cross_entropy`] in the log odds.
#[inline]
pub fn cross_entropy_slope(logit: f64, failed: bool) -> f64 {
    sigmoid(logit) - f64::from(u8::from(failed))
}
