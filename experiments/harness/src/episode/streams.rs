//! Random streams, keyed by master seed, episode and stream name, from a counter-based generator. Drawing more numbers
//! from one stream never shifts another, so the twins of all arms receive the same noise.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use aegis_core::{Disturbance, EpisodeKey};
use aegis_probe::disturbances::DisturbanceSettings;

/// Number of 32-bit words reserved for each control step of a stream.
const WORDS_PER_STEP: u128 = 1 << 16;

/// Stream that decides which disturbance an episode has, and when.
const DISTURBANCE: &str = "environment disturbance";

/// Random streams of one master seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    master_seed: u64,
}

impl Streams {
    /// Creates the streams of a master seed.
    pub fn new(master_seed: u64) -> Self {
        Self { master_seed }
    }

    /// Returns one stream of one episode, positioned at the block of control step `step`.
    pub fn at(&self, episode: EpisodeKey, name: &str, step: u32) -> ChaCha8Rng {
        let mut hasher = Sha256::new();
        hasher.update(b"aegis-stream-v1");
        hasher.update(self.master_seed.to_le_bytes());
        for part in [episode.start.task as u64, episode.start.initial_state as u64, episode.replicate] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update(name.as_bytes());
        let mut generator = ChaCha8Rng::from_seed(hasher.finalize().into());
        generator.set_word_pos(u128::from(step) * WORDS_PER_STEP);
        generator
    }

    /// Draws the disturbance of an episode, from a stream of its own; `None` without settings, and for an episode that has
    /// none. The arm has no part in it.
    pub fn disturbance(
        &self,
        episode: EpisodeKey,
        settings: Option<&DisturbanceSettings>,
        horizon_steps: u32,
    ) -> Option<Disturbance> {
        settings?.disturbance(horizon_steps, self.at(episode, DISTURBANCE, 0).random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::Start;
    use aegis_probe::disturbances::SlipSettings;
    use rand::RngExt;

    const EPISODE: EpisodeKey = EpisodeKey { start: Start { task: 2, initial_state: 7 }, replicate: 0 };

    #[test]
    fn streams_are_repeatable_and_distinct() {
        let streams = Streams::new(1);
        let draw = |streams: Streams, episode, name, step| streams.at(episode, name, step).random::<u64>();
        let first = draw(streams, EPISODE, "sensor", 0);
        assert_eq!(first, draw(streams, EPISODE, "sensor", 0));
        let other = EpisodeKey { replicate: 1, ..EPISODE };
        for different in [
            draw(Streams::new(2), EPISODE, "sensor", 0),
            draw(streams, other, "sensor", 0),
            draw(streams, EPISODE, "environment", 0),
            draw(streams, EPISODE, "sensor", 1),
        ] {
            assert_ne!(first, different);
        }
    }

    #[test]
    fn a_disturbance_depends_on_seed_episode_and_settings_alone() {
        let steps = [3, 3];
        let slip = Some(SlipSettings { share: 1.0, onset: [0.0, 1.0], steps });
        let settings = DisturbanceSettings { push: None, slip, displacement: None };
        let of = |seed, replicate| {
            let key = EpisodeKey { replicate, ..EPISODE };
            Streams::new(seed).disturbance(key, Some(&settings), 100_000)
        };
        assert!(of(1, 0).is_some() && of(1, 0) == of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
        assert_eq!(Streams::new(1).disturbance(EPISODE, None, 100_000), None);
    }

    #[test]
    fn draws_at_one_step_do_not_shift_the_next() {
        let streams = Streams::new(9);
        let mut early = streams.at(EPISODE, "sensor", 0);
        let _: [u64; 32] = early.random();
        assert_eq!(
            streams.at(EPISODE, "sensor", 1).random::<u64>(),
            streams.at(EPISODE, "sensor", 1).random::<u64>()
        );
    }
}
