//! Rollouts of the weak policy alone, as a probe and its rivals see them: one entry per chunk boundary.
//! What both policies proposed is kept too, so that rules that read no activation can be compared on the same episodes.

use aegis_core::{Chunk, ChunkRecord, Recorder, StepRecord};
use sha2::{Digest, Sha256};

use crate::arm::Arm;
use crate::episode::{EpisodeContext, EpisodeSettings, run_episode};
use crate::files::hex;
use crate::key::EpisodeKey;
use crate::runner::{Progress, RunError, SetupError, describe, parallel};

/// What was known at one chunk boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary {
    /// Control step at which the chunk starts.
    pub step: u32,
    /// The weak policy's pooled activation, `[width]`.
    pub features: Vec<f64>,
    /// The weak policy's chunk.
    pub weak: Chunk,
    /// The strong policy's chunk for the same observation; it was asked and not obeyed.
    pub strong: Chunk,
}

/// One episode of the weak policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Task, initial state and replicate.
    pub key: EpisodeKey,
    /// Whether the weak policy won it.
    pub success: bool,
    /// Control steps that it took.
    pub steps: u32,
    /// Its boundaries in order.
    pub boundaries: Vec<Boundary>,
}

/// Runs the weak policy alone on every key, with the strong one asked in shadow; `keep` gets each rollout as it lands.
pub fn rollouts(
    keys: &[EpisodeKey],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
    keep: &(dyn Fn(&Rollout) -> Result<(), RunError> + Sync),
) -> Result<Vec<Rollout>, RunError> {
    let settings = EpisodeSettings { ask_strong: true, ..settings.clone() };
    parallel(keys, workers, open, progress, |parties, key| {
        let mut tap = Tap::default();
        let result = run_episode(parties, &Arm::weak(), *key, &settings, &mut tap);
        let (result, _) = result.map_err(|source| RunError::Job { what: describe(*key, "weak"), source })?;
        let rollout =
            Rollout { key: *key, success: result.success, steps: result.steps, boundaries: tap.boundaries };
        keep(&rollout)?;
        Ok(rollout)
    })
}

#[derive(Default)]
struct Tap {
    boundaries: Vec<Boundary>,
}

impl Recorder for Tap {
    fn chunk(&mut self, record: &ChunkRecord) {
        // It is asked at every boundary; see `ask_strong`.
        let Some(strong) = record.strong.clone() else { return };
        let (step, features) = (record.step, record.pooled.clone());
        self.boundaries.push(Boundary { step, features, weak: record.weak.clone(), strong });
    }

    fn step(&mut self, _: &StepRecord<'_>) {}
}

/// SHA-256 over keys, outcomes and everything read, in order: names the data that a probe was made from, however they
/// are stored.
pub fn digest(rollouts: &[Rollout]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"aegis-rollouts-v1");
    for rollout in rollouts {
        let EpisodeKey { start, replicate } = rollout.key;
        for part in [start.task as u64, start.initial_state as u64, replicate, u64::from(rollout.steps)] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update([u8::from(rollout.success)]);
        hasher.update((rollout.boundaries.len() as u64).to_le_bytes());
        for boundary in &rollout.boundaries {
            hasher.update(boundary.step.to_le_bytes());
            hasher.update((boundary.features.len() as u64).to_le_bytes());
            boundary.features.iter().for_each(|value| hasher.update(value.to_le_bytes()));
            for chunk in [&boundary.weak, &boundary.strong] {
                hasher.update((chunk.width() as u64).to_le_bytes());
                hasher.update((chunk.horizon() as u64).to_le_bytes());
                chunk.values().iter().for_each(|value| hasher.update(value.to_le_bytes()));
            }
        }
    }
    hex(&hasher.finalize())
}
