//! Exact intervals of proportions.
//! Clopper–Pearson, by bisection of the binomial tails themselves.

use serde::Serialize;

use crate::StatisticsError;
use crate::binomial::Binomial;
use crate::error::open_unit;

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// A share of episodes with its exact interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proportion {
    /// Successes.
    pub k: u64,
    /// Trials.
    pub n: u64,
    /// k / n.
    pub estimate: f64,
    /// Clopper–Pearson interval. It takes trials for independent.
    pub exact: Interval,
}

impl Proportion {
    /// `k` of `n` with its interval at a two-sided `confidence` level.
    pub fn new(k: u64, n: u64, confidence: f64) -> Result<Self, StatisticsError> {
        let exact = clopper_pearson(k, n, confidence)?;
        Ok(Self { k, n, estimate: k as f64 / n as f64, exact })
    }
}

/// Clopper–Pearson interval for `k` successes of `n` at a two-sided `confidence` level.
///
/// Errors: k above n, n = 0, a level outside (0, 1).
///
/// Source: Clopper, Pearson, *The use of confidence or fiducial limits illustrated in the case of the binomial*,
/// Biometrika 1934.
pub fn clopper_pearson(k: u64, n: u64, confidence: f64) -> Result<Interval, StatisticsError> {
    if n == 0 || k > n {
        return Err(StatisticsError::Counts { k, n });
    }
    let tail = (1.0 - open_unit("confidence", confidence)?) / 2.0;
    Ok(Interval {
        lower: if k == 0 { 0.0 } else { crossing(|p| Binomial::new(n, p).upper_tail(k) < tail) },
        upper: if k == n { 1.0 } else { crossing(|p| Binomial::new(n, p).lower_tail(k) > tail) },
    })
}

/// Returns the point in (0, 1) below which a condition holds and above which it does not, to the last bit.
fn crossing(holds_below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if holds_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
}
