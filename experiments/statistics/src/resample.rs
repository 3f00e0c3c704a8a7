//! Clusters drawn one by one with replacement, each group on its own, in blocks that a processor takes at once.
//! What is done with a draw, counting it or adding up what it stands for, is the caller's.

use std::ops::Range;

use rand_chacha::rand_core::Rng;

use crate::streams::Stream;

/// Draws that are made at a time.
const BLOCK: usize = 128;

/// How often each cluster was drawn: `weights[i]` becomes the times of cluster i. `weights` has one place per cluster
/// and one more, which is left with no meaning.
pub(crate) fn count(stream: &mut Stream, groups: &[Range<usize>], weights: &mut [u32]) {
    for group in groups {
        // A refused draw counts in the place after the group, which the next group clears.
        let weights = &mut weights[group.start..=group.end];
        weights.fill(0);
        draw(stream, group.len(), |drawn| {
            for place in drawn {
                weights[*place as usize] += 1;
            }
        });
    }
}

/// As many unbiased draws as there are places, handed over in blocks. A block may hold the number `places` itself: a
/// draw that was refused, and that another one replaces. Two bytes serve a draw from fewer than 2^16 places, four any
/// other.
///
/// Source: Lemire, *Fast Random Integer Generation in an Interval*, ACM TOMACS 2019.
pub(crate) fn draw(stream: &mut Stream, places: usize, mut take: impl FnMut(&[u32])) {
    let mut drawn = [0; BLOCK];
    let mut missing = places;
    while missing > 0 {
        let block = &mut drawn[..missing.min(BLOCK)];
        missing -= match u16::try_from(places) {
            Ok(places) => fill_narrow(stream, places, block),
            Err(_) => fill_wide(stream, places as u32, block),
        };
        take(block);
    }
}

/// Fills a block and says how many draws were not refused.
fn fill_narrow(stream: &mut Stream, places: u16, block: &mut [u32]) -> usize {
    let refused = ((1_u32 << 16) % u32::from(places)) as u16;
    let mut halves = [0; BLOCK];
    for quarters in halves[..block.len().next_multiple_of(4)].chunks_exact_mut(4) {
        let word = stream.next_u64();
        for (place, half) in quarters.iter_mut().enumerate() {
            *half = (word >> (16 * place)) as u16;
        }
    }
    let mut accepted = 0_u16;
    for (drawn, half) in block.iter_mut().zip(halves) {
        let product = u32::from(half) * u32::from(places);
        let accept = product as u16 >= refused;
        *drawn = u32::from(if accept { (product >> 16) as u16 } else { places });
        accepted += u16::from(accept);
    }
    usize::from(accepted)
}

fn fill_wide(stream: &mut Stream, places: u32, block: &mut [u32]) -> usize {
    let refused = ((1_u64 << 32) % u64::from(places)) as u32;
    let mut accepted = 0;
    for drawn in block {
        let product = u64::from(stream.next_u32()) * u64::from(places);
        let accept = product as u32 >= refused;
        *drawn = if accept { (product >> 32) as u32 } else { places };
        accepted += usize::from(accept);
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clusters;
    use crate::streams::Streams;

    fn weights(places: usize, seed: u64, replicate: u64) -> Vec<u32> {
        let mut weights = vec![9; places + 1];
        let whole = [0..places];
        count(&mut Streams::new(seed, replicate).next(), &whole, &mut weights);
        weights.truncate(places);
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
        // 2^16 leaves 5 over 11 and 3 over 40,001, where a draw in three is refused.
        for (places, replicates) in [(7_usize, 20_000), (11, 20_000), (40_001, 20), (70_000, 20)] {
            let mut drawn = vec![0_u32; places];
            for replicate in 0..replicates {
                for (total, weight) in drawn.iter_mut().zip(weights(places, 5, replicate)) {
                    *total += weight;
                }
            }
            // Chi-squared with places − 1 degrees of freedom, in standard units; 3.3 is beyond its 0.999 quantile
            // but for 7 and 11 places, where that is 4.8 and 4.4.
            let expected = replicates as f64;
            let distance: f64 = drawn.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
            let freedom = (places - 1) as f64;
            let limit = if places < 100 { 4.8 } else { 3.3 };
            assert!((distance - freedom) / (2.0 * freedom).sqrt() < limit, "{places}: {distance}");
        }
    }

    #[test]
    fn groups_keep_their_size() {
        let keys: Vec<usize> = (0..10).collect();
        let clusters = Clusters::within(&keys, &keys.iter().map(|k| k / 4).collect::<Vec<_>>()).unwrap();
        let (mut streams, mut weights) = (Streams::new(3, 0), vec![0; 11]);
        for _ in 0..20 {
            count(&mut streams.next(), clusters.groups(), &mut weights);
            let sizes: Vec<u32> = clusters.groups().iter().map(|g| weights[g.clone()].iter().sum()).collect();
            assert_eq!(sizes, [4, 4, 2]);
        }
    }
}
