//! Clusters of a bootstrap, whose rows are resampled together, and the groups within which clusters may be drawn.
//! Clusters are numbered in the order of their keys, so the order of rows changes nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::StatisticsError;
use crate::error::same_length;

/// Rows in clusters, clusters in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    of_row: Vec<u32>,
    groups: Vec<Range<usize>>,
}

impl Clusters {
    /// One key per row; rows with equal keys are one cluster. Clusters are drawn from all clusters.
    ///
    /// Errors: no rows, or fewer than two clusters.
    pub fn new<K: Ord>(keys: &[K]) -> Result<Self, StatisticsError> {
        Self::within(keys, &vec![(); keys.len()])
    }

    /// One cluster key and one group key per row; clusters are drawn within their group, so that every resample has
    /// as many clusters of each group as the data.
    ///
    /// Errors: no rows, lengths that differ, a cluster in two groups, no group with two clusters.
    pub fn within<K: Ord, G: Ord>(keys: &[K], groups: &[G]) -> Result<Self, StatisticsError> {
        same_length(("groups", groups.len()), ("clusters", keys.len()))?;
        if keys.is_empty() {
            return Err(StatisticsError::Empty { name: "clusters" });
        }
        let mut group_of: BTreeMap<&K, &G> = BTreeMap::new();
        for (row, (key, group)) in keys.iter().zip(groups).enumerate() {
            if *group_of.entry(key).or_insert(group) != group {
                return Err(StatisticsError::ClusterSpansGroups { row });
            }
        }
        let mut members: BTreeMap<&G, Vec<&K>> = BTreeMap::new();
        for (key, group) in group_of {
            members.entry(group).or_default().push(key);
        }
        let mut numbers: BTreeMap<&K, u32> = BTreeMap::new();
        let mut ranges = Vec::with_capacity(members.len());
        for keys in members.into_values() {
            let start = numbers.len();
            for key in keys {
                numbers.insert(key, numbers.len() as u32);
            }
            ranges.push(start..numbers.len());
        }
        if ranges.iter().all(|range| range.len() < 2) {
            return Err(StatisticsError::FewClusters { found: numbers.len() });
        }
        Ok(Self { of_row: keys.iter().map(|key| numbers[key]).collect(), groups: ranges })
    }

    /// Number of clusters.
    pub fn count(&self) -> usize {
        self.groups.last().map_or(0, |range| range.end)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// The cluster of each row, `[rows]`, numbered from 0.
    pub fn of_row(&self) -> &[u32] {
        &self.of_row
    }

    /// The clusters of each group: ranges that cover all clusters.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// Sums one value per row within each cluster: `[rows]` to `[clusters]`.
    pub fn sums(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.count()];
        for (cluster, value) in self.of_row.iter().zip(values) {
            sums[*cluster as usize] += value;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_group_and_key() {
        let clusters = Clusters::within(&["d", "a", "b", "d", "c"], &[1, 2, 1, 1, 2]).unwrap();
        assert_eq!(clusters.of_row(), [1, 2, 0, 1, 3]);
        assert_eq!(clusters.groups(), [0..2, 2..4]);
        assert_eq!(clusters.sums([1.0, 2.0, 3.0, 4.0, 5.0]), [3.0, 5.0, 2.0, 5.0]);
    }

    #[test]
    fn refusals_name_their_reason() {
        assert_eq!(Clusters::new::<u8>(&[]), Err(StatisticsError::Empty { name: "clusters" }));
        assert_eq!(Clusters::new(&[3, 3]), Err(StatisticsError::FewClusters { found: 1 }));
        assert_eq!(Clusters::within(&[1, 2], &[1, 2]), Err(StatisticsError::FewClusters { found: 2 }));
        assert_eq!(
            Clusters::within(&[1, 2, 1], &[0, 0, 1]),
            Err(StatisticsError::ClusterSpansGroups { row: 2 })
        );
        let uneven = Clusters::within(&[1, 2, 1], &[0]).unwrap_err().to_string();
        assert_eq!(uneven, "groups: found 1 rows; valid is 3, one for each row of clusters");
    }
}
