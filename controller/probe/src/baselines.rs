//! Baselines for a probe: the same head on quantities that need no activation. Each baseline is fitted on the same
//! discovery rollouts and read over the same window as the probe.

use crate::training::{FitOptions, Trajectory, fit};
use aegis_core::Chunk;
use aegis_core::probe::{Probe, ProbeError};
use serde::Serialize;

use crate::calibration::{CalibrationError, Scored, mean_before};
use crate::rollout::{Boundary, Rollout};

/// Baseline of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Task index: separates hard tasks from easy ones, and carries no information within a task.
    Task,
    /// Number of control steps since the start of the episode.
    ElapsedTime,
    /// Root mean square of the motion in the weak policy's chunk.
    ActionMagnitude,
    /// Distance between the last motion of the previous chunk and the first of this one. Chunks are executed whole,
    /// so two consecutive chunks never plan the same control step; they can be compared only at this seam.
    ChunkSeam,
    /// Distance between both policies' chunks. It needs no activation, but an inference of the strong policy.
    Disagreement,
    /// First four baselines together.
    Together,
}

/// A baseline that rollouts do not determine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnknownBaseline {
    /// Name of the baseline.
    pub baseline: &'static str,
    /// What is missing.
    pub reason: &'static str,
}

impl Baseline {
    /// All baselines.
    pub const ALL: [Self; 6] = [
        Self::Task,
        Self::ElapsedTime,
        Self::ActionMagnitude,
        Self::ChunkSeam,
        Self::Disagreement,
        Self::Together,
    ];

    /// Returns the baseline's name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task identity",
            Self::ElapsedTime => "elapsed time",
            Self::ActionMagnitude => "action magnitude",
            Self::ChunkSeam => "seam between chunks",
            Self::Disagreement => "weak against strong",
            Self::Together => "task, time, magnitude and seam",
        }
    }

    /// Returns whether the baseline reads the policies' chunks, which rollouts of another program do not have.
    pub fn reads_chunks(self) -> bool {
        !matches!(self, Self::Task | Self::ElapsedTime)
    }

    /// Returns the baseline's features at each boundary of a rollout, `[boundaries][features]`.
    fn features(self, rollout: &Rollout, tasks: usize, distances: &[f64], motion: &[bool]) -> Vec<Vec<f64>> {
        let boundaries = || rollout.boundaries.iter().enumerate();
        match self {
            Self::Task => {
                let one = |task| f64::from(u8::from(task == rollout.key.start.task));
                boundaries().map(|_| (0..tasks).map(one).collect()).collect()
            }
            Self::ElapsedTime => boundaries().map(|(_, boundary)| vec![f64::from(boundary.step)]).collect(),
            Self::ActionMagnitude => boundaries()
                .map(|(_, boundary)| vec![weak(boundary).map_or(0.0, |chunk| magnitude(chunk, motion))])
                .collect(),
            Self::ChunkSeam => boundaries()
                .map(|(index, boundary)| {
                    vec![
                        index
                            .checked_sub(1)
                            .map_or(0.0, |last| seam(&rollout.boundaries[last], boundary, motion)),
                    ]
                })
                .collect(),
            Self::Disagreement => distances.iter().map(|distance| vec![*distance]).collect(),
            Self::Together => {
                let parts = [Self::Task, Self::ElapsedTime, Self::ActionMagnitude, Self::ChunkSeam]
                    .map(|part| part.features(rollout, tasks, distances, motion));
                boundaries()
                    .map(|(index, _)| parts.iter().flat_map(|part| part[index].iter().copied()).collect())
                    .collect()
            }
        }
    }
}

/// Returns the values of an action's channels that count as motion; channels past the end of `motion` count.
fn moving<'a>(action: &'a [f32], motion: &'a [bool]) -> impl Iterator<Item = f32> + Clone + 'a {
    let counts = motion.iter().copied().chain(std::iter::repeat(true));
    action.iter().zip(counts).filter(|(_, counts)| *counts).map(|(value, _)| *value)
}

fn root_mean_square(values: impl Iterator<Item = f64> + Clone) -> f64 {
    (values.clone().map(|value| value * value).sum::<f64>() / values.count().max(1) as f64).sqrt()
}

fn weak(boundary: &Boundary) -> Option<&Chunk> {
    boundary.chunks.as_ref().map(|chunks| &chunks.weak)
}

fn magnitude(chunk: &Chunk, motion: &[bool]) -> f64 {
    let actions = chunk.values().chunks_exact(chunk.width());
    root_mean_square(actions.flat_map(|action| moving(action, motion)).map(f64::from))
}

/// Returns the distance between the last motion of one boundary's weak chunk and the first of the next one's.
pub(crate) fn seam(before: &Boundary, after: &Boundary, motion: &[bool]) -> f64 {
    let last = weak(before).and_then(|chunk| chunk.action(chunk.horizon() - 1)).unwrap_or(&[]);
    let first = weak(after).and_then(|chunk| chunk.action(0)).unwrap_or(&[]);
    root_mean_square(moving(last, motion).zip(moving(first, motion)).map(|(a, b)| f64::from(a - b)))
}

/// Returns the early scores of a baseline on `fresh` rollouts, one for each rollout: the mean score over control steps
/// before `end`. The baseline is fitted on `discovery` with `options`. Rollouts without chunks have zeros where the baseline
/// [reads chunks](Baseline::reads_chunks). `motion` has for each channel of an action whether it counts as motion.
pub fn early_scores(
    baseline: Baseline,
    (discovery, discovery_scored): (&[Rollout], &[Scored]),
    (fresh, fresh_scored): (&[Rollout], &[Scored]),
    (options, end): (&FitOptions, f64),
    motion: &[bool],
) -> Result<Vec<f64>, CalibrationError> {
    let tasks = discovery.iter().chain(fresh).map(|rollout| rollout.key.start.task + 1).max().unwrap_or(0);
    let trajectories: Vec<Trajectory> = discovery
        .iter()
        .zip(discovery_scored)
        .map(|(rollout, scored)| Trajectory {
            features: baseline.features(rollout, tasks, &scored.disagreement, motion),
            failed: !rollout.success,
        })
        .collect();
    let probe = fit(&trajectories.iter().collect::<Vec<_>>(), options)?;
    let score = |(rollout, scored): (&Rollout, &Scored)| -> Result<f64, CalibrationError> {
        let scores = scores(&probe, &baseline.features(rollout, tasks, &scored.disagreement, motion))?;
        Ok(mean_before(&scored.steps, scores.into_iter(), end))
    };
    fresh.iter().zip(fresh_scored).map(score).collect()
}

fn scores(probe: &Probe, features: &[Vec<f64>]) -> Result<Vec<f64>, ProbeError> {
    Ok(probe.trace(features)?.into_iter().map(|score| score.risk()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Chunks;
    use aegis_core::EpisodeKey;
    use aegis_core::Start;

    fn rollout(task: usize, first: [f32; 7], second: [f32; 7]) -> Rollout {
        let boundary = |step, action: [f32; 7]| Boundary {
            step,
            features: vec![0.0],
            chunks: Some(Chunks {
                weak: Chunk::new(7, action.repeat(2)).unwrap(),
                strong: Chunk::new(7, vec![0.0; 14]).unwrap(),
            }),
        };
        Rollout {
            key: EpisodeKey { start: Start { task, initial_state: 0 }, replicate: 0 },
            success: false,
            steps: 4,
            disturbance: None,
            boundaries: vec![boundary(0, first), boundary(2, second)],
        }
    }

    #[test]
    fn features_have_the_quantities_of_their_names() {
        let still = [0.0; 7];
        let full = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0];
        let rollout = rollout(1, still, full);
        let motion = [true, true, true, true, true, true, false];
        let read = |baseline: Baseline| baseline.features(&rollout, 3, &[0.25, 0.5], &motion);
        assert_eq!(read(Baseline::Task), [[0.0, 1.0, 0.0]; 2]);
        assert_eq!(read(Baseline::ElapsedTime), [[0.0], [2.0]]);
        assert_eq!(read(Baseline::ActionMagnitude), [[0.0], [1.0]], "a switch does not count");
        assert_eq!(read(Baseline::ChunkSeam), [[0.0], [1.0]]);
        assert_eq!(read(Baseline::Disagreement), [[0.25], [0.5]]);
        assert_eq!(read(Baseline::Together)[1], [0.0, 1.0, 0.0, 2.0, 1.0, 1.0]);
    }
}
