//! Trajectories that heads are fitted on, as given and standardised.

use std::ops::Range;

use aegis_core::probe::kernel;

/// Training data of one episode of the weak policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Pooled activation at each chunk boundary, `[boundaries][width]`.
    pub features: Vec<Vec<f64>>,
    /// Whether the episode, left to the weak policy, failed.
    pub failed: bool,
}

/// Standardised training data.
pub(super) struct Standardised {
    pub width: usize,
    /// All boundaries of all trajectories, `[boundaries, width]`.
    rows: Vec<f64>,
    /// Number of boundaries of each trajectory, and whether it failed.
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
    pub(super) fn new(trajectories: &[&Trajectory], mean: &[f64], scale: &[f64]) -> Self {
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

    /// Returns a range of the boundaries of all trajectories, row-major `[boundaries, width]`.
    pub(super) fn rows_of(&self, range: Range<usize>) -> &[f64] {
        self.rows.get(range.start * self.width..range.end * self.width).unwrap_or_default()
    }

    /// Returns the number of boundaries of the longest trajectory.
    pub(super) fn longest(&self) -> usize {
        self.trajectories.iter().map(|(boundaries, _)| *boundaries).max().unwrap_or(0)
    }
}

impl<'a> Sequence<'a> {
    /// Returns the features at each boundary, in order.
    pub(super) fn boundaries(&self) -> std::slice::ChunksExact<'a, f64> {
        self.rows.chunks_exact(self.width)
    }

    /// Returns the weight of each boundary.
    pub(super) fn weight(&self) -> f64 {
        self.width as f64 / self.rows.len() as f64
    }
}
