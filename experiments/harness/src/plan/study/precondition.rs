//! Settings of the precondition: the discrimination that the probe needs before the first confirmation episode is run. The
//! precondition is evaluated in `crate::run::precondition`.

use serde::{Deserialize, Serialize};

/// Precondition of the first confirmation episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreconditionSettings {
    /// Range from which the weak episodes of the precondition start.
    pub range: Fresh,
    /// Bound that the lower confidence limit of the probe's early-window AUROC on these episodes has to exceed.
    pub auroc_floor: f64,
}

/// Range on which the probe was not fitted and which the study is not judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fresh {
    /// The calibration range. Thresholds were set on it, which do not change how scores rank episodes.
    Calibration,
    /// The tuning range. Settings of the gate were chosen on it, which do not change how scores rank episodes either.
    Tuning,
}

impl Fresh {
    /// Returns the range's name in the plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Tuning => "tuning",
        }
    }
}
