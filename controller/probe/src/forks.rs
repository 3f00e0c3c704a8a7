//! Forks of a weak episode: how it would have ended, had the strong policy driven for one hold, or to the end, from a boundary on.

use aegis_core::EpisodeKey;
use aegis_files::hex;
use sha2::{Digest, Sha256};

/// End of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Whether the goal was reached within the horizon.
    pub success: bool,
    /// Control steps of the whole episode, those before the boundary included.
    pub steps: u32,
    /// Control steps that the strong policy drove.
    pub strong_steps: u32,
}

/// Both branches from one boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fork {
    /// Control step of the boundary.
    pub step: u32,
    /// Risk that the probe read there; `None` without a probe, and where the probe gave no number.
    pub risk: Option<f64>,
    /// Probability with which the boundary was drawn among those of its episode; 1 where none is left out.
    pub inclusion: f64,
    /// The strong policy drives for one hold from here on, then the weak one.
    pub hold: Branch,
    /// The strong policy drives from here to the end.
    pub take_over: Branch,
}

impl Fork {
    /// Returns whether the episode ended before the hold did, so that both branches are one episode, which was run once.
    pub fn is_shared(&self) -> bool {
        self.hold.strong_steps == self.hold.steps - self.step
    }
}

/// Weak episode and the forks from its boundaries.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeForks {
    /// Task, initial state and replicate.
    pub key: EpisodeKey,
    /// Whether the weak policy, left alone, won.
    pub success: bool,
    /// Control steps of the weak episode.
    pub steps: u32,
    /// Forks, ascending by their boundary; empty for an episode that ends before a gate may fire.
    pub forks: Vec<Fork>,
}

impl EpisodeForks {
    /// Returns success of a branch minus success of the weak policy alone: −1, 0 or 1.
    pub fn benefit(&self, branch: &Branch) -> i32 {
        i32::from(branch.success) - i32::from(self.success)
    }

    /// Returns whether every boundary at which a gate may fire has its fork.
    pub fn is_complete(&self) -> bool {
        self.forks.iter().all(|fork| fork.inclusion >= 1.0)
    }
}

/// Returns the SHA-256 over all values, in order.
pub fn digest(episodes: &[EpisodeForks]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"aegis-forks-v1");
    for episode in episodes {
        let EpisodeKey { start, replicate } = episode.key;
        for part in [start.task as u64, start.initial_state as u64, replicate, episode.forks.len() as u64] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update([u8::from(episode.success)]);
        hasher.update(episode.steps.to_le_bytes());
        for fork in &episode.forks {
            hasher.update(fork.step.to_le_bytes());
            // No risk is hashed as the one NaN that a file has for it.
            hasher.update(fork.risk.unwrap_or(f64::NAN).to_le_bytes());
            hasher.update(fork.inclusion.to_le_bytes());
            for Branch { success, steps, strong_steps } in [fork.hold, fork.take_over] {
                hasher.update([u8::from(success)]);
                hasher.update(steps.to_le_bytes());
                hasher.update(strong_steps.to_le_bytes());
            }
        }
    }
    hex(&hasher.finalize())
}
