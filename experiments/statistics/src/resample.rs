//! Clusters drawn one by one with replacement, separately in each group, in blocks of a size that suits the processor.
//! The caller decides how draws are used: counted, or added up.

use std::ops::Range;

use rand_chacha::rand_core::Rng;

use crate::classes::Classes;
use crate::multinomial::Multinomial;
use crate::streams::Stream;

/// Largest number of clusters of a stratum, so that one byte identifies a cluster within it.
pub(crate) const STRATUM: usize = 256;

/// Draws that are made at a time.
const BLOCK: usize = 256;

/// Largest size of a group for which tables are used; larger groups would need tens of megabytes.
const MOST_TABLED: usize = 1 << 16;

/// Draws of clusters in two steps: first the number of draws in each stratum of 256 neighbouring clusters, then the cluster
/// of each draw within its stratum. The distribution is that of drawing from all clusters, with half the random bits.
#[derive(Clone)]
pub(crate) struct Draws {
    strata: Classes,
    ranges: Vec<Range<usize>>,
    tables: Option<Multinomial>,
    counts: Vec<u32>,
}

impl Draws {
    /// From `groups`, ranges that cover all clusters: as many draws in a group as it has clusters.
    pub(crate) fn new(groups: &[Range<usize>]) -> Self {
        let strata = Classes::strata(groups, STRATUM);
        let small = groups.iter().all(|group| group.len() <= MOST_TABLED);
        let mut end = 0;
        let mut range = |size: &u32| {
            let start = end;
            end += *size as usize;
            start..end
        };
        Self {
            ranges: strata.sizes().iter().map(&mut range).collect(),
            tables: small.then(|| Multinomial::new(&strata)),
            counts: vec![0; strata.sizes().len()],
            strata,
        }
    }

    /// The clusters of each stratum.
    pub(crate) fn strata(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Draws one resample. `take` is called with a stratum and a block of draws, each an index within the stratum.
    pub(crate) fn draw(&mut self, stream: &mut Stream, mut take: impl FnMut(usize, &[u8])) {
        match &mut self.tables {
            Some(tables) => tables.count(stream, &mut self.counts),
            None => share_out(stream, &self.strata, &mut self.counts),
        }
        let mut block = [0; BLOCK];
        for (stratum, (range, count)) in self.ranges.iter().zip(&self.counts).enumerate() {
            let mut missing = *count as usize;
            while missing > 0 {
                let drawn = fill(stream, range.len(), &mut block[..missing.min(BLOCK)]);
                take(stratum, drawn);
                missing -= drawn.len();
            }
        }
    }

    /// One resample: `weights[i]` becomes the times of cluster i.
    pub(crate) fn count(&mut self, stream: &mut Stream, weights: &mut [u32]) {
        weights.fill(0);
        let ranges = self.ranges.clone();
        self.draw(stream, |stratum, drawn| {
            let weights = &mut weights[ranges[stratum].clone()];
            for place in drawn {
                weights[usize::from(*place)] += 1;
            }
        });
    }
}

/// Counts the draws in each stratum, drawn one by one. Source: that of [`fill`].
fn share_out(stream: &mut Stream, strata: &Classes, counts: &mut [u32]) {
    counts.fill(0);
    for group in strata.groups() {
        let places: u64 = strata.sizes()[group.clone()].iter().copied().map(u64::from).sum();
        let counts = &mut counts[group.clone()];
        let refused = (1 << 32) % places;
        let mut missing = places;
        while missing > 0 {
            let product = u64::from(stream.next_u32()) * places;
            if product & 0xffff_ffff >= refused {
                counts[(product >> 32) as usize / STRATUM] += 1;
                missing -= 1;
            }
        }
    }
}

/// Unbiased draws of an index among at most 256 `places`. Returns as many as the block has space for, less those rejected.
///
/// Source: Lemire, *Fast Random Integer Generation in an Interval*, ACM TOMACS 2019.
fn fill<'a>(stream: &mut Stream, places: usize, block: &'a mut [u8]) -> &'a [u8] {
    if places == STRATUM {
        stream.fill_bytes(block);
        return block;
    }
    let places = places as u16;
    let refused = ((1_u32 << 16) % u32::from(places)) as u16;
    let mut halves = [0; BLOCK];
    for quarters in halves[..block.len().next_multiple_of(4)].chunks_exact_mut(4) {
        let word = stream.next_u64();
        for (place, half) in quarters.iter_mut().enumerate() {
            *half = (word >> (16 * place)) as u16;
        }
    }
    let halves = &halves[..block.len()];
    let product = |half: u16| u32::from(half) * u32::from(places);
    let refuse = |half: u16| (product(half) as u16) < refused;
    let mut lost = 0_u16;
    for (drawn, half) in block.iter_mut().zip(halves) {
        *drawn = (product(*half) >> 16) as u8;
        lost += u16::from(refuse(*half));
    }
    if lost == 0 {
        return block;
    }
    let accepted = halves.iter().filter(|half| !refuse(**half));
    for (drawn, half) in block.iter_mut().zip(accepted) {
        *drawn = (product(*half) >> 16) as u8;
    }
    &block[..halves.len() - usize::from(lost)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clusters;
    use crate::streams::Streams;

    fn weights(places: usize, seed: u64, replicate: u64) -> Vec<u32> {
        let mut weights = vec![9; places];
        let whole = 0..places;
        Draws::new(&[whole]).count(&mut Streams::new(seed, replicate).next(), &mut weights);
        weights
    }

    #[test]
    fn a_resample_has_as_many_clusters_as_the_data() {
        for count in [2, 3, 255, 256, 257, 700, 65_536, 65_537, 100_000] {
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
        // One stratum, whole and not; several; so many that draws are shared out one by one.
        for (places, replicates) in
            [(7_usize, 20_000), (255, 2_000), (256, 2_000), (700, 2_000), (70_001, 20)]
        {
            let (mut drawn, mut weights) = (vec![0_u32; places], vec![0; places]);
            let whole = 0..places;
            let (mut draws, mut streams) = (Draws::new(&[whole]), Streams::new(5, 0));
            for _ in 0..replicates {
                draws.count(&mut streams.next(), &mut weights);
                for (total, weight) in drawn.iter_mut().zip(&weights) {
                    *total += weight;
                }
            }
            // Chi-squared with places - 1 degrees of freedom, in standard units; its 0.999 quantile is 4.8 for 7
            // places, below 3.5 for the others.
            let expected = f64::from(replicates);
            let distance: f64 = drawn.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
            let freedom = (places - 1) as f64;
            let limit = if places == 7 { 4.8 } else { 3.5 };
            assert!((distance - freedom) / (2.0 * freedom).sqrt() < limit, "{places}: {distance}");
        }
    }

    #[test]
    fn counts_of_two_places_have_the_covariance_of_a_multinomial() {
        // Within a stratum, across strata, and with the last of all: each covers its own step of the draw.
        let (places, replicates) = (600, 40_000);
        let whole = 0..places;
        let (mut draws, mut streams) = (Draws::new(&[whole]), Streams::new(6, 0));
        let (mut weights, mut products) = (vec![0; places], [0.0; 4]);
        // Sums over a hundred places each, for a covariance that stands out of its error.
        let sums = |weights: &[u32]| {
            [0..100, 100..200, 300..400, 500..600]
                .map(|range| f64::from(weights[range].iter().sum::<u32>()) - 100.0)
        };
        for _ in 0..replicates {
            draws.count(&mut streams.next(), &mut weights);
            let sums = sums(&weights);
            for (product, sum) in products.iter_mut().zip(sums) {
                *product += sums[0] * sum / f64::from(replicates);
            }
        }
        let (variance, covariance) = (100.0 * 5.0 / 6.0, -100.0 / 6.0);
        let error =
            |expected: f64| ((variance * variance + expected * expected) / f64::from(replicates)).sqrt();
        for (found, expected) in products.iter().zip([variance, covariance, covariance, covariance]) {
            assert!((found - expected).abs() < 4.0 * error(expected), "{products:?}");
        }
    }

    #[test]
    fn groups_keep_their_size() {
        let keys: Vec<usize> = (0..10).collect();
        let clusters = Clusters::within(&keys, &keys.iter().map(|k| k / 4).collect::<Vec<_>>()).unwrap();
        let (mut streams, mut weights) = (Streams::new(3, 0), vec![0; 10]);
        let mut draws = Draws::new(clusters.groups());
        for _ in 0..20 {
            draws.count(&mut streams.next(), &mut weights);
            let sizes: Vec<u32> = clusters.groups().iter().map(|g| weights[g.clone()].iter().sum()).collect();
            assert_eq!(sizes, [4, 4, 2]);
        }
    }
}
