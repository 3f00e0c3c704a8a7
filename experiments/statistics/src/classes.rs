//! Classes of clusters with equal values, each stored once with its number of clusters.
//! Outcomes take few values, so 700 clusters have only a few classes, and a resample is a few counts.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Clusters;

/// Number of draws that take as long as the count of one class (700 clusters on x86-64).
const DRAWS_PER_COUNT: usize = 48;

/// Largest number of counted classes, which keeps the tables of 2^16 clusters within about ten megabytes.
const MOST_COUNTS: usize = 32;

/// Classes of clusters in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    groups: Vec<Range<usize>>,
    sizes: Vec<u32>,
}

impl Classes {
    /// Makes each cluster a separate class.
    pub(crate) fn singles(clusters: &Clusters) -> Self {
        Self { groups: clusters.groups().to_vec(), sizes: vec![1; clusters.count()] }
    }

    /// Each group cut into classes of `most` neighbours; the last may have fewer.
    pub(crate) fn strata(groups: &[Range<usize>], most: usize) -> Self {
        let (mut of_group, mut sizes) = (Vec::with_capacity(groups.len()), Vec::new());
        for group in groups {
            let start = sizes.len();
            sizes.extend(group.clone().step_by(most).map(|first| (group.end - first).min(most) as u32));
            of_group.push(start..sizes.len());
        }
        Self { groups: of_group, sizes }
    }

    /// Merges clusters of the same group with equal profiles (`[clusters]`) into classes. Also returns one cluster of each
    /// class. `None` where classes would save no time.
    pub(crate) fn merged<P: Ord>(clusters: &Clusters, profiles: &[P]) -> Option<(Self, Vec<usize>)> {
        let (mut groups, mut sizes, mut members) = (Vec::new(), Vec::new(), Vec::new());
        // The last class of a group takes the remaining draws, so it needs no count.
        let mut paying = (clusters.count() / DRAWS_PER_COUNT).min(MOST_COUNTS);
        for group in clusters.groups() {
            let mut found: BTreeMap<&P, (usize, u32)> = BTreeMap::new();
            for cluster in group.clone() {
                found.entry(&profiles[cluster]).or_insert((cluster, 0)).1 += 1;
                if found.len() > paying + 1 {
                    return None;
                }
            }
            paying -= found.len() - 1;
            let start = sizes.len();
            for (member, size) in found.into_values() {
                members.push(member);
                sizes.push(size);
            }
            groups.push(start..sizes.len());
        }
        Some((Self { groups, sizes }, members))
    }

    /// Clusters in each class: the multiplicities of the data themselves.
    pub(crate) fn sizes(&self) -> &[u32] {
        &self.sizes
    }

    /// The classes of each group.
    pub(crate) fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// Clusters in all.
    pub(crate) fn clusters(&self) -> usize {
        self.sizes.iter().map(|size| *size as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_merge_where_their_classes_are_few() {
        let clusters = Clusters::new(&(0..480).collect::<Vec<_>>()).unwrap();
        let profiles = |classes: usize| (0..480).map(|cluster| cluster % classes).collect::<Vec<_>>();
        let (classes, members) = Classes::merged(&clusters, &profiles(11)).unwrap();
        assert_eq!((classes.clusters(), classes.sizes().len()), (480, 11));
        assert_eq!(members, (0..11).collect::<Vec<_>>());
        assert_eq!(Classes::merged(&clusters, &profiles(12)), None);
    }

    #[test]
    fn strata_cover_their_groups() {
        let strata = Classes::strata(&[0..256, 256..257, 257..800], 256);
        assert_eq!(strata.sizes(), [256, 1, 256, 256, 31]);
        assert_eq!(strata.groups(), [0..1, 1..2, 2..5]);
    }
}
