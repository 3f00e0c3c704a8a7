//! From episodes of the weak policy to a fitted probe.
//! Every boundary of a trajectory carries the trajectory's outcome, and each trajectory weighs one.

use std::cell::OnceCell;
use std::ops::Range;

use super::adam::{Differentiable, SplitMix64, minimise};
use super::{Head, HeadKind, LARGEST, Linear, Mlp, Probe, ProbeError, Recurrent, kernel, wide};

/// One episode of the weak policy, as the probe sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Pooled activation at each chunk boundary, `[boundaries][width]`.
    pub features: Vec<Vec<f64>>,
    /// Whether the episode, left to the weak policy, failed.
    pub failed: bool,
}

/// Which head is fitted, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Which head.
    pub kind: HeadKind,
    /// The loss gains `penalty · ½‖weights‖²`; its other part sums one unit per trajectory. Biases are free.
    ///
    /// Settle it on episodes that the fit has not seen. Hundreds of weights learn a few hundred trajectories by heart
    /// under a penalty that suits a linear head; a recurrent one may need a hundred times as much.
    pub penalty: f64,
    /// Hidden units; a linear head has none and ignores it.
    pub hidden: usize,
    /// Where the weights start and in which order trajectories come; a linear head needs neither.
    pub seed: u64,
    /// Passes over the trajectories; a linear head is solved instead.
    pub epochs: usize,
}

/// Fits a probe. Equal trajectories and options give it bit by bit.
///
/// The loss is the cross-entropy of the outcome, averaged over a trajectory's boundaries and summed over trajectories,
/// plus the penalty. Values are rounded when fitted, so that a file of them stays short and reads back exactly.
pub fn fit(trajectories: &[&Trajectory], options: &FitOptions) -> Result<Probe, ProbeError> {
    options.validate()?;
    Fitter::new(trajectories)?.fit(options)
}

/// Trajectories made ready for one fit after another, as at several penalties: each gives what [`fit`] gives.
pub struct Fitter {
    mean: Vec<f64>,
    scale: Vec<f64>,
    data: Standardised,
    /// Log odds of a failure.
    odds: f64,
    /// What linear fits of a wide activation share, once one was asked for.
    gram: OnceCell<wide::Gram>,
}

impl Fitter {
    /// Standardises the trajectories.
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
    /// A linear head is solved for outright up to a width of 256, and by conjugate gradients beyond.
    ///
    /// # Errors
    /// Options that no fit could work with, and a penalty without a solution.
    pub fn fit(&self, options: &FitOptions) -> Result<Probe, ProbeError> {
        options.validate()?;
        let mut random = SplitMix64::new(options.seed);
        let (hidden, penalty, epochs) = (options.hidden, options.penalty, options.epochs);
        let (data, width) = (&self.data, self.data.width);
        let mut head = match options.kind {
            HeadKind::Linear if width > wide::DIRECT => {
                Head::Linear(wide::fit(data, self.gram.get_or_init(|| wide::Gram::of(data)), penalty)?)
            }
            HeadKind::Linear => Head::Linear(Linear::fit(data, penalty)?),
            HeadKind::Mlp => {
                let start = Mlp::start(width, hidden, self.odds, &mut random);
                Head::Mlp(minimise(start, data, penalty, epochs, &mut random))
            }
            HeadKind::Recurrent => {
                let start = Recurrent::start(width, hidden, self.odds, &mut random);
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

/// The width of the trajectories, if a probe can be fitted on them: some, of both outcomes, alike in width, no value
/// beyond [`LARGEST`].
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
            // As a NaN compares with nothing, it is none of those within.
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

/// Mean and standard deviation of each feature, each trajectory of equal weight.
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
    // A feature that never varies carries nothing: its standardised value is zero at any scale.
    let scale = variance.iter().map(|one| if *one > 1e-12 { one.sqrt() } else { 1.0 });
    let scale = scale.map(|value| rounded(value, SINGLE)).collect();
    (mean.iter().map(|value| rounded(*value, SINGLE)).collect(), scale)
}

/// Standardised training data.
pub(super) struct Standardised {
    pub width: usize,
    /// All boundaries of all trajectories, `[boundaries, width]`.
    rows: Vec<f64>,
    /// Boundaries and outcome of each trajectory.
    trajectories: Vec<(usize, bool)>,
}

/// One standardised trajectory.
pub(super) struct Sequence<'a> {
    /// Row-major `[boundaries, width]`.
    pub rows: &'a [f64],
    pub width: usize,
    pub failed: bool,
}

impl Standardised {
    fn new(trajectories: &[&Trajectory], mean: &[f64], scale: &[f64]) -> Self {
        let boundaries: usize = trajectories.iter().map(|one| one.features.len()).sum();
        let mut rows = vec![0.0; boundaries * mean.len()];
        let features = trajectories.iter().flat_map(|one| &one.features);
        for (row, features) in rows.chunks_exact_mut(mean.len()).zip(features) {
            kernel::standardise(features, mean, scale, row);
        }
        let trajectories = trajectories.iter().map(|one| (one.features.len(), one.failed)).collect();
        Self { width: mean.len(), rows, trajectories }
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = Sequence<'_>> {
        self.trajectories.iter().scan(&self.rows[..], |rest, (boundaries, failed)| {
            let (rows, after) = rest.split_at(boundaries * self.width);
            *rest = after;
            Some(Sequence { rows, width: self.width, failed: *failed })
        })
    }

    /// These boundaries of all, row-major `[boundaries, width]`.
    pub(super) fn rows_of(&self, range: Range<usize>) -> &[f64] {
        self.rows.get(range.start * self.width..range.end * self.width).unwrap_or_default()
    }

    /// Boundaries of the longest trajectory.
    pub(super) fn longest(&self) -> usize {
        self.trajectories.iter().map(|(boundaries, _)| *boundaries).max().unwrap_or(0)
    }
}

impl<'a> Sequence<'a> {
    /// Features at each boundary, in order.
    pub(super) fn boundaries(&self) -> std::slice::ChunksExact<'a, f64> {
        self.rows.chunks_exact(self.width)
    }

    /// Weight of each boundary.
    pub(super) fn weight(&self) -> f64 {
        self.width as f64 / self.rows.len() as f64
    }
}

/// Significant digits of single precision.
const SINGLE: usize = 8;
/// Significant digits of each of the weights of a head that has hundreds: what keeps its file near ten kilobytes.
/// Thresholds are calibrated on the rounded probe, so nothing downstream sees the difference.
const WEIGHT: usize = 4;

fn round(head: &mut Head) {
    let (digits, arrays) = match head {
        Head::Linear(head) => (SINGLE, vec![&mut head.weights[..], std::slice::from_mut(&mut head.bias)]),
        Head::Mlp(head) => (WEIGHT, head.arrays().into_iter().map(|array| array.values).collect()),
        Head::Recurrent(head) => (WEIGHT, head.arrays().into_iter().map(|array| array.values).collect()),
    };
    arrays.into_iter().flatten().for_each(|value| *value = rounded(*value, digits));
}

/// The nearest number of so many significant decimal digits: so few read back exactly, with any reader of JSON.
/// That needs a small exponent too, so what is as good as zero is zero.
fn rounded(value: f64, digits: usize) -> f64 {
    if value.abs() < 1e-12 {
        return 0.0;
    }
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}
