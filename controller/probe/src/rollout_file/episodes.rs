//! Groups the rows of a rollout file into episodes. Each episode is checked for consistency and against the file's
//! metadata.

use std::collections::BTreeMap;

use crate::columns::{Complaint, complaint};
use crate::rollout::{Boundary, Rollout};
use aegis_core::{Disturbance, EpisodeKey};

/// Episode of a row: key, success, number of control steps, and disturbance.
pub(super) type Episode = (EpisodeKey, bool, u32, Option<Disturbance>);

/// Rollouts that have been read so far.
pub(super) struct EpisodeRows {
    rollouts: Vec<Rollout>,
    /// Number of rows so far.
    pub(super) rows: usize,
    /// Number of values in the first row's activation.
    width: Option<usize>,
    /// First row of each episode.
    began: BTreeMap<EpisodeKey, usize>,
    horizon_steps: u32,
    chunk_steps: u32,
}

impl EpisodeRows {
    /// Creates an empty collection for episodes of at most `horizon_steps` control steps, with a boundary every
    /// `chunk_steps`.
    pub(super) fn new(horizon_steps: u32, chunk_steps: u32) -> Result<Self, Complaint> {
        for (name, steps) in [("horizon_steps", horizon_steps), ("chunk_steps", chunk_steps)] {
            if steps == 0 {
                return Err(complaint(&format!("metadata.aegis.{name}"), "0", "1 or more"));
            }
        }
        let (rollouts, began) = (Vec::new(), BTreeMap::new());
        Ok(Self { rollouts, rows: 0, width: None, began, horizon_steps, chunk_steps })
    }

    /// Adds one row to the last rollout, or begins the next rollout.
    pub(super) fn add(
        &mut self,
        (key, success, steps, disturbance): Episode,
        boundary: Boundary,
    ) -> Result<(), Complaint> {
        let (row, horizon, chunk) = (self.rows, self.horizon_steps, self.chunk_steps);
        self.rows += 1;
        let (found, width) = (boundary.features.len(), *self.width.get_or_insert(boundary.features.len()));
        if found != width || found == 0 {
            let valid = if width == 0 { "1 or more".into() } else { format!("{width}, as in row 0") };
            return Err(complaint("activation", format!("row {row}: {found} values"), valid));
        }
        if steps == 0 || steps > horizon {
            let valid = format!("1 to {horizon}, metadata.aegis.horizon_steps");
            return Err(complaint("episode_steps", format!("row {row}: {steps}"), valid));
        }
        let horizons =
            boundary.chunks.as_ref().map(|chunks| (chunks.weak.horizon(), chunks.strong.horizon()));
        if let Some((weak, strong)) = horizons.filter(|(weak, strong)| weak != strong) {
            let valid = format!("{weak}, as in weak_chunk");
            return Err(complaint("strong_chunk", format!("row {row}: {strong} actions"), valid));
        }
        let step = boundary.step;
        if let Some(last) = self.rollouts.last_mut().filter(|last| last.key == key) {
            let after = last.boundaries.last().map_or(0, |previous| previous.step);
            if step <= after || (success, steps, disturbance) != (last.success, last.steps, last.disturbance)
            {
                let found = format!("row {row}: step {step} after {after}, success {success}, {steps} steps");
                let valid = "one episode's rows together, steps ascending, one outcome and one disturbance";
                return Err(complaint("step", found, valid));
            }
            if step.checked_sub(after) != Some(chunk) || step >= steps {
                let found = format!("row {row}: step {step} after {after}, of an episode of {steps} steps");
                let valid = format!(
                    "a row after each {chunk} steps, metadata.aegis.chunk_steps, to the episode's end"
                );
                return Err(complaint("step", found, valid));
            }
            last.boundaries.push(boundary);
            return Ok(());
        }
        if let Some(first) = self.began.insert(key, row) {
            let found = format!("row {row}: {}, which began in row {first}, again after another", words(key));
            let valid = "one episode's rows together: sort by task, initial_state, replicate and step";
            return Err(complaint("task", found, valid));
        }
        if step != 0 {
            let found = format!("row {row}: step {step} as the first of {}", words(key));
            return Err(complaint("step", found, "0, where an episode's first chunk starts"));
        }
        self.rollouts.push(Rollout { key, success, steps, disturbance, boundaries: vec![boundary] });
        Ok(())
    }

    /// Checks that each rollout has all its boundaries and returns the rollouts.
    pub(super) fn whole(self) -> Result<Vec<Rollout>, Complaint> {
        if self.rollouts.is_empty() {
            return Err(complaint("rows", "none", "one for each chunk boundary"));
        }
        let chunk = self.chunk_steps;
        for Rollout { key, steps, boundaries, .. } in &self.rollouts {
            let last = boundaries.last().map_or(0, |boundary| boundary.step);
            if last.saturating_add(chunk) < *steps {
                let row = self.began.get(key).map_or(0, |first| first + boundaries.len() - 1);
                let found =
                    format!("row {row}: step {last} as the last of {}, of {steps} steps", words(*key));
                let valid = format!(
                    "a row after each {chunk} steps, metadata.aegis.chunk_steps, to the episode's end"
                );
                return Err(complaint("step", found, valid));
            }
        }
        Ok(self.rollouts)
    }
}

fn words(EpisodeKey { start, replicate }: EpisodeKey) -> String {
    format!("task {}, initial state {}, replicate {replicate}", start.task, start.initial_state)
}
