//! Kill criteria: limits on named quantities, any of which voids the experiment when it is passed.
//! A quantity that could not be determined counts as passed, so that nothing is saved by not looking.

use serde::{Deserialize, Serialize};

/// The limits, all of which a plan states.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// The lower bound of the probe's early-window AUROC has to lie above this.
    pub auroc_floor: f64,
    /// Largest difference of duty between the arms of a contrast that needs equal budgets, in percentage points.
    pub duty_mismatch_points: f64,
    /// Most twins that part before their first hand-over.
    pub crn_violations: u64,
    /// Most episodes of the plan that have no result.
    pub missing_episodes: u64,
    /// Largest share of the weak policy's wins that `aegis` loses.
    pub harm_cap: f64,
}

/// What a report found; `None` where it could not be determined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantities {
    /// Lower bound of the early-window AUROC.
    pub auroc_lower: Option<f64>,
    /// Largest absolute difference of duty in percentage points; 0 where no contrast needs equal budgets.
    pub duty_mismatch_points: Option<f64>,
    /// Twins that parted too early.
    pub crn_violations: Option<u64>,
    /// Episodes without a result.
    pub missing_episodes: Option<u64>,
    /// Broken over weak's wins.
    pub harm: Option<f64>,
}

/// One criterion, evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The criterion's key in the plan.
    pub name: &'static str,
    /// What the plan says.
    pub limit: f64,
    /// What was found.
    pub found: Option<f64>,
    /// Whether it voids the experiment.
    pub fired: bool,
}

impl Kill {
    /// Every criterion, in the order of the plan's keys.
    pub fn judge(&self, found: &Quantities) -> [Judged; 5] {
        let count = |count: Option<u64>| count.map(|count| count as f64);
        let at_most = |name, limit: f64, found: Option<f64>| {
            // NaN is within no limit.
            let within = found.is_some_and(|found| found <= limit);
            Judged { name, limit, found, fired: !within }
        };
        [
            Judged {
                name: "auroc_floor",
                limit: self.auroc_floor,
                found: found.auroc_lower,
                fired: !found.auroc_lower.is_some_and(|lower| lower > self.auroc_floor),
            },
            at_most("duty_mismatch_points", self.duty_mismatch_points, found.duty_mismatch_points),
            at_most("crn_violations", self.crn_violations as f64, count(found.crn_violations)),
            at_most("missing_episodes", self.missing_episodes as f64, count(found.missing_episodes)),
            at_most("harm_cap", self.harm_cap, found.harm),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_criterion_fires_past_its_limit_and_where_nothing_is_known() {
        let kill = Kill {
            auroc_floor: 0.6,
            duty_mismatch_points: 5.0,
            crn_violations: 0,
            missing_episodes: 2,
            harm_cap: 0.1,
        };
        let at_the_limit = Quantities {
            auroc_lower: Some(0.61),
            duty_mismatch_points: Some(5.0),
            crn_violations: Some(0),
            missing_episodes: Some(2),
            harm: Some(0.1),
        };
        let fired = |found: &Quantities| kill.judge(found).map(|judged| judged.fired);
        assert_eq!(fired(&at_the_limit), [false; 5]);
        let past = Quantities {
            auroc_lower: Some(0.6),
            duty_mismatch_points: Some(5.1),
            crn_violations: Some(1),
            missing_episodes: Some(3),
            harm: Some(f64::NAN),
        };
        assert_eq!(fired(&past), [true; 5]);
        let unknown = Quantities {
            auroc_lower: None,
            duty_mismatch_points: None,
            crn_violations: None,
            missing_episodes: None,
            harm: None,
        };
        assert_eq!(fired(&unknown), [true; 5]);
        // One at a time, so that no criterion stands on another's quantity.
        let one = Quantities { crn_violations: Some(1), ..at_the_limit };
        assert_eq!(fired(&one), [false, false, true, false, false]);
    }
}
