//! Benefit head: fit and calibration on forks, evaluation on forks of other episodes, and its form in a probe file.

mod evaluate;
mod fit;
mod join;

use aegis_core::BenefitHead;
use aegis_files::same_digest;
use serde::{Deserialize, Serialize};

pub(crate) use evaluate::defined;
pub use evaluate::{
    BenefitEvaluation, BenefitReliability, BenefitTenth, OneHold, OneHoldMeasure, RankingMeasure, evaluate,
};
pub(crate) use fit::examples;
pub use fit::{BenefitError, Part, fit, fits};
pub use join::{Contradiction, Forked, ForkedBoundary, check_gate};

use crate::fit::Candidate;

/// Fitted benefit head and its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedBenefit {
    /// Control steps of the hold whose benefit the head predicts: those of the gate under which the forks were made.
    pub hold_steps: u32,
    /// Forks on which both heads were fitted.
    pub discovery: ForkData,
    /// Forks on which both heads were calibrated.
    pub calibrated_on: ForkData,
    /// Chosen penalty of the head without and of the head with a hold.
    pub penalties: [f64; 2],
    /// Penalties that were compared, for the head without and the head with a hold.
    pub candidates: [Vec<Candidate>; 2],
    /// Both heads.
    pub head: BenefitHead,
}

/// Identity of a set of forks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkData {
    /// Digest of the forks, see [`digest`](crate::forks::digest).
    pub sha256: String,
    /// Weak episodes.
    pub episodes: usize,
    /// Boundaries with a fork.
    pub forks: usize,
}

impl FittedBenefit {
    /// Checks that the statements about the forks do not contradict each other, or the numbers of rollouts of discovery and calibration.
    ///
    /// # Errors
    /// The first field at fault, with what was found and what is valid.
    pub fn check(&self, rollouts: [usize; 2]) -> Result<(), Contradiction> {
        let sets = [("discovery", &self.discovery), ("calibrated_on", &self.calibrated_on)];
        for ((name, forks), episodes) in sets.into_iter().zip(rollouts) {
            if forks.episodes != episodes {
                return Err(Contradiction {
                    field: format!("benefit.{name}.episodes"),
                    found: forks.episodes.to_string(),
                    valid: format!("{episodes}, {name}.episodes"),
                });
            }
        }
        if same_digest(&self.discovery.sha256, &self.calibrated_on.sha256) {
            return Err(Contradiction {
                field: "benefit.calibrated_on.sha256".into(),
                found: format!("{}, benefit.discovery.sha256", self.calibrated_on.sha256),
                valid: "forks that the head was not fitted on, because probabilities calibrated on the fitted ones are too sure".into(),
            });
        }
        Ok(())
    }
}
