//! Arbiter: decides at each boundary which policy drives, as the experiment's arm prescribes. Pure.
//! `Gated` obeys the gate, `Shadow` only records the gate's decisions; the other authorities read no score.

use crate::Score;
use crate::gate::{Decision, Gate, GateError, GateLimits};
use crate::trigger::{BuiltIn, Driver, Readings, Rule, Thresholds, Trigger};

/// Authority over an episode: which policies may drive, and from when.
#[derive(Clone, Debug, PartialEq)]
pub enum Authority<T = BuiltIn> {
    /// The weak policy drives from start to end.
    WeakOnly,
    /// The strong policy drives from start to end.
    StrongOnly,
    /// The strong policy drives from the first boundary at or after this control step to the end. No gate: guard,
    /// budget, duty cap and hold do not bind it.
    TakeOver(u32),
    /// The weak policy drives until the gate hands over.
    Gated(Gate<T>),
    /// The weak policy drives from start to end; the gate's decisions, with its fires and its wanted driver, are
    /// recorded but not obeyed. The gate spends budget, hold and duty as if it were obeyed, on scores of the episode
    /// that the weak policy drives.
    Shadow(Gate<T>),
}

impl Authority {
    /// Returns the authority for a plan's rule: gated, or with `shadow` in shadow.
    ///
    /// # Errors
    /// [`GateError`] for invalid limits or settings, and for `take_over` in shadow: it has no gate.
    pub fn from_rule(rule: &Rule, limits: &GateLimits, shadow: bool) -> Result<Self, GateError> {
        match rule {
            Rule::TakeOver { step } if !shadow => Ok(Self::TakeOver(*step)),
            rule => {
                let gate = Gate::new(limits.clone(), rule.trigger()?)?;
                Ok(if shadow { Self::Shadow(gate) } else { Self::Gated(gate) })
            }
        }
    }
}

/// Arbiter of one episode: decides who drives each chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Arbiter<T = BuiltIn> {
    authority: Authority<T>,
    /// Driver of the previous chunk, for the authorities that have no gate.
    driver: Driver,
}

impl<T: Trigger> Arbiter<T> {
    /// Returns an arbiter at the start of an episode.
    pub fn new(authority: Authority<T>) -> Self {
        let driver = match authority {
            Authority::StrongOnly => Driver::Strong,
            _ => Driver::Weak,
        };
        Self { authority, driver }
    }

    /// Returns whether the strong policy has to be asked at every boundary, because the gate's rule reads the distance
    /// between both policies' chunks.
    pub fn needs_disagreement(&self) -> bool {
        match &self.authority {
            Authority::Gated(gate) | Authority::Shadow(gate) => gate.needs_disagreement(),
            Authority::WeakOnly | Authority::StrongOnly | Authority::TakeOver(_) => false,
        }
    }

    /// Decides who drives the chunk that starts at control step `step`, given what was read there; see [`Gate::boundary`].
    pub fn boundary(&mut self, step: u32, readings: impl Into<Readings>) -> Decision {
        let readings = readings.into();
        let score = readings.score;
        match &mut self.authority {
            Authority::WeakOnly => self.without_gate(Driver::Weak, score),
            Authority::StrongOnly => self.without_gate(Driver::Strong, score),
            Authority::TakeOver(from) if step < *from => self.without_gate(Driver::Weak, score),
            Authority::TakeOver(_) => self.without_gate(Driver::Strong, score),
            Authority::Gated(gate) => gate.boundary(step, readings),
            Authority::Shadow(gate) => {
                Decision { driver: Driver::Weak, handed_over: false, ..gate.boundary(step, readings) }
            }
        }
    }

    /// Has the gate count the strong side as driving for longer than its hold; see [`Gate::hold_by_hand`]. Nothing without a gate.
    pub(crate) fn hold_by_hand(&mut self) {
        if let Authority::Gated(gate) = &mut self.authority {
            gate.hold_by_hand();
        }
    }

    /// Gives control back to the weak side; see [`Gate::hand_back`]. Nothing without a gate.
    pub(crate) fn hand_back(&mut self) {
        if let Authority::Gated(gate) = &mut self.authority {
            gate.hand_back();
        }
    }

    fn without_gate(&mut self, driver: Driver, score: Score) -> Decision {
        let before = std::mem::replace(&mut self.driver, driver);
        Decision {
            driver,
            wanted: driver,
            score,
            reading: None,
            thresholds: Thresholds::NONE,
            guarded: false,
            armed: false,
            fired: false,
            handed_over: driver != before,
            budget_left: 0,
        }
    }
}
