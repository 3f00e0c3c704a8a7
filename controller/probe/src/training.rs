//! Training of probes on episodes of the weak policy.
//! Every boundary of a trajectory is labelled with the trajectory's outcome, and each trajectory has a total weight of one.

mod adam;
mod data;
mod linear;
mod mlp;
mod recurrent;
mod wide;

use std::cell::OnceCell;

use aegis_core::probe::{Head, HeadKind, LARGEST, Probe, ProbeError};

pub use data::Trajectory;

use adam::{Differentiable, SplitMix64, minimise};
use data::Standardised;

/// Options of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Kind of head.
    pub kind: HeadKind,
    /// L2 penalty: adds `penalty · ½‖weights‖²` to the loss, in which each trajectory has a weight of one. Biases are
    /// not penalised.
    ///
    /// Choose the penalty on episodes that the fit has not seen. Under a penalty that suits a linear head, a head with
    /// hundreds of weights overfits a few hundred trajectories; a recurrent head may need a penalty a hundred times as
    /// large.
    pub penalty: f64,
    /// Number of hidden units; ignored for a linear head, which has none.
    pub hidden: usize,
    /// Seed of the initial weights and of the order of the trajectories; ignored for a linear head.
    pub seed: u64,
    /// Passes over the trajectories; ignored for a linear head, which is solved instead.
    pub epochs: usize,
}

/// Fits a probe. Equal trajectories and options give bitwise equal probes.
///
/// The loss is the cross-entropy of the outcome, averaged over a trajectory's boundaries and summed over trajectories,
/// plus the penalty. Fitted values are rounded, so that the probe's file stays short and reads back exactly.
pub fn fit(trajectories: &[&Trajectory], options: &FitOptions) -> Result<Probe, ProbeError> {
    options.validate()?;
    Fitter::new(trajectories)?.fit(options)
}

/// Prepared trajectories for several fits, for example at several penalties. Each fit gives the same probe as [`fit`].
pub struct Fitter {
    mean: Vec<f64>,
    scale: Vec<f64>,
    data: Standardised,
    /// Log odds of failure over the trajectories.
    odds: f64,
    /// Gram matrix that linear fits of a wide activation share; computed by the first such fit.
    gram: OnceCell<wide::Gram>,
}

impl Fitter {
    /// Checks and standardises the trajectories.
    ///
    /// # Errors
    /// See [`check`].
    pub fn new(trajectories: &[&Trajectory]) -> Result<Self, ProbeError> {
        let width = check(trajectories)?;
        let (mean, scale) = standardisation(trajectories, width);
        let data = Standardised::new(trajectories, &mean, &scale);
        let failures = trajectories.iter().filter(|one| one.failed).count() as f64;
        let odds = (failures / (trajectories.len() as f64 - failures)).ln();
        Ok(Self { mean, scale, data, odds, gram: OnceCell::new() })
    }

    /// Fits a probe, see [`fit`].
    ///
    /// A linear head is solved directly up to a width of 256, and by conjugate gradients beyond.
    ///
    /// # Errors
    /// [`ProbeError`] for invalid options, and for a penalty at which the fit has no solution.
    pub fn fit(&self, options: &FitOptions) -> Result<Probe, ProbeError> {
        options.validate()?;
        let mut random = SplitMix64::new(options.seed);
        let (hidden, penalty, epochs) = (options.hidden, options.penalty, options.epochs);
        let (data, width) = (&self.data, self.data.width);
        let mut head = match options.kind {
            HeadKind::Linear if width > wide::DIRECT => {
                Head::Linear(wide::fit(data, self.gram.get_or_init(|| wide::Gram::of(data)), penalty)?)
            }
            HeadKind::Linear => Head::Linear(linear::fit(data, penalty)?),
            HeadKind::Mlp => {
                let start = mlp::start(width, hidden, self.odds, &mut random);
                Head::Mlp(minimise(start, data, penalty, epochs, &mut random))
            }
            HeadKind::Recurrent => {
                let start = recurrent::start(width, hidden, self.odds, &mut random);
                Head::Recurrent(minimise(start, data, penalty, epochs, &mut random))
            }
        };
        round(&mut head);
        let probe = Probe { mean: self.mean.clone(), scale: self.scale.clone(), head };
        probe.validate()?;
        Ok(probe)
    }
}

impl FitOptions {
    fn validate(&self) -> Result<(), ProbeError> {
        let trained = self.kind != HeadKind::Linear;
        let penalty = self.penalty >= 0.0 && self.penalty.is_finite();
        for (field, ok, found, valid) in [
            ("penalty", penalty, self.penalty.to_string(), "0 or more, finite"),
            ("hidden", !trained || self.hidden > 0, self.hidden.to_string(), "1 or more"),
            ("epochs", !trained || self.epochs > 0, self.epochs.to_string(), "1 or more"),
        ] {
            if !ok {
                return Err(ProbeError::Invalid { field, found, valid: valid.into() });
            }
        }
        Ok(())
    }
}

/// Returns the width of the trajectories, if a probe can be fitted on them.
///
/// # Errors
/// [`ProbeError`] without trajectories or with a single outcome, for a trajectory without boundaries, for widths that
/// differ or are zero, and for a value that is not finite or larger in magnitude than [`LARGEST`].
pub fn check(trajectories: &[&Trajectory]) -> Result<usize, ProbeError> {
    let first = trajectories.first().ok_or(ProbeError::Empty)?;
    let width = first.features.first().ok_or(ProbeError::NoBoundaries { trajectory: 0 })?.len();
    for (trajectory, one) in trajectories.iter().enumerate() {
        if one.features.is_empty() {
            return Err(ProbeError::NoBoundaries { trajectory });
        }
        for (boundary, features) in one.features.iter().enumerate() {
            let found = features.len();
            if found != width || found == 0 {
                let valid = if width == 0 { "1 or more".to_owned() } else { width.to_string() };
                return Err(ProbeError::Ragged { trajectory, boundary, found, valid });
            }
            // Written so that NaN, which fails every comparison, is found too.
            let within = |value: &f64| value.abs() <= LARGEST;
            if let Some((index, value)) = features.iter().enumerate().find(|(_, value)| !within(value)) {
                return Err(ProbeError::Value { trajectory, boundary, index, found: format!("{value:e}") });
            }
        }
    }
    if trajectories.iter().all(|one| one.failed == first.failed) {
        return Err(ProbeError::OneClass(first.failed));
    }
    Ok(width)
}

/// Returns the mean and the standard deviation of each feature, with equal weight for each trajectory.
fn standardisation(trajectories: &[&Trajectory], width: usize) -> (Vec<f64>, Vec<f64>) {
    let weighted = |each: &mut dyn FnMut(usize, f64, f64)| {
        for one in trajectories {
            let weight = 1.0 / (one.features.len() * trajectories.len()) as f64;
            for features in &one.features {
                features.iter().enumerate().for_each(|(column, value)| each(column, weight, *value));
            }
        }
    };
    let mut mean = vec![0.0; width];
    weighted(&mut |column, weight, value| mean[column] += weight * value);
    let mut variance = vec![0.0; width];
    weighted(&mut |column, weight, value| variance[column] += weight * (value - mean[column]).powi(2));
    // A feature that never varies carries no information: its standardised value is zero at any scale.
    let scale = variance.iter().map(|one| if *one > 1e-12 { one.sqrt() } else { 1.0 });
    let scale = scale.map(|value| rounded(value, SINGLE)).collect();
    (mean.iter().map(|value| rounded(*value, SINGLE)).collect(), scale)
}

/// Significant digits of single precision.
pub(crate) const SINGLE: usize = 8;
/// Significant digits of each weight of a head with hundreds of weights: keeps the probe's file near ten kilobytes.
/// Thresholds are calibrated on the rounded probe, so the rounding does not affect them.
const WEIGHT: usize = 4;

fn round(head: &mut Head) {
    let (digits, arrays) = match head {
        Head::Linear(head) => (SINGLE, vec![&mut head.weights[..], std::slice::from_mut(&mut head.bias)]),
        Head::Mlp(head) => (WEIGHT, head.arrays().into_iter().map(|array| array.values).collect()),
        Head::Recurrent(head) => (WEIGHT, head.arrays().into_iter().map(|array| array.values).collect()),
    };
    arrays.into_iter().flatten().for_each(|value| *value = rounded(*value, digits));
}

/// Rounds to `digits` significant decimal digits, few enough for every JSON reader to read the number back exactly.
/// That also requires a small exponent, so magnitudes below 1e-12 become zero.
pub(crate) fn rounded(value: f64, digits: usize) -> f64 {
    if value.abs() < 1e-12 {
        return 0.0;
    }
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}
