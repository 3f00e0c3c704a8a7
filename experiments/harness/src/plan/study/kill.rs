//! Kill criteria: limits on named quantities; an experiment that violates any of them is void. A quantity that could
//! not be determined counts as a violation, so that leaving it out gives no advantage.

use serde::{Deserialize, Serialize};

/// Limits, all of which a plan states.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Bound that the lower confidence limit of the probe's early-window AUROC has to exceed.
    pub auroc_floor: f64,
    /// Largest difference of duty between the arms of a contrast that needs equal budgets, in percentage points.
    pub duty_mismatch_points: f64,
    /// Most twins that differ from the weak arm before their first hand-over.
    pub crn_violations: u64,
    /// Most episodes of the plan that have no result.
    pub missing_episodes: u64,
    /// Largest fraction of the weak policy's wins that `aegis` loses.
    pub harm_cap: f64,
}

/// Quantities in a report; `None` where one could not be determined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantities {
    /// Lower confidence limit of the early-window AUROC.
    pub auroc_lower: Option<f64>,
    /// Largest absolute difference of duty in percentage points; 0 where no contrast needs equal budgets.
    pub duty_mismatch_points: Option<f64>,
    /// Twins that differ from the weak arm before their first hand-over.
    pub crn_violations: Option<u64>,
    /// Episodes without a result.
    pub missing_episodes: Option<u64>,
    /// Episodes that the weak arm won and `aegis` lost, as a fraction of the weak arm's wins.
    pub harm: Option<f64>,
}

/// Evaluated criterion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Key of the criterion in the plan.
    pub name: &'static str,
    /// Limit in the plan.
    pub limit: f64,
    /// Value found.
    pub found: Option<f64>,
    /// Whether the criterion voids the experiment.
    pub fired: bool,
}

impl Kill {
    /// Evaluates every criterion, in the order of the plan's keys.
    pub fn judge(&self, found: &Quantities) -> [Judged; 5] {
        let count = |count: Option<u64>| count.map(|count| count as f64);
        let at_most = |name, limit: f64, found: Option<f64>| {
            // NaN counts as a violation.
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
        // Violate one criterion at a time, to show that each reads its own quantity.
        let one = Quantities { crn_violations: Some(1), ..at_the_limit };
        assert_eq!(fired(&one), [false, false, true, false, false]);
    }
}
