//! The rule `trend`: an alarm where the risk rises fast, with a cap on how often the driver may change.
//! Slopes are ordinary least squares over the last scores, per chunk.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Driver, Evidence, Signal, Thresholds, Trigger};
use crate::limits::GateError;

/// Settings of the rule `trend`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendSettings {
    /// Number of scores in a slope, the newest included. Before as many exist, only the highest risk raises an alarm.
    pub window: usize,
    /// Alarm at a slope above this, in score per chunk.
    pub slope: f64,
    /// Alarm only at a score above this.
    pub floor: f64,
    /// Control may go back once scores stay below this; at most `floor`.
    pub hand_back: f64,
    /// At most this many changes of driver per episode, in either direction. A hand-over counts together with the
    /// return that must stay possible after it, so an odd number acts as the even one below.
    pub switch_cap: u32,
}

/// The rule `trend` within one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    settings: TrendSettings,
    risks: VecDeque<f64>,
    driver: Driver,
    switches: u32,
}

impl Trend {
    /// Returns the rule at the start of an episode.
    pub fn new(settings: TrendSettings) -> Self {
        Self { settings, risks: VecDeque::new(), driver: Driver::Weak, switches: 0 }
    }
}

/// Returns the least-squares slope of the last `window` risks, per chunk; −∞ before as many exist. For a window with an
/// infinite risk no line can be fitted: the slope is +∞ where the newest risk is infinite, and −∞ elsewhere.
pub fn slope(risks: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator + Clone, window: usize) -> f64 {
    if risks.clone().next_back() == Some(f64::INFINITY) {
        return f64::INFINITY;
    }
    let Some(skipped) = risks.len().checked_sub(window) else { return f64::NEG_INFINITY };
    let last = risks.skip(skipped);
    if last.clone().any(f64::is_infinite) {
        return f64::NEG_INFINITY;
    }
    let count = window as f64;
    let centre = (count - 1.0) / 2.0;
    let rise: f64 = last.enumerate().map(|(index, risk)| (index as f64 - centre) * risk).sum();
    // Σ (i − centre)² over i = 0 … count − 1.
    rise / (count * (count * count - 1.0) / 12.0)
}

impl Trigger for Trend {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let risk = evidence.score.risk();
        self.switches += u32::from(evidence.driver != self.driver);
        self.driver = evidence.driver;
        self.risks.push_back(risk);
        if self.risks.len() > self.settings.window {
            self.risks.pop_front();
        }
        let TrendSettings { slope: limit, floor, hand_back, switch_cap, .. } = self.settings;
        let slope = slope(self.risks.iter().copied(), self.settings.window);
        Signal {
            alarm: slope > limit && risk > floor && self.switches.saturating_add(2) <= switch_cap,
            calm: risk < hand_back,
            reading: Some(slope),
            // Control goes back by the score, so there is no slope threshold for it.
            against: Thresholds { fire: limit, ..Thresholds::NONE },
        }
    }

    fn validate(&self) -> Result<(), GateError> {
        let TrendSettings { window, slope, floor, hand_back, switch_cap } = self.settings;
        GateError::unless(window >= 2, "trigger.window", window, "2 or more")?;
        GateError::unless(slope.is_finite(), "trigger.slope", slope, "finite")?;
        GateError::unless(floor.is_finite(), "trigger.floor", floor, "finite")?;
        GateError::unless(
            hand_back <= floor,
            "trigger.hand_back",
            format!("{hand_back} with floor at {floor}"),
            "a number, at most floor",
        )?;
        GateError::unless(switch_cap >= 2, "trigger.switch_cap", switch_cap, "2 or more")
    }
}
