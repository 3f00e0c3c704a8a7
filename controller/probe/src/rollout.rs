//! Rollout of the weak policy: activation and, where known, chunks at each boundary, and the outcome.

use aegis_core::{Chunk, Disturbance};
use sha2::{Digest, Sha256};

use aegis_core::EpisodeKey;
use aegis_files::hex;

/// Activation and chunks at one boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary {
    /// Control step at which the chunk starts.
    pub step: u32,
    /// Weak policy's pooled activation, `[width]`.
    pub features: Vec<f64>,
    /// Both policies' chunks for the observation of this boundary; `None` in rollouts of another program.
    pub chunks: Option<Chunks>,
}

/// Chunks of both policies for one observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunks {
    /// Weak policy's chunk.
    pub weak: Chunk,
    /// Strong policy's chunk, which was not executed.
    pub strong: Chunk,
}

/// Episode that the weak policy drove alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Task, initial state and replicate.
    pub key: EpisodeKey,
    /// Whether the weak policy succeeded.
    pub success: bool,
    /// Control steps of the episode.
    pub steps: u32,
    /// Disturbance of the episode, if it had one.
    pub disturbance: Option<Disturbance>,
    /// Boundaries in order.
    pub boundaries: Vec<Boundary>,
}

/// Returns whether every boundary has both policies' chunks.
pub fn has_chunks(rollouts: &[Rollout]) -> bool {
    rollouts.iter().flat_map(|rollout| &rollout.boundaries).all(|boundary| boundary.chunks.is_some())
}

/// Returns the SHA-256 over keys, outcomes and everything that the policies returned, in order. The digest identifies
/// the rollouts that a probe was made from, independent of how they are stored.
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
            // A chunk has at least one action, so the bytes of a boundary without chunks differ from those of any with chunks.
            let Some(chunks) = &boundary.chunks else {
                hasher.update(0_u64.to_le_bytes());
                continue;
            };
            for chunk in [&chunks.weak, &chunks.strong] {
                hasher.update((chunk.width() as u64).to_le_bytes());
                hasher.update((chunk.horizon() as u64).to_le_bytes());
                chunk.values().iter().for_each(|value| hasher.update(value.to_le_bytes()));
            }
        }
    }
    hex(&hasher.finalize())
}
