//! Resamples of clusters: how often each cluster was drawn, from a counter-based stream for each replicate.
//! A replicate depends on seed and number alone, so any split of the work gives the same resamples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Clusters;

/// Keeps the streams of the bootstrap apart from any other use of the same seed.
const DOMAIN: &[u8; 24] = b"aegis-bootstrap-v1\0\0\0\0\0\0";

/// Bytes that are drawn at a time.
const BLOCK: usize = 512;

/// Draws clusters with replacement, each group on its own: `weights[i]` becomes the times cluster i was drawn.
///
/// `weights` has one place per cluster.
pub(crate) fn draw(clusters: &Clusters, seed: u64, replicate: u64, weights: &mut [u32]) {
    weights.fill(0);
    let mut stream = stream(seed, replicate);
    for group in clusters.groups() {
        draw_group(&mut stream, &mut weights[group.clone()]);
    }
}

fn stream(seed: u64, replicate: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..].copy_from_slice(DOMAIN);
    let mut stream = ChaCha8Rng::from_seed(key);
    stream.set_stream(replicate);
    stream
}

/// As many unbiased draws as there are places. Two bytes serve a draw from fewer than 2^16 places, four any other.
///
/// A block asks for no more draws than are missing, so that its loop has nothing to check but the rare refusal.
///
/// Source: Lemire, *Fast Random Integer Generation in an Interval*, ACM TOMACS 2019.
fn draw_group(stream: &mut ChaCha8Rng, weights: &mut [u32]) {
    let mut bytes = [0; BLOCK];
    let mut missing = weights.len();
    if let Ok(places) = u16::try_from(weights.len()) {
        let places = u32::from(places);
        let refused = (1_u32 << 16) % places;
        while missing > 0 {
            let block = &mut bytes[..(2 * missing).min(BLOCK)];
            stream.fill_bytes(block);
            missing -= block.len() / 2;
            for half in block.chunks_exact(2) {
                let product = u32::from(u16::from_le_bytes([half[0], half[1]])) * places;
                if product & 0xffff >= refused {
                    weights[(product >> 16) as usize] += 1;
                } else {
                    missing += 1;
                }
            }
        }
    } else {
        let places = weights.len() as u64;
        let refused = (1_u64 << 32) % places;
        while missing > 0 {
            let product = u64::from(stream.next_u32()) * places;
            if product & 0xffff_ffff >= refused {
                weights[(product >> 32) as usize] += 1;
                missing -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(count: usize, seed: u64, replicate: u64) -> Vec<u32> {
        let clusters = Clusters::new(&(0..count).collect::<Vec<_>>()).unwrap();
        let mut weights = vec![0; count];
        draw(&clusters, seed, replicate, &mut weights);
        weights
    }

    #[test]
    fn a_resample_has_as_many_clusters_as_the_data() {
        for count in [2, 3, 700, 65_535, 65_536, 100_000] {
            assert_eq!(weights(count, 1, 0).iter().sum::<u32>() as usize, count);
        }
    }

    #[test]
    fn seeds_and_replicates_have_streams_of_their_own() {
        assert_eq!(weights(50, 1, 2), weights(50, 1, 2));
        assert_ne!(weights(50, 1, 2), weights(50, 1, 3));
        assert_ne!(weights(50, 1, 2), weights(50, 2, 2));
    }

    #[test]
    fn every_place_is_as_likely() {
        let replicates = 20_000;
        let clusters = Clusters::new(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
        let (mut drawn, mut weights) = ([0_u32; 7], [0; 7]);
        for replicate in 0..replicates {
            draw(&clusters, 5, replicate, &mut weights);
            for (total, weight) in drawn.iter_mut().zip(weights) {
                *total += weight;
            }
        }
        // Chi-squared with 6 degrees of freedom; 22.5 is its 0.999 quantile.
        let expected = replicates as f64;
        let distance: f64 = drawn.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        assert!(distance < 22.5, "{drawn:?}");
    }

    #[test]
    fn groups_keep_their_size() {
        let keys: Vec<usize> = (0..10).collect();
        let clusters = Clusters::within(&keys, &keys.iter().map(|k| k / 4).collect::<Vec<_>>()).unwrap();
        let mut weights = vec![0; 10];
        for replicate in 0..20 {
            draw(&clusters, 3, replicate, &mut weights);
            let sizes: Vec<u32> = clusters.groups().iter().map(|g| weights[g.clone()].iter().sum()).collect();
            assert_eq!(sizes, [4, 4, 2]);
        }
    }
}
