//! Clusters that a statistic cannot tell apart, kept once with their number.
//! Outcomes take few values, so 700 clusters come to a handful of classes and a resample to a handful of counts.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Clusters;

/// A look-up of a class's count takes as long as so many draws.
const DRAWS_PER_LOOK_UP: usize = 24;

/// Keep the tables of all classes within some ten megabytes.
const MOST_CLASSES: usize = 32;
const MOST_CLUSTERS: usize = u16::MAX as usize;

/// Classes of clusters in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    groups: Vec<Range<usize>>,
    sizes: Vec<u32>,
}

impl Classes {
    /// Each cluster a class of its own.
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

    /// Clusters of the same group with equal profiles are one class; `[clusters]` profiles. With the classes comes one
    /// cluster of each. None where that saves no time.
    pub(crate) fn merged<P: Ord>(clusters: &Clusters, profiles: &[P]) -> Option<(Self, Vec<usize>)> {
        let (mut groups, mut sizes, mut members) = (Vec::new(), Vec::new(), Vec::new());
        // The last class of a group needs no look-up.
        let mut look_ups = clusters.count() / DRAWS_PER_LOOK_UP;
        for group in clusters.groups() {
            let most = if group.len() > MOST_CLUSTERS { 0 } else { MOST_CLASSES.min(look_ups + 1) };
            let mut found: BTreeMap<&P, (usize, u32)> = BTreeMap::new();
            for cluster in group.clone() {
                found.entry(&profiles[cluster]).or_insert((cluster, 0)).1 += 1;
                if found.len() > most {
                    return None;
                }
            }
            look_ups -= found.len() - 1;
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
