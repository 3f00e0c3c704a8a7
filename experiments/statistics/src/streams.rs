//! A random stream for each replicate of a bootstrap, from seed and number alone.
//! A counter-based cipher spaces the streams apart, a small generator fills them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Keeps the streams of the bootstrap apart from any other use of the same seed.
const DOMAIN: &[u8; 24] = b"aegis-bootstrap-v2\0\0\0\0\0\0";

/// Words of the cipher's keystream that seed one replicate.
const WORDS: u128 = 8;

/// The stream of one replicate.
pub(crate) type Stream = Xoshiro256PlusPlus;

/// Streams of replicates one after another. Replicate r has the r-th 32 bytes of the keystream for its state, so any
/// split of the numbers gives the same streams.
pub(crate) struct Streams {
    keystream: ChaCha8Rng,
}

impl Streams {
    /// Streams from the replicate with number `first` on.
    pub(crate) fn new(seed: u64, first: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(DOMAIN);
        let mut keystream = ChaCha8Rng::from_seed(key);
        keystream.set_word_pos(WORDS * u128::from(first));
        Self { keystream }
    }

    /// The stream of the next replicate.
    pub(crate) fn next(&mut self) -> Stream {
        let mut state = [0; 32];
        self.keystream.fill_bytes(&mut state);
        Stream::from_seed(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_number_alone() {
        let mut from_start = Streams::new(7, 0);
        let in_turn: Vec<u64> = (0..50).map(|_| from_start.next().next_u64()).collect();
        for (number, expected) in in_turn.iter().enumerate() {
            assert_eq!(Streams::new(7, number as u64).next().next_u64(), *expected);
            assert_ne!(Streams::new(8, number as u64).next().next_u64(), *expected);
        }
        assert!(in_turn.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn the_last_number_has_a_stream_of_its_own() {
        assert_ne!(Streams::new(7, u64::MAX).next(), Streams::new(7, 0).next());
    }
}
