//! Exact tests, intervals, bootstraps and rank statistics: pure functions of counts, outcomes and scores.
//! Every function names its source; `tests/` holds values that they must reproduce.
//!
//! Rows are passed as slices, `[rows]`, one entry per episode. A bootstrap draws clusters of rows, never single rows. Results
//! depend only on the rows and the seed, not on the order of rows or on how the work is divided among threads.
//!
//! ```
//! use aegis_statistics::{clopper_pearson, mcnemar};
//!
//! // Of 700 pairs one arm alone won 49, the other alone 17.
//! assert!(mcnemar(49, 17).two_sided < 0.001);
//! let interval = clopper_pearson(161, 400, 0.95)?;
//! assert!(interval.lower < 0.4025 && 0.4025 < interval.upper);
//! # Ok::<(), aegis_statistics::StatisticsError>(())
//! ```

mod auroc;
mod binomial;
mod bootstrap;
mod budget;
mod budget_curve;
mod calibration;
mod classes;
mod clusters;
mod contrast;
mod error;
mod mcnemar;
mod multinomial;
mod multiplicity;
mod power;
mod proportion;
mod ratio;
mod resample;
mod sequential;
mod streams;
mod tasks;
mod twins;
mod uplift;

pub use auroc::{RocPoint, auroc, auroc_interval, auroc_within, auroc_within_interval, roc};
pub use binomial::binomial_lower_tail;
pub use bootstrap::{Bootstrap, Estimate, Method};
pub use budget::{BudgetMatch, Difference, Spending, SpendingPair, Tolerance, Verdict, budget_match};
pub use budget_curve::{BudgetCurve, BudgetPoint, Effect, Unit};
pub use calibration::{Reliability, ReliabilityBin, brier, reliability};
pub use clusters::Clusters;
pub use contrast::{Contrast, Over, Triplet, contrast};
pub use error::StatisticsError;
pub use mcnemar::{McNemar, mcnemar, mcnemar_ln_one_sided, mcnemar_mid_p};
pub use multiplicity::{holm, holm_rejects};
pub use power::{Discordance, SampleSize, mcnemar_power, mcnemar_sample_size};
pub use proportion::{Interval, Proportion, clopper_pearson};
pub use ratio::{Ratio, bootstrap_mean};
pub use sequential::{McNemarProcess, mcnemar_e_value, mcnemar_ln_e_value};
pub use tasks::{LeftOut, TaskRow, leave_one_task_out, task_table};
pub use twins::{PairedEffects, Rate, Twin, discordant, paired_effects, twin_clusters};
pub use uplift::{Qini, UpliftPoint};
