//! Synthetic episodes with forks, whose true benefit is known.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::ops::Range;

use aegis_core::gate::BudgetUnit;
use aegis_core::{Chunk, EpisodeKey, GateLimits, HeadKind, Start};
use aegis_probe::fit::FitSettings;
use aegis_probe::forks::{Branch, EpisodeForks, Fork};
use aegis_probe::rollout::{Boundary, Chunks, Rollout};

/// Four boundaries, of which the last three may fire, and a hold of one chunk.
pub fn gate() -> GateLimits {
    GateLimits {
        return_chunks: 0,
        guard_fraction: 0.25,
        budget_fraction: 0.25,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 1.0,
        hold_chunks: 1,
        whole_holds: true,
        horizon_steps: 40,
        chunk_steps: 10,
    }
}

pub fn settings(head: HeadKind) -> FitSettings {
    FitSettings {
        head,
        penalties: vec![0.1, 1.0],
        folds: 3,
        hidden: 3,
        epochs: 8,
        seed: 1,
        window_fraction: 1.0,
        alpha: 0.1,
        return_alpha: 0.25,
        early_fraction: 0.3,
        trend_window: 2,
    }
}

/// Returns a number from −1 to 1 that these numbers determine.
fn noise(place: usize, salt: usize) -> f64 {
    let mut bits = (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (salt as u64 + 1) << 17;
    for _ in 0..2 {
        bits = (bits ^ bits >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    (bits >> 40) as f64 / f64::from(1_u32 << 23) - 1.0
}

/// Two tasks' episodes from these initial states, with two features at each boundary: the first one says whether the weak policy fails,
/// the second one whether a hold helps. A hold wins a lost episode where the second feature is above zero, and changes nothing
/// elsewhere: of two boundaries of equal risk, one has all the benefit and the other none. The riskier an episode is, the less a hold
/// helps, so that risk ranks boundaries worse than chance among lost episodes.
pub fn episodes(states: Range<usize>) -> (Vec<Rollout>, Vec<EpisodeForks>) {
    let one = |key: EpisodeKey| {
        let place = key.start.initial_state * 2 + key.start.task;
        let danger = 3.0 * noise(place, 0);
        let helps = |index: usize| 3.0 * noise(place, 10 + index) - 0.6 * danger;
        let success = danger + 0.5 * noise(place, 1) < 0.0;
        let chunk = |value: f64| Chunk::new(1, vec![value as f32; 10]).unwrap();
        let boundary = |index: usize| Boundary {
            step: 10 * index as u32,
            features: vec![danger, helps(index)],
            chunks: Some(Chunks { weak: chunk(noise(place, 20)), strong: chunk(noise(place, 30 + index)) }),
        };
        let branch = |success| Branch { success, steps: 40, strong_steps: 10 };
        let fork = |index: usize| Fork {
            step: 10 * index as u32,
            risk: None,
            inclusion: 1.0,
            hold: branch(success || helps(index) > 0.0),
            take_over: Branch { success: true, steps: 40, strong_steps: 40 - 10 * index as u32 },
        };
        let boundaries = (0..4).map(boundary).collect();
        let forks = EpisodeForks { key, success, steps: 40, forks: (1..4).map(fork).collect() };
        (Rollout { key, success, steps: 40, disturbance: None, boundaries }, forks)
    };
    let keys = states.flat_map(|initial_state| {
        (0..2).map(move |task| EpisodeKey { start: Start { task, initial_state }, replicate: 0 })
    });
    keys.map(one).unzip()
}
