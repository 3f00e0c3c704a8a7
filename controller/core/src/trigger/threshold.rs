//! Rules that compare the score with thresholds: fixed ones, or one per chunk boundary.
//! The thresholds come from calibration.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Trigger};
use crate::limits::GateError;

/// Thresholds on the score, as calibration gives them. As a rule: `conformal`, with fixed thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Fires at a score above this. Infinite: never fires, not even at NaN.
    pub fire: f64,
    /// Control may go back once scores stay below this.
    pub hand_back: f64,
}

impl Thresholds {
    /// Thresholds that a rule reports if it reads nothing.
    pub(crate) const NONE: Self = Self { fire: f64::INFINITY, hand_back: f64::INFINITY };
}

impl Trigger for Thresholds {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        Signal::held_against(evidence.score.risk(), *self)
    }

    fn validate(&self) -> Result<(), GateError> {
        let Self { fire, hand_back } = self;
        GateError::unless(!fire.is_nan(), "trigger.fire", fire, "a number, or infinite for never")?;
        GateError::unless(
            hand_back <= fire,
            "trigger.hand_back",
            format!("{hand_back} with fire at {fire}"),
            "a number, at most fire",
        )
    }
}

/// Rule `functional_band`: a threshold for each chunk boundary, so that the band follows the typical scores of a won episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionalBand {
    /// Fires at a score above the value of the boundary, by index from zero; the last value applies to later
    /// boundaries. Infinite: never fires.
    pub upper: Vec<f64>,
    /// Control may go back once scores stay below this, at any boundary.
    pub hand_back: f64,
}

impl Trigger for FunctionalBand {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let upper = self.upper.get(evidence.boundary as usize).or(self.upper.last());
        let fire = upper.copied().unwrap_or(f64::INFINITY);
        Signal::held_against(evidence.score.risk(), Thresholds { fire, hand_back: self.hand_back })
    }

    fn validate(&self) -> Result<(), GateError> {
        GateError::unless(!self.upper.is_empty(), "trigger.upper", "no values", "one value or more")?;
        for (boundary, fire) in self.upper.iter().enumerate() {
            GateError::unless(
                !fire.is_nan(),
                "trigger.upper",
                format!("{fire} at boundary {boundary}"),
                "numbers, or infinite for never",
            )?;
            GateError::unless(
                self.hand_back <= *fire,
                "trigger.hand_back",
                format!("{} with upper {fire} at boundary {boundary}", self.hand_back),
                "a number, at most every upper",
            )?;
        }
        Ok(())
    }
}
