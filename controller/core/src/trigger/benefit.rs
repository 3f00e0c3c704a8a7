//! The rule `benefit`: an alarm where a hold is predicted to buy more than it costs.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Thresholds, Trigger};
use crate::limits::GateError;

/// Settings of the rule `benefit`, which is its own state.
///
/// The benefit is the probability of failure without a hold minus that with one, as the probe's benefit head predicts it. The rule
/// raises an alarm where the benefit exceeds the price of a hold, and is calm where it lies below: a hold ends by the price by which
/// it begins. The price is in the same unit: the gain in the probability of success that a hold has to promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenefitSettings {
    /// Price of a hold at each boundary, by index from zero; the last value applies to later boundaries, so that one value is a price
    /// that does not depend on time. Infinite: no hold is worth it.
    pub prices: Vec<f64>,
}

impl Trigger for BenefitSettings {
    /// A benefit that is missing or NaN, and a flagged score, count as the largest benefit.
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let price = self.prices.get(evidence.boundary as usize).or(self.prices.last());
        let price = price.copied().unwrap_or(f64::INFINITY);
        let known = evidence.benefit.filter(|benefit| !benefit.is_nan() && !evidence.score.is_flagged());
        let against = Thresholds { fire: price, hand_back: price };
        Signal::held_against(known.unwrap_or(f64::INFINITY), against)
    }

    fn validate(&self) -> Result<(), GateError> {
        GateError::unless(!self.prices.is_empty(), "trigger.prices", "no values", "one value or more")?;
        match self.prices.iter().position(|price| price.is_nan() || *price < 0.0) {
            Some(boundary) => Err(GateError {
                field: "trigger.prices",
                found: format!("{} at boundary {boundary}", self.prices[boundary]),
                valid: "0 or more, or infinite for never",
            }),
            None => Ok(()),
        }
    }

    fn needs_benefit(&self) -> bool {
        true
    }
}
