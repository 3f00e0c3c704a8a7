//! What bounds the gate whatever its rule says: guard, budget, duty, hold, hysteresis, as settings of a plan.
//! Pure numbers; the state machine that keeps to them is `gate.rs`.

use serde::{Deserialize, Serialize};

/// The unit in which the budget counts an episode's horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetUnit {
    /// Control steps.
    Steps,
    /// Action chunks.
    Chunks,
}

/// What bounds the gate whatever the scores: settings of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// Control may go back once the rule has called this many consecutive boundaries calm. Zero: as soon as the hold
    /// is over, whatever the rule says, so that a fire costs the same in every arm.
    pub return_chunks: u32,
    /// No fire before this share of the horizon.
    pub guard_fraction: f64,
    /// At most the ceiling of this share of the horizon in fires.
    pub budget_fraction: f64,
    /// What the budget counts the horizon in.
    pub budget_unit: BudgetUnit,
    /// At most this share of the horizon with the strong policy driving.
    pub duty_cap: f64,
    /// A hand-over holds for at least this many chunks.
    pub hold_chunks: u32,
    /// No fire unless its whole hold fits before the horizon, so that no fire costs less for coming late.
    #[serde(default)]
    pub whole_holds: bool,
    /// Control steps per episode.
    pub horizon_steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
}

/// Why a gate's settings are refused.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{}: found {found}; valid is {valid}", self.key())]
pub struct GateError {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What would do.
    pub valid: &'static str,
}

impl GateError {
    /// The setting's key: that of the rule's kind lies beside the gate's table, not in it.
    pub fn key(&self) -> String {
        if self.field == RULE_KIND { RULE_KIND.into() } else { format!("gate.{}", self.field) }
    }

    /// Refuses a setting unless `ok`.
    pub(crate) fn unless(
        ok: bool,
        field: &'static str,
        found: impl ToString,
        valid: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self { field, found: found.to_string(), valid }) }
    }
}

/// The key that names a rule.
pub(crate) const RULE_KIND: &str = "rule.kind";
/// A product of exact decimals can land a hair beside a whole number; the slack keeps it there.
const SLACK: f64 = 1e-9;

impl GateLimits {
    /// Fires per episode: the ceiling of `budget_fraction` of the horizon in `budget_unit`.
    pub fn budget(&self) -> u32 {
        let horizon = match self.budget_unit {
            BudgetUnit::Steps => self.horizon_steps,
            BudgetUnit::Chunks => self.horizon_steps.div_ceil(self.chunk_steps),
        };
        (self.budget_fraction * f64::from(horizon) - SLACK).ceil() as u32
    }

    /// The first control step at which the gate may fire.
    pub fn guard_steps(&self) -> u32 {
        (self.guard_fraction * f64::from(self.horizon_steps) - SLACK).ceil() as u32
    }

    /// Control steps per episode that the strong policy may drive.
    pub fn duty_steps(&self) -> u32 {
        (self.duty_cap * f64::from(self.horizon_steps) + SLACK).floor() as u32
    }

    /// Control steps of one whole hold.
    pub fn hold_steps(&self) -> u32 {
        self.hold_chunks.saturating_mul(self.chunk_steps)
    }

    /// Whether a fire at this control step is past the guard and, where holds have to be whole, early enough.
    pub fn may_fire_at(&self, step: u32) -> bool {
        let fits = step.saturating_add(self.hold_steps()) <= self.horizon_steps;
        step >= self.guard_steps() && (fits || !self.whole_holds)
    }

    /// Boundaries from one fire to the next at the least: the shortest stay of the strong policy, then the boundary
    /// that hands back, which does not fire. A schedule whose fires lie this far apart loses none to a running hold.
    pub fn fire_gap(&self) -> u32 {
        self.hold_chunks.max(self.return_chunks).saturating_add(1)
    }

    /// Refuses values that no gate could work with.
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
