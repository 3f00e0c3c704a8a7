//! Linear head over a wide activation: finds the optimum of `linear.rs` by conjugate gradients instead of a direct solution.
//! The work that does not depend on the penalty is done once for all penalties.
//!
//! The matrix of Newton's equations in a logistic fit is a weighted Gram matrix, in which only the weights `p (1 − p)`
//! change from step to step. [`Gram`] holds this matrix at `p = ½`. Its Cholesky factor, computed once per penalty,
//! preconditions the equations of every step so well that a few passes over the data solve them.

use std::ops::Range;

use nalgebra::{Cholesky, DMatrix, DVector};

use aegis_core::probe::kernel::{add_scaled, cross_entropy, dot, rows, sigmoid};
use aegis_core::probe::{Linear, ProbeError};

use super::data::Standardised;

/// Largest width that is solved directly. Every shipped probe was fitted directly, and another method gives other last bits.
pub(super) const DIRECT: usize = 256;

/// Side length of the blocks in which matrices are multiplied and factored.
const BLOCK: usize = 128;
/// Rows that are scaled at a time.
const CHUNK: usize = 1024;

/// Gram matrix that all penalties share: `M Mᵀ` for `M = Xᵀ √W / 2` or, with fewer boundaries than features, its
/// transpose. X are the standardised features and W the boundaries' weights. Only the lower triangle is valid.
pub(super) struct Gram {
    matrix: DMatrix<f64>,
    /// Half the square root of each boundary's weight.
    scales: Vec<f64>,
}

impl Gram {
    pub(super) fn of(data: &Standardised) -> Self {
        let scales: Vec<f64> = data
            .sequences()
            .flat_map(|one| one.boundaries().map(move |_| 0.5 * one.weight().sqrt()))
            .collect();
        let (width, count) = (data.width, scales.len());
        let scaled = |range: Range<usize>| {
            let values = data.rows_of(range.clone()).iter();
            let by = scales[range.clone()].iter().flat_map(|scale| std::iter::repeat_n(*scale, width));
            DMatrix::from_iterator(width, range.len(), values.zip(by).map(|(value, scale)| value * scale))
        };
        let matrix = if count < width {
            let mut matrix = DMatrix::zeros(count, count);
            add_gram(&mut matrix, &scaled(0..count).transpose());
            matrix
        } else {
            let mut matrix = DMatrix::zeros(width, width);
            for first in (0..count).step_by(CHUNK) {
                add_gram(&mut matrix, &scaled(first..count.min(first + CHUNK)));
            }
            matrix
        };
        Self { matrix, scales }
    }
}

/// Returns the first index and the size of each block of a side, from index `from` on.
fn blocks(from: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
    (from..side).step_by(BLOCK).map(move |first| (first, BLOCK.min(side - first)))
}

/// Computes `target += m mᵀ` for the lower triangle and for all of the blocks on the diagonal.
fn add_gram(target: &mut DMatrix<f64>, m: &DMatrix<f64>) {
    let side = m.nrows();
    for (first, size) in blocks(0, side) {
        let across = m.rows(first, size).transpose();
        let below = side - first;
        target.view_mut((first, first), (below, size)).gemm(1.0, &m.rows(first, below), &across, 1.0);
    }
}

/// Returns the lower Cholesky factor of a matrix given by its lower triangle, or `None` for a matrix that is not
/// positive definite. Values above the diagonal have no meaning.
fn factor(mut matrix: DMatrix<f64>) -> Option<DMatrix<f64>> {
    let side = matrix.nrows();
    for (first, size) in blocks(0, side) {
        let corner = matrix.view((first, first), (size, size)).into_owned();
        let corner = Cholesky::new(corner)?.unpack();
        matrix.view_mut((first, first), (size, size)).copy_from(&corner);
        let (after, below) = (first + size, side - first - size);
        if below == 0 {
            break;
        }
        let inverse = corner.solve_lower_triangular(&DMatrix::identity(size, size))?;
        let panel = matrix.view((after, first), (below, size)) * inverse.transpose();
        for (next, size) in blocks(0, below) {
            let across = panel.rows(next, size).transpose();
            let from = panel.rows(next, below - next);
            matrix
                .view_mut((after + next, after + next), (below - next, size))
                .gemm(-1.0, &from, &across, 1.0);
        }
        matrix.view_mut((after, first), (below, size)).copy_from(&panel);
    }
    Some(matrix)
}

/// Weights and bias of a linear head, as a point or a direction.
#[derive(Clone)]
struct Parameters {
    weights: Vec<f64>,
    bias: f64,
}

impl Parameters {
    fn zero(width: usize) -> Self {
        Self { weights: vec![0.0; width], bias: 0.0 }
    }

    fn dot(&self, other: &Self) -> f64 {
        dot(&self.weights, &other.weights) + self.bias * other.bias
    }

    fn add(&mut self, factor: f64, other: &Self) {
        add_scaled(&mut self.weights, factor, &other.weights);
        self.bias += factor * other.bias;
    }

    fn largest(&self) -> f64 {
        self.weights.iter().fold(self.bias.abs(), |largest, weight| largest.max(weight.abs()))
    }
}

/// Data, penalty and preconditioner of one fit.
struct Problem<'a> {
    width: usize,
    rows: &'a [f64],
    scales: &'a [f64],
    /// Weight and outcome of each boundary.
    examples: Vec<(f64, bool)>,
    penalty: f64,
    /// Lower Cholesky factor of the Gram matrix with the penalty on its diagonal.
    factor: DMatrix<f64>,
    /// A quarter of the sum of all boundaries' weights: the bias's diagonal entry of the Hessian at `p = ½`.
    /// Standardised features have a mean of zero, so the bias has no other entries.
    bias: f64,
}

impl Problem<'_> {
    /// Returns the log odds of each boundary at a point, or their change along a direction.
    fn logits(&self, at: &Parameters) -> Vec<f64> {
        rows(self.rows, self.width).map(|row| dot(row, &at.weights) + at.bias).collect()
    }

    /// Returns the gradient of the loss at `at`, where the log odds are `logits`.
    fn gradient(&self, at: &Parameters, logits: &[f64]) -> Parameters {
        let mut gradient = Parameters::zero(self.width);
        add_scaled(&mut gradient.weights, self.penalty, &at.weights);
        for ((row, logit), (weight, failed)) in rows(self.rows, self.width).zip(logits).zip(&self.examples) {
            let slope = weight * (sigmoid(*logit) - f64::from(u8::from(*failed)));
            add_scaled(&mut gradient.weights, slope, row);
            gradient.bias += slope;
        }
        gradient
    }

    /// Returns the curvature of each boundary's loss.
    fn curvature(&self, logits: &[f64]) -> Vec<f64> {
        let of = |(logit, (weight, _)): (&f64, &(f64, bool))| {
            let probability = sigmoid(*logit);
            // The floor keeps the equations positive definite where the fit is already certain, as in `linear.rs`.
            weight * (probability * (1.0 - probability)).max(1e-9)
        };
        logits.iter().zip(&self.examples).map(of).collect()
    }

    /// Returns the Hessian times a direction, in one pass over the data.
    fn hessian_times(&self, curvature: &[f64], direction: &Parameters) -> Parameters {
        let mut product = Parameters::zero(self.width);
        add_scaled(&mut product.weights, self.penalty, &direction.weights);
        for (row, curvature) in rows(self.rows, self.width).zip(curvature) {
            let along = curvature * (dot(row, &direction.weights) + direction.bias);
            add_scaled(&mut product.weights, along, row);
            product.bias += along;
        }
        product
    }

    /// Returns the inverse of the Hessian at `p = ½`, times a gradient.
    fn preconditioned(&self, gradient: &Parameters) -> Parameters {
        let weights = if self.scales.len() < self.width {
            // By the Woodbury identity, in as many unknowns as there are boundaries.
            let scaled = rows(self.rows, self.width).zip(self.scales);
            let mut inner = DVector::from_iterator(
                self.scales.len(),
                scaled.map(|(row, scale)| scale * dot(row, &gradient.weights)),
            );
            self.solve(&mut inner);
            let mut weights = gradient.weights.clone();
            for ((row, scale), value) in rows(self.rows, self.width).zip(self.scales).zip(inner.iter()) {
                add_scaled(&mut weights, -scale * value, row);
            }
            weights.iter_mut().for_each(|weight| *weight /= self.penalty);
            weights
        } else {
            let mut weights = DVector::from_column_slice(&gradient.weights);
            self.solve(&mut weights);
            weights.as_slice().to_vec()
        };
        Parameters { weights, bias: gradient.bias / self.bias }
    }

    fn solve(&self, vector: &mut DVector<f64>) {
        // Both calls fail only for a zero on the diagonal, which a Cholesky factor does not have.
        self.factor.solve_lower_triangular_mut(vector);
        self.factor.tr_solve_lower_triangular_mut(vector);
    }

    /// Solves Newton's equations by preconditioned conjugate gradients until the residual is at most `share` of the
    /// gradient; returns the step.
    fn step(&self, curvature: &[f64], gradient: &Parameters, share: f64) -> Parameters {
        const MAX_ITERATIONS: usize = 1_000;
        let mut step = Parameters::zero(self.width);
        let mut residual = gradient.clone();
        residual.weights.iter_mut().for_each(|value| *value = -*value);
        residual.bias = -residual.bias;
        let mut solved = self.preconditioned(&residual);
        let mut direction = solved.clone();
        let mut size = residual.dot(&solved);
        let enough = size * share * share;
        for _ in 0..MAX_ITERATIONS {
            let product = self.hessian_times(curvature, &direction);
            let along = direction.dot(&product);
            // At a gradient of zero nothing is left to solve; rounding may even make the curvature negative.
            if size <= enough || along.is_nan() || along <= 0.0 {
                break;
            }
            step.add(size / along, &direction);
            residual.add(-size / along, &product);
            solved = self.preconditioned(&residual);
            let next = residual.dot(&solved);
            let kept = next / size;
            direction.weights.iter_mut().for_each(|value| *value *= kept);
            direction.bias *= kept;
            direction.add(1.0, &solved);
            size = next;
        }
        step
    }

    fn loss(&self, at: &Parameters, logits: &[f64]) -> f64 {
        let entropy =
            |(logit, (weight, failed)): (&f64, &(f64, bool))| weight * cross_entropy(*logit, *failed);
        let data: f64 = logits.iter().zip(&self.examples).map(entropy).sum();
        data + 0.5 * self.penalty * dot(&at.weights, &at.weights)
    }
}

/// Minimises the penalised loss of [`Linear::fit`].
///
/// Source: Dembo, Eisenstat and Steihaug, *Inexact Newton methods*, SIAM Journal on Numerical Analysis 19, 1982: steps
/// are solved more exactly nearer to the optimum.
pub(super) fn fit(data: &Standardised, gram: &Gram, penalty: f64) -> Result<Linear, ProbeError> {
    const MAX_STEPS: usize = 100;
    const TOLERANCE: f64 = 1e-10;
    const FIRST_SHARE: f64 = 0.1;
    const LAST_SHARE: f64 = 1e-8;
    let singular = || ProbeError::Singular(penalty.to_string());
    let count = gram.scales.len();
    if penalty == 0.0 && count <= data.width {
        return Err(singular());
    }
    let mut matrix = gram.matrix.clone();
    for index in 0..matrix.nrows() {
        matrix[(index, index)] += penalty;
    }
    let examples: Vec<(f64, bool)> =
        data.sequences().flat_map(|one| one.boundaries().map(move |_| (one.weight(), one.failed))).collect();
    let problem = Problem {
        width: data.width,
        rows: data.rows_of(0..count),
        scales: &gram.scales,
        bias: 0.25 * examples.iter().map(|(weight, _)| weight).sum::<f64>(),
        examples,
        penalty,
        factor: factor(matrix).ok_or_else(singular)?,
    };
    let mut at = Parameters::zero(data.width);
    let mut logits = problem.logits(&at);
    let mut first = None;
    for _ in 0..MAX_STEPS {
        let gradient = problem.gradient(&at, &logits);
        let size = gradient.dot(&problem.preconditioned(&gradient)).sqrt();
        let share = (size / *first.get_or_insert(size)).clamp(LAST_SHARE, FIRST_SHARE);
        let step = problem.step(&problem.curvature(&logits), &gradient, share);
        let along = problem.logits(&step);
        let length = descend(&problem, &mut at, &mut logits, (&step, &along), gradient.dot(&step));
        if length * step.largest() < TOLERANCE {
            break;
        }
    }
    Ok(Linear { weights: at.weights, bias: at.bias })
}

/// Searches along a step by halving until the loss falls sufficiently, and moves there; returns the length as a share
/// of the step.
fn descend(
    problem: &Problem<'_>,
    at: &mut Parameters,
    logits: &mut Vec<f64>,
    (step, along): (&Parameters, &[f64]),
    slope: f64,
) -> f64 {
    const SUFFICIENT_DECREASE: f64 = 1e-4;
    const SHORTEST: f64 = 1e-10;
    let current = problem.loss(at, logits);
    let mut length = 1.0;
    loop {
        let mut next = at.clone();
        next.add(length, step);
        let there: Vec<f64> = logits.iter().zip(along).map(|(logit, along)| logit + length * along).collect();
        let fallen = problem.loss(&next, &there) <= current + SUFFICIENT_DECREASE * length * slope;
        // Near the optimum the change of the loss is smaller than its rounding.
        if fallen || slope.abs() <= 1e-12 * current.abs() || length < SHORTEST {
            (*at, *logits) = (next, there);
            return length;
        }
        length /= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a symmetric positive definite matrix, built by a fixed formula.
    fn matrix(side: usize) -> DMatrix<f64> {
        let m = DMatrix::from_fn(side, side + 3, |row, column| ((row * 31 + column * 17) as f64 * 0.7).sin());
        let mut product = DMatrix::zeros(side, side);
        add_gram(&mut product, &m);
        let expected = &m * m.transpose();
        assert!((product.lower_triangle() - expected.lower_triangle()).amax() < 1e-10);
        expected + DMatrix::identity(side, side)
    }

    #[test]
    fn a_factor_by_blocks_is_the_factor() {
        for side in [1, BLOCK - 1, BLOCK, 2 * BLOCK + 5] {
            let whole = matrix(side);
            let found = factor(whole.clone()).unwrap().lower_triangle();
            assert!((&found * found.transpose() - &whole).amax() < 1e-9 * whole.amax(), "{side}");
        }
        let mut indefinite = matrix(BLOCK + 5);
        indefinite[(BLOCK + 1, BLOCK + 1)] = -1.0;
        assert!(factor(indefinite).is_none());
    }
}
