//! Benefit head of a probe file, with the forks on which it was fitted and calibrated.

use aegis_core::BenefitHead;
use serde::{Deserialize, Serialize};

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
