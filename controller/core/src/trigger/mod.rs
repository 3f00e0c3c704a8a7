//! Alarm rules: what counts as an alarm and as calm at a chunk boundary, one file per family.
//! A rule says what it sees; the gate's limits alone decide what may come of it.

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

pub use cost::CostSettings;
pub use disagreement::{DisagreementSettings, chunk_disagreement, distance};
pub use rule::{BuiltIn, Rule};
pub use schedule::{DrawError, Schedule, draw_boundaries};
pub use threshold::{FunctionalBand, Thresholds};
pub use trend::{Trend, TrendSettings, slope};

/// Who drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The cheap policy, by default.
    Weak,
    /// The backup.
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

/// What is known at a chunk boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Index of the boundary within the episode, from zero.
    pub boundary: u32,
    /// Control step at which the chunk starts.
    pub step: u32,
    /// Whom the gate had drive the chunk that ended here; weak at the start of an episode.
    pub driver: Driver,
    /// The risk read from the weak policy's inference here.
    pub score: Score,
    /// Distance between both policies' chunks, where the strong policy was asked in shadow.
    pub disagreement: Option<f64>,
}

/// What a rule makes of the evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Asks for the strong policy. Counts while the weak one drives.
    pub alarm: bool,
    /// Sees no reason to stay with the strong policy. Counts while it drives.
    pub calm: bool,
    /// The quantity that was judged, in the rule's own unit; `None` for a rule that reads nothing.
    pub reading: Option<f64>,
    /// What it was held against, in the same unit, for the record.
    pub against: Thresholds,
}

impl Signal {
    /// Alarm above `fire`, calm below `hand_back`.
    fn held_against(reading: f64, against: Thresholds) -> Self {
        Self {
            alarm: reading > against.fire,
            calm: reading < against.hand_back,
            reading: Some(reading),
            against,
        }
    }
}

/// Turns what is known at a chunk boundary into an alarm.
///
/// The gate reads it once per boundary, in order, whoever drives and under the guard too, so a rule sees the whole
/// episode. Any type will do: `Gate::new(limits, rule)` puts it under the same limits as the built-in rules. Equal
/// rules should read equal evidence equally, or twins stop being twins. A rule that reads the score should count a
/// flagged one as the highest risk.
pub trait Trigger {
    /// Reads one boundary.
    fn read(&mut self, evidence: &Evidence) -> Signal;

    /// Refuses settings that the rule cannot work with.
    fn validate(&self) -> Result<(), GateError> {
        Ok(())
    }

    /// Whether [`Evidence::disagreement`] is read. The loop then asks the strong policy in shadow at every boundary,
    /// which costs its inference there.
    fn needs_disagreement(&self) -> bool {
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
}
