//! The arms: who has authority over an episode, as one pure object behind the loop.
//! `Gated` consults the gate, `Shadow` only listens to it; the others read nothing.

use crate::Score;
use crate::gate::{Decision, Gate, GateError, GateLimits};
use crate::trigger::{BuiltIn, Driver, Rule, Thresholds, Trigger};

/// Who may drive.
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
    /// The weak policy drives from start to end, and the gate decides for the record alone: its fires and whom it
    /// wanted are in the decisions. It spends budget, hold and duty as if it were obeyed, on scores of the weak path.
    Shadow(Gate<T>),
}

impl Authority {
    /// What a plan's rule stands for, gated or in `shadow`. `take_over` has no gate to listen to, so no shadow.
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

/// Decides who drives each chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Arbiter<T = BuiltIn> {
    authority: Authority<T>,
    /// Who drove the chunk before, for the authorities that have no gate.
    driver: Driver,
}

impl<T: Trigger> Arbiter<T> {
    /// An arbiter at the start of an episode.
    pub fn new(authority: Authority<T>) -> Self {
        let driver = match authority {
            Authority::StrongOnly => Driver::Strong,
            _ => Driver::Weak,
        };
        Self { authority, driver }
    }

    /// Whether the loop has to ask the strong policy at every boundary for the distance between both chunks.
    pub fn needs_disagreement(&self) -> bool {
        match &self.authority {
            Authority::Gated(gate) | Authority::Shadow(gate) => gate.needs_disagreement(),
            Authority::WeakOnly | Authority::StrongOnly | Authority::TakeOver(_) => false,
        }
    }

    /// Decides who drives the chunk that starts at control step `step`, given the weak policy's score there and, where
    /// [needed](Self::needs_disagreement), the distance between both policies' chunks.
    pub fn boundary(&mut self, step: u32, score: Score, disagreement: Option<f64>) -> Decision {
        match &mut self.authority {
            Authority::WeakOnly => self.without_gate(Driver::Weak, score),
            Authority::StrongOnly => self.without_gate(Driver::Strong, score),
            Authority::TakeOver(from) if step < *from => self.without_gate(Driver::Weak, score),
            Authority::TakeOver(_) => self.without_gate(Driver::Strong, score),
            Authority::Gated(gate) => gate.boundary(step, score, disagreement),
            Authority::Shadow(gate) => Decision {
                driver: Driver::Weak,
                handed_over: false,
                ..gate.boundary(step, score, disagreement)
            },
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
