//! Writes rollouts without chunks and without a statement of their starts, as [`super::read`] reads them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use aegis_files::write_atomically;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, UInt32Array};

use crate::parquet_file::{bytes, list};
use crate::rollout_file::RolloutFileError;

/// An episode to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignEpisode {
    /// Index of the task.
    pub task: u32,
    /// Initial state within the task.
    pub start: u32,
    /// Number of the episode within its task.
    pub episode: u32,
    /// Outcome of the episode.
    pub success: bool,
    /// Pooled activation of each inference, `[inferences, width]`; inference k begins at control step k × `chunk_steps`.
    pub activations: Vec<Vec<f64>>,
}

/// Writes episodes as a Parquet file, atomically.
///
/// # Errors
/// [`RolloutFileError::Write`] for a file that cannot be written, without a row, or with activations of different widths.
pub fn write(path: &Path, episodes: &[ForeignEpisode], chunk_steps: u32) -> Result<(), RolloutFileError> {
    let io = |reason: String| RolloutFileError::Write { path: path.to_owned(), reason };
    let rows = || {
        let numbered =
            |episode: &'_ ForeignEpisode| (0_u32..).zip(episode.activations.clone()).collect::<Vec<_>>();
        episodes.iter().flat_map(move |episode| numbered(episode).into_iter().map(move |row| (episode, row)))
    };
    let (_, (_, first)) =
        rows().next().ok_or_else(|| io("found no row to write; valid is one or more".into()))?;
    let width = first.len();
    if let Some((_, (_, other))) = rows().find(|(_, (_, row))| row.len() != width) {
        return Err(io(format!(
            "activation: found {} values after {width}; valid is one width",
            other.len()
        )));
    }
    let whole = |value: fn(&ForeignEpisode, u32) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows().map(|(episode, (index, _))| value(episode, index))))
    };
    let steps = rows().map(|(_, (index, _))| index.saturating_mul(chunk_steps));
    let values: Vec<f64> = rows().flat_map(|(_, (_, row))| row).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("task", whole(|episode, _| episode.task)),
        ("episode", whole(|episode, _| episode.episode)),
        ("start", whole(|episode, _| episode.start)),
        ("step", Arc::new(UInt32Array::from_iter_values(steps))),
        ("success", Arc::new(rows().map(|(episode, _)| Some(episode.success)).collect::<BooleanArray>())),
        ("activation", list(Arc::new(Float64Array::from(values)), width).map_err(&io)?),
    ];
    let bytes = bytes(columns, HashMap::new()).map_err(&io)?;
    write_atomically(path, &bytes).map_err(|error| io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::{StepGrid, read};

    #[test]
    fn written_rollouts_are_read_back() {
        let episode = |task, start, episode, success| ForeignEpisode {
            task,
            start,
            episode,
            success,
            activations: vec![vec![f64::from(episode), 0.5], vec![1.0 / 3.0, -1.0]],
        };
        let episodes = [episode(0, 7, 0, true), episode(0, 7, 1, false), episode(3, 1, 2, true)];
        let path = std::env::temp_dir().join(format!("aegis-foreign-write-{}.parquet", std::process::id()));
        write(&path, &episodes, 8).unwrap();
        let grid = StepGrid { horizon_steps: 100, chunk_steps: 8 };
        let found = read(&path, grid, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(found.has_starts);
        let outcomes: Vec<bool> = found.rollouts.iter().map(|rollout| rollout.success).collect();
        assert_eq!(outcomes, [true, false, true]);
        let first = &found.rollouts[0].boundaries[1];
        assert_eq!((first.step, &first.features[..]), (8, &[1.0 / 3.0, -1.0][..]));
        let uneven = ForeignEpisode { activations: vec![vec![0.0], vec![0.0; 2]], ..episodes[0].clone() };
        assert!(write(&path, &[uneven], 8).unwrap_err().to_string().contains("one width"));
        assert!(write(&path, &[], 8).unwrap_err().to_string().contains("no row"));
    }
}
