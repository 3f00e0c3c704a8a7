//! What a plan asks of the probe before an episode that counts is run: settings only.
//! Judged in `crate::precondition`.

use serde::{Deserialize, Serialize};

/// What has to hold before an episode that counts is run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreconditionSettings {
    /// Which range its weak episodes start from.
    pub range: Fresh,
    /// The lower bound of the probe's early-window AUROC on them has to lie above this.
    pub auroc_floor: f64,
}

/// A range that the probe was not fitted on and that the study does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fresh {
    /// Thresholds were set on it, which rank nothing.
    Calibration,
    /// Settings of the gate were chosen on it, which rank nothing either.
    Tuning,
}

impl Fresh {
    /// The range's name in the plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Tuning => "tuning",
        }
    }
}
