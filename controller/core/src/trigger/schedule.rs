//! Rules that read nothing: `blind` fires by a schedule, `random` at boundaries that were drawn for its episode.
//! The draw is pure: the caller supplies the random number.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Thresholds, Trigger};
use crate::limits::GateError;

/// Chunk boundaries at which a rule fires, whatever the score, NaN included.
///
/// The rule is calm at every boundary, so control goes back as early as the limits permit: after the hold, or after
/// `return_chunks` where that is longer. A fire at a boundary where the gate is not armed is lost and not made up for;
/// fires that lie [`fire_gap`](crate::GateLimits::fire_gap) apart meet no running hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// These boundaries, by index from zero, ascending. An empty list never fires.
    At(Vec<u32>),
    /// The boundary `first` and every `period`-th after it.
    Every {
        /// Index of the first boundary.
        first: u32,
        /// Boundaries from one fire to the next.
        period: u32,
    },
}

impl Trigger for Schedule {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let alarm = match self {
            Self::At(boundaries) => boundaries.binary_search(&evidence.boundary).is_ok(),
            Self::Every { first, period } => {
                evidence.boundary.checked_sub(*first).is_some_and(|since| since.is_multiple_of(*period))
            }
        };
        Signal { alarm, calm: true, reading: None, against: Thresholds::NONE }
    }

    fn validate(&self) -> Result<(), GateError> {
        match self {
            Self::At(boundaries) => GateError::unless(
                boundaries.is_sorted_by(|a, b| a < b),
                "trigger.boundaries",
                format!("{boundaries:?}"),
                "ascending, each once",
            ),
            Self::Every { period, .. } => {
                GateError::unless(*period > 0, "trigger.schedule.every.period", period, "1 or more")
            }
        }
    }
}

/// Error of a draw of boundaries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// The candidates are not in ascending order, each once.
    #[error("allowed boundaries: found {0:?}; valid is ascending, each once")]
    NotAscending(Vec<u32>),
    /// The candidates are too few.
    #[error("{count} boundaries {gap} or more apart do not fit among {allowed} allowed ones")]
    TooFew {
        /// Number of boundaries to draw.
        count: usize,
        /// Smallest distance between two boundaries.
        gap: u32,
        /// Number of candidates.
        allowed: usize,
    },
    /// The number of possible choices does not fit into 64 bits.
    #[error("{count} of {allowed} boundaries can be chosen in more ways than 64 bits count")]
    TooMany {
        /// Number of boundaries to draw.
        count: usize,
        /// Number of candidates.
        allowed: usize,
    },
}

/// Draws `count` of the `allowed` boundaries, ascending, without replacement.
///
/// Every choice whose members lie at least `gap` apart is equally likely; with `gap` 1 that is every choice. With the
/// gate's [`fire_gap`](crate::GateLimits::fire_gap) as `gap`, no drawn fire falls into the hold of another. `uniform`
/// is called once and returns an integer drawn uniformly from zero to below its argument.
///
/// # Errors
/// [`DrawError`] for candidates out of order, too few candidates, or too many choices to count.
pub fn draw_boundaries(
    allowed: &[u32],
    count: usize,
    gap: u32,
    uniform: &mut dyn FnMut(u64) -> u64,
) -> Result<Vec<u32>, DrawError> {
    if !allowed.is_sorted_by(|a, b| a < b) {
        return Err(DrawError::NotAscending(allowed.to_vec()));
    }
    let too_few = DrawError::TooFew { count, gap, allowed: allowed.len() };
    if count > allowed.len() {
        return Err(too_few);
    }
    // Index of the first candidate that may follow the candidate at `index`.
    let after = |index: usize| {
        let next = allowed.partition_point(|later| *later < allowed[index].saturating_add(gap));
        next.max(index + 1)
    };
    // ways[k][index]: number of choices of k from the candidates at index and later.
    let mut ways = vec![vec![1_u64; allowed.len() + 1]];
    for k in 1..=count {
        let mut row = vec![0_u64; allowed.len() + 1];
        for index in (0..allowed.len()).rev() {
            row[index] = row[index + 1]
                .checked_add(ways[k - 1][after(index)])
                .ok_or(DrawError::TooMany { count, allowed: allowed.len() })?;
        }
        ways.push(row);
    }
    if ways[count][0] == 0 {
        return Err(too_few);
    }
    // Each choice is identified by its rank in lexicographic order.
    let mut rank = uniform(ways[count][0]);
    let mut drawn = Vec::with_capacity(count);
    let (mut index, mut left) = (0, count);
    while left > 0 && index < allowed.len() {
        let with = ways[left - 1][after(index)];
        if rank < with {
            drawn.push(allowed[index]);
            index = after(index);
            left -= 1;
        } else {
            rank -= with;
            index += 1;
        }
    }
    Ok(drawn)
}
