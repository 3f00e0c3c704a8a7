//! Alarm rules: what counts as an alarm and as calm at a chunk boundary, one file per family.
//! A rule only raises alarms; the gate's limits alone decide whether an alarm becomes a fire.

mod benefit;
mod cost;
mod disagreement;
mod rule;
mod schedule;
mod threshold;
mod trend;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Score;
use crate::limits::GateError;

pub use benefit::BenefitSettings;
pub use cost::CostSettings;
pub use disagreement::{DisagreementSettings, chunk_disagreement, distance};
pub use rule::{BuiltIn, Reach, Rule};
pub use schedule::{DrawError, Schedule, draw_boundaries};
pub use threshold::{FunctionalBand, Thresholds};
pub use trend::{Trend, TrendSettings, slope};

/// Policy that drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The cheap policy, which drives by default.
    Weak,
    /// The expensive policy, which takes over.
    Strong,
}

impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Weak => "weak",
            Self::Strong => "strong",
        })
    }
}

/// Evidence that a rule reads at a chunk boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Index of the boundary within the episode, from zero.
    pub boundary: u32,
    /// Control step at which the chunk starts.
    pub step: u32,
    /// Driver, by the gate's decision, of the chunk that ended here; weak at the start of an episode.
    pub driver: Driver,
    /// The risk read from the weak policy's inference here.
    pub score: Score,
    /// Benefit of a hold, predicted from the same inference; `None` where the probe has no benefit head.
    pub benefit: Option<f64>,
    /// Distance between both policies' chunks; `None` where the strong policy was not asked in shadow.
    pub disagreement: Option<f64>,
}

/// Quantities that are read at a chunk boundary, whoever drives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    /// The risk read from the weak policy's inference.
    pub score: Score,
    /// Benefit of a hold, predicted from the same inference; `None` where the probe has no benefit head.
    pub benefit: Option<f64>,
    /// [Distance](chunk_disagreement) between both policies' chunks; `None` where the strong policy was not asked.
    pub disagreement: Option<f64>,
}

impl From<Score> for Readings {
    fn from(score: Score) -> Self {
        Self { score, benefit: None, disagreement: None }
    }
}

/// Answer of a rule at a chunk boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Whether the rule asks for the strong policy. Counts while the weak policy drives.
    pub alarm: bool,
    /// Whether the rule sees no reason to stay with the strong policy. Counts while the strong policy drives.
    pub calm: bool,
    /// The quantity that was judged, in the rule's own unit; `None` for a rule that reads nothing.
    pub reading: Option<f64>,
    /// Thresholds that the reading was compared with, in the same unit, for the record.
    pub against: Thresholds,
}

impl Signal {
    /// Compares a reading with thresholds: alarm above `fire`, calm below `hand_back`.
    fn held_against(reading: f64, against: Thresholds) -> Self {
        Self {
            alarm: reading > against.fire,
            calm: reading < against.hand_back,
            reading: Some(reading),
            against,
        }
    }
}

/// Rule: turns the evidence at a chunk boundary into an alarm.
///
/// The gate calls the rule once per boundary, in order, whichever policy drives and during the guard too, so a rule
/// sees the whole episode. `Gate::new(limits, rule)` puts any implementation under the same limits as the built-in
/// rules. Equal rules should give equal answers to equal evidence; otherwise twins are no longer comparable. A rule
/// that reads the score should count a flagged score as the highest risk.
pub trait Trigger {
    /// Reads the evidence at one boundary.
    fn read(&mut self, evidence: &Evidence) -> Signal;

    /// Checks the rule's settings.
    fn validate(&self) -> Result<(), GateError> {
        Ok(())
    }

    /// Returns whether the rule reads [`Evidence::disagreement`]. The strong policy is then asked in shadow at every
    /// boundary, which costs one inference each.
    fn needs_disagreement(&self) -> bool {
        false
    }

    /// Returns whether the rule reads [`Evidence::benefit`], for which the probe needs a benefit head.
    fn needs_benefit(&self) -> bool {
        false
    }
}

/// A rule that is chosen at run time.
impl<T: Trigger + ?Sized> Trigger for Box<T> {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        (**self).read(evidence)
    }

    fn validate(&self) -> Result<(), GateError> {
        (**self).validate()
    }

    fn needs_disagreement(&self) -> bool {
        (**self).needs_disagreement()
    }

    fn needs_benefit(&self) -> bool {
        (**self).needs_benefit()
    }
}
