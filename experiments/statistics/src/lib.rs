//! Exact tests, intervals and rank statistics: pure functions of counts and scores.
//! Every function names its source; `tests/reference.rs` holds values that they must reproduce.

mod auroc;
mod binomial;
mod error;
mod multiplicity;

pub use auroc::auroc;
pub use binomial::{Interval, McNemar, clopper_pearson, mcnemar};
pub use error::StatisticsError;
pub use multiplicity::holm;
