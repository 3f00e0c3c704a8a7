//! The rule `cost`: an alarm where a hand-over has the lower expected cost.
//! Source: Elkan, *The Foundations of Cost-Sensitive Learning*, IJCAI 2001, section 1.2.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Thresholds, Trigger};
use crate::limits::GateError;
use crate::platt::PlattScaling;

/// Settings of the rule `cost`, which is its own state.
///
/// With `p` the calibrated probability of failure, the rule raises an alarm where
/// `p · cost_of_missed_failure > (1 − p) · cost_of_false_alarm`, that is above
/// `cost_of_false_alarm / (cost_of_false_alarm + cost_of_missed_failure)`. A right decision costs nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSettings {
    /// Cost of not handing over in an episode that then fails, in any unit.
    pub cost_of_missed_failure: f64,
    /// Cost of handing over in an episode that the weak policy would have won, in the same unit.
    pub cost_of_false_alarm: f64,
    /// Control may go back once the probability of failure stays below this; at most the threshold above.
    pub hand_back: f64,
    /// Calibration from scores to probabilities of failure.
    pub calibrator: PlattScaling,
}

impl CostSettings {
    /// Returns the probability of failure above which the rule raises an alarm.
    pub fn threshold(&self) -> f64 {
        // Written without the sum of both costs, which may overflow.
        1.0 / (1.0 + self.cost_of_missed_failure / self.cost_of_false_alarm)
    }
}

impl Trigger for CostSettings {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let against = Thresholds { fire: self.threshold(), hand_back: self.hand_back };
        let probability = self.calibrator.probability(evidence.score);
        let highest = evidence.score.risk() == f64::INFINITY;
        // The threshold rounds to 1 where a false alarm is extremely costly; the highest risk raises an alarm even there.
        Signal { alarm: highest || probability > against.fire, ..Signal::held_against(probability, against) }
    }

    fn validate(&self) -> Result<(), GateError> {
        for (field, cost) in [
            ("trigger.cost_of_missed_failure", self.cost_of_missed_failure),
            ("trigger.cost_of_false_alarm", self.cost_of_false_alarm),
        ] {
            GateError::unless(cost > 0.0 && cost.is_finite(), field, cost, "finite, above 0")?;
        }
        let PlattScaling { slope, intercept } = self.calibrator;
        GateError::unless(
            slope > 0.0 && slope.is_finite(),
            "trigger.calibrator.slope",
            slope,
            "finite, above 0: a score that does not rise with failure gives no alarms",
        )?;
        GateError::unless(intercept.is_finite(), "trigger.calibrator.intercept", intercept, "finite")?;
        GateError::unless(
            (0.0..=self.threshold()).contains(&self.hand_back),
            "trigger.hand_back",
            format!("{} with the costs' threshold at {}", self.hand_back, self.threshold()),
            "0 to the costs' threshold",
        )
    }
}
