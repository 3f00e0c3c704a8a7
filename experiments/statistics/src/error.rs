//! The one error type of the statistics.
//! Each variant says which argument was refused, what it was and what would do.

/// Why a statistic is undefined.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// More successes than trials, or no trials.
    #[error("k = {k} of n = {n}: valid is 0 ≤ k ≤ n and n ≥ 1")]
    Counts {
        /// Successes.
        k: u64,
        /// Trials.
        n: u64,
    },
    /// A confidence level or probability outside its range.
    #[error("{name} = {found}: valid is {valid}")]
    Range {
        /// The argument.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What would do.
        valid: &'static str,
    },
    /// Labels and scores differ in number.
    #[error("{labels} labels for {scores} scores")]
    Lengths {
        /// How many labels.
        labels: usize,
        /// How many scores.
        scores: usize,
    },
    /// A ranking needs both classes.
    #[error("all labels are {0}: an AUROC needs positives and negatives")]
    OneClass(bool),
}
