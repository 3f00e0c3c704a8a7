//! Limits of the gate, which hold for every rule: guard, budget, duty, hold and hysteresis, as settings of a plan.
//! The state machine that applies them is `gate.rs`.

use serde::{Deserialize, Serialize};

/// Unit in which the budget counts an episode's horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetUnit {
    /// Control steps.
    Steps,
    /// Action chunks.
    Chunks,
}

/// Limits of the gate, whatever the scores: settings of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// Consecutive calm boundaries after which control may go back to the weak policy. Zero: control goes back as soon
    /// as the hold is over, whatever the rule says, so that a fire costs the same in every arm.
    pub return_chunks: u32,
    /// Share of the horizon before which the gate never fires.
    pub guard_fraction: f64,
    /// Budget of fires, as a share of the horizon counted in `budget_unit`, rounded up.
    pub budget_fraction: f64,
    /// Unit in which the budget counts the horizon.
    pub budget_unit: BudgetUnit,
    /// Largest share of the horizon that the strong policy may drive.
    pub duty_cap: f64,
    /// Smallest number of chunks that the strong policy drives after a hand-over.
    pub hold_chunks: u32,
    /// Whether the gate fires only where the whole hold fits before the horizon, so that a late fire costs as much as
    /// any other.
    #[serde(default)]
    pub whole_holds: bool,
    /// Control steps per episode.
    pub horizon_steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
}

/// Error of a gate's setting.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{}: found {found}; valid is {valid}", self.key())]
pub struct GateError {
    /// Name of the setting.
    pub field: &'static str,
    /// Value that was found.
    pub found: String,
    /// Description of the valid values.
    pub valid: &'static str,
}

impl GateError {
    /// Returns the setting's key in a plan. The key of the rule's kind lies outside the gate's table.
    pub fn key(&self) -> String {
        if self.field == RULE_KIND { RULE_KIND.into() } else { format!("gate.{}", self.field) }
    }

    /// Returns an error for the setting unless `ok`.
    pub(crate) fn unless(
        ok: bool,
        field: &'static str,
        found: impl ToString,
        valid: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self { field, found: found.to_string(), valid }) }
    }
}

/// Key that names a rule.
pub(crate) const RULE_KIND: &str = "rule.kind";
/// Slack for rounding: a product of exact decimals may differ from a whole number by a rounding error.
const SLACK: f64 = 1e-9;

impl GateLimits {
    /// Returns the fires per episode: the ceiling of `budget_fraction` of the horizon in `budget_unit`.
    pub fn budget(&self) -> u32 {
        let horizon = match self.budget_unit {
            BudgetUnit::Steps => self.horizon_steps,
            BudgetUnit::Chunks => self.horizon_steps.div_ceil(self.chunk_steps),
        };
        (self.budget_fraction * f64::from(horizon) - SLACK).ceil() as u32
    }

    /// Returns the first control step at which the gate may fire.
    pub fn guard_steps(&self) -> u32 {
        (self.guard_fraction * f64::from(self.horizon_steps) - SLACK).ceil() as u32
    }

    /// Returns the control steps per episode that the strong policy may drive.
    pub fn duty_steps(&self) -> u32 {
        (self.duty_cap * f64::from(self.horizon_steps) + SLACK).floor() as u32
    }

    /// Returns the control steps of one whole hold.
    pub fn hold_steps(&self) -> u32 {
        self.hold_chunks.saturating_mul(self.chunk_steps)
    }

    /// Returns whether a fire at this control step is past the guard and, with `whole_holds`, early enough for a whole hold.
    pub fn may_fire_at(&self, step: u32) -> bool {
        let fits = step.saturating_add(self.hold_steps()) <= self.horizon_steps;
        step >= self.guard_steps() && (fits || !self.whole_holds)
    }

    /// Returns whether a gate that has not fired in this episode may fire at this control step: the guard is over, and the budget
    /// and the duty cap have room for one hold.
    pub fn may_fire_first_at(&self, step: u32) -> bool {
        self.may_fire_at(step) && self.budget() > 0 && self.hold_steps() <= self.duty_steps()
    }

    /// Returns the smallest number of boundaries from one fire to the next: the shortest stay of the strong policy,
    /// then the boundary that hands back, which does not fire. A schedule whose fires lie this far apart loses no fire
    /// to a running hold.
    pub fn fire_gap(&self) -> u32 {
        self.hold_chunks.max(self.return_chunks).saturating_add(1)
    }

    /// Checks that the values are in their valid ranges.
    pub fn validate(&self) -> Result<(), GateError> {
        for (field, value) in [
            ("guard_fraction", self.guard_fraction),
            ("budget_fraction", self.budget_fraction),
            ("duty_cap", self.duty_cap),
        ] {
            GateError::unless((0.0..=1.0).contains(&value), field, value, "0 to 1")?;
        }
        for (field, value) in [
            ("hold_chunks", self.hold_chunks),
            ("chunk_steps", self.chunk_steps),
            ("horizon_steps", self.horizon_steps),
        ] {
            GateError::unless(value > 0, field, value, "1 or more")?;
        }
        Ok(())
    }
}
