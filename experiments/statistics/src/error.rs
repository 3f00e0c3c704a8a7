//! The one error type of the statistics.
//! Each variant names the argument that was refused, its value and the valid values.

/// Error of a statistic.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// More successes than trials, or no trials.
    #[error("k of n: found {k} of {n}; valid is 0 ≤ k ≤ n and n ≥ 1")]
    Counts {
        /// Successes.
        k: u64,
        /// Trials.
        n: u64,
    },
    /// A confidence level, probability or count outside its range; NaN is outside every range.
    #[error("{name}: found {found}; valid is {valid}")]
    Range {
        /// The argument.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What would be valid.
        valid: &'static str,
    },
    /// One value of a list outside its range; NaN is outside every range.
    #[error("{name}[{index}]: found {found}; valid is {valid}")]
    Value {
        /// The list.
        name: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The value.
        found: f64,
        /// What would be valid.
        valid: &'static str,
    },
    /// No rows.
    #[error("{name}: found none; valid is at least one")]
    Empty {
        /// The list.
        name: &'static str,
    },
    /// Two lists that go row by row differ in length.
    #[error("{name}: found {found} rows; valid is {expected}, one for each row of {other}")]
    Lengths {
        /// The list that was refused.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The list that it goes with.
        other: &'static str,
        /// That list's length.
        expected: usize,
    },
    /// A ranking needs both classes.
    #[error("labels: found only {0}; valid are both classes, because an AUROC needs positives and negatives")]
    OneClass(bool),
    /// A ranking within groups needs a group with both classes.
    #[error("groups: found {groups} without both positives and negatives; valid is one or more with both")]
    NoMixedGroup {
        /// Number of groups.
        groups: usize,
    },
    /// A cluster whose rows lie in several groups cannot be resampled within groups.
    #[error("clusters[{row}]: found in two groups; valid is one group for each cluster")]
    ClusterSpansGroups {
        /// The first row that puts its cluster into a second group.
        row: usize,
    },
    /// Nothing to resample.
    #[error(
        "clusters: found {found}; valid is at least two (two in one group, where groups are resampled apart)"
    )]
    FewClusters {
        /// Clusters in all.
        found: usize,
    },
    /// The statistic is undefined on the data, or on every resample.
    #[error("the statistic is undefined on {0}; valid are data that determine it")]
    Undefined(&'static str),
    /// BCa cannot correct; the percentile interval still exists.
    #[error("BCa: {0}; valid is the percentile method")]
    Bca(&'static str),
}

/// Refuses a value that is not strictly between 0 and 1.
pub(crate) fn open_unit(name: &'static str, found: f64) -> Result<f64, StatisticsError> {
    if found > 0.0 && found < 1.0 {
        Ok(found)
    } else {
        Err(StatisticsError::Range { name, found, valid: "above 0, below 1" })
    }
}

/// Refuses a list with a value outside [0, 1].
pub(crate) fn all_probabilities(name: &'static str, values: &[f64]) -> Result<(), StatisticsError> {
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        None => Ok(()),
        Some(index) => {
            Err(StatisticsError::Value { name, index, found: values[index], valid: "0 to 1, and a number" })
        }
    }
}

/// Refuses lists of different lengths.
pub(crate) fn same_length(
    (name, found): (&'static str, usize),
    (other, expected): (&'static str, usize),
) -> Result<(), StatisticsError> {
    if found == expected { Ok(()) } else { Err(StatisticsError::Lengths { name, found, other, expected }) }
}
