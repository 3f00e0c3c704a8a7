//! Resamples of clusters: how often each cluster was drawn, from a counter-based stream for each replicate.
//! A replicate depends on seed and number alone, so any split of the work gives the same resamples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::classes::Classes;

/// Keeps the streams of the bootstrap apart from any other use of the same seed.
const DOMAIN: &[u8; 24] = b"aegis-bootstrap-v1\0\0\0\0\0\0";

/// Bytes that are drawn at a time.
const BLOCK: usize = 512;

/// Draws clusters with replacement, each group on its own: `weights[i]` becomes the times class i was drawn.
///
/// `weights` has one place per class.
pub(crate) fn draw(classes: &Classes, seed: u64, replicate: u64, weights: &mut [u32]) {
    let mut stream = stream(seed, replicate);
    for group in classes.groups() {
        let (sizes, weights) = (&classes.sizes()[group.clone()], &mut weights[group.clone()]);
        if sizes.iter().all(|size| *size == 1) {
            weights.fill(0);
            draw_clusters(&mut stream, weights);
        } else {
            count_classes(&mut stream, sizes, weights);
        }
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
fn draw_clusters(stream: &mut ChaCha8Rng, weights: &mut [u32]) {
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

/// As many unbiased draws as there are clusters (fewer than 2^16), counted by class without a look at which cluster.
///
/// The classes lie side by side on the clusters' range; those below a class's end are the draws below a bound.
fn count_classes(stream: &mut ChaCha8Rng, sizes: &[u32], weights: &mut [u32]) {
    let places: u32 = sizes.iter().sum();
    let refused = (1_u32 << 16) % places;
    let mut bytes = [0; BLOCK];
    let mut products = [0_u32; BLOCK / 2];
    let mut missing = places as usize;
    weights.fill(0);
    while missing > 0 {
        let draws = missing.min(BLOCK / 2);
        stream.fill_bytes(&mut bytes[..2 * draws]);
        for (product, half) in products[..draws].iter_mut().zip(bytes.chunks_exact(2)) {
            let drawn = u32::from(u16::from_le_bytes([half[0], half[1]])) * places;
            // Beyond every bound; no product of two numbers below 2^16 gets there.
            *product = if drawn & 0xffff >= refused { drawn } else { u32::MAX };
        }
        let (mut end, mut counted) = (0, 0);
        for (size, weight) in sizes.iter().zip(weights.iter_mut()) {
            end += size;
            let bound = end << 16;
            let below: u32 = products[..draws].iter().map(|product| u32::from(*product < bound)).sum();
            *weight += below - counted;
            counted = below;
        }
        missing -= counted as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clusters;

    fn weights(count: usize, seed: u64, replicate: u64) -> Vec<u32> {
        let clusters = Clusters::new(&(0..count).collect::<Vec<_>>()).unwrap();
        let mut weights = vec![0; count];
        draw(&Classes::singles(&clusters), seed, replicate, &mut weights);
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
        let classes = Classes::singles(&Clusters::new(&[0, 1, 2, 3, 4, 5, 6]).unwrap());
        let (mut drawn, mut weights) = ([0_u32; 7], [0; 7]);
        for replicate in 0..replicates {
            draw(&classes, 5, replicate, &mut weights);
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
            draw(&Classes::singles(&clusters), 3, replicate, &mut weights);
            let sizes: Vec<u32> = clusters.groups().iter().map(|g| weights[g.clone()].iter().sum()).collect();
            assert_eq!(sizes, [4, 4, 2]);
        }
    }

    #[test]
    fn classes_are_counted_as_their_clusters_are_drawn() {
        // Clusters numbered class by class: the same stream gives the same draws, cluster by cluster and counted.
        let clusters = Clusters::new(&(0..700).collect::<Vec<_>>()).unwrap();
        let class = |cluster: usize| [20, 100, 101, 650, 700].iter().position(|end| cluster < *end).unwrap();
        let profiles: Vec<usize> = (0..700).map(class).collect();
        let (classes, members) = Classes::merged(&clusters, &profiles).unwrap();
        assert_eq!((classes.sizes(), members), (&[20, 80, 1, 549, 50][..], vec![0, 20, 100, 101, 650]));
        for replicate in 0..200 {
            let mut counted = [0; 5];
            draw(&classes, 9, replicate, &mut counted);
            let mut expected = [0; 5];
            for (cluster, weight) in weights(700, 9, replicate).into_iter().enumerate() {
                expected[class(cluster)] += weight;
            }
            assert_eq!(counted, expected);
        }
    }
}
