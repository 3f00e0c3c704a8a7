//! The gate: turns a stream of scores into who drives, under guard, budget, hold and hysteresis.
//! Pure state machine, called once per chunk boundary.

use serde::{Deserialize, Serialize};

use crate::Score;

/// Who drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The cheap policy, by default.
    Weak,
    /// The backup.
    Strong,
}

/// The unit in which the budget counts an episode's horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetUnit {
    /// Control steps.
    Steps,
    /// Action chunks.
    Chunks,
}

/// When scores count as alarms: what calibration gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Fires at a score above this. Infinite: never.
    pub fire: f64,
    /// Control may go back once scores stay below this.
    pub hand_back: f64,
}

/// What bounds the gate whatever the scores: settings of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// Control may go back once scores have stayed below the lower threshold for this many consecutive boundaries.
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
    /// Control steps per episode.
    pub horizon_steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
}

/// What the gate decided at one chunk boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Who drives the chunk that starts here.
    pub driver: Driver,
    /// The score read here.
    pub score: Score,
    /// What it was held against.
    pub thresholds: Thresholds,
    /// Whether the early-harm guard forbids fires here.
    pub guarded: bool,
    /// Whether this boundary spent one fire.
    pub fired: bool,
    /// Whether the driver differs from that of the previous chunk.
    pub handed_over: bool,
    /// Fires left after this boundary.
    pub budget_left: u32,
}

/// Why a gate's settings are refused.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("gate.{field}: found {found}, valid is {valid}")]
pub struct GateError {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What would do.
    pub valid: &'static str,
}

impl GateLimits {
    /// Fires per episode: the ceiling of `budget_fraction` of the horizon in `budget_unit`.
    pub fn budget(&self) -> u32 {
        let horizon = match self.budget_unit {
            BudgetUnit::Steps => self.horizon_steps,
            BudgetUnit::Chunks => self.horizon_steps.div_ceil(self.chunk_steps),
        };
        (self.budget_fraction * f64::from(horizon)).ceil() as u32
    }

    /// The first control step at which the gate may fire.
    pub fn guard_steps(&self) -> u32 {
        (self.guard_fraction * f64::from(self.horizon_steps)).ceil() as u32
    }

    /// Control steps per episode that the strong policy may drive.
    pub fn duty_steps(&self) -> u32 {
        (self.duty_cap * f64::from(self.horizon_steps)).floor() as u32
    }

    /// Refuses values that no gate could work with.
    pub fn validate(&self) -> Result<(), GateError> {
        let check = |ok: bool, field, found: String, valid| {
            if ok { Ok(()) } else { Err(GateError { field, found, valid }) }
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        check(share(self.guard_fraction), "guard_fraction", self.guard_fraction.to_string(), "0 to 1")?;
        check(share(self.budget_fraction), "budget_fraction", self.budget_fraction.to_string(), "0 to 1")?;
        check(share(self.duty_cap), "duty_cap", self.duty_cap.to_string(), "0 to 1")?;
        check(self.hold_chunks > 0, "hold_chunks", self.hold_chunks.to_string(), "1 or more")?;
        check(self.return_chunks > 0, "return_chunks", self.return_chunks.to_string(), "1 or more")?;
        check(self.chunk_steps > 0, "chunk_steps", self.chunk_steps.to_string(), "1 or more")?;
        check(self.horizon_steps > 0, "horizon_steps", self.horizon_steps.to_string(), "1 or more")
    }
}

/// The gate's state. A pure value: equal states given equal scores decide equally.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    limits: GateLimits,
    thresholds: Thresholds,
    driver: Driver,
    fires: u32,
    strong_steps: u32,
    /// Chunks that the strong policy has driven since the last hand-over.
    held: u32,
    /// Consecutive boundaries of this hold with a score under the return threshold.
    calm: u32,
}

impl Gate {
    /// A gate at the start of an episode.
    pub fn new(limits: GateLimits, thresholds: Thresholds) -> Result<Self, GateError> {
        limits.validate()?;
        let Thresholds { fire, hand_back } = thresholds;
        if fire.is_nan() || hand_back.is_nan() || hand_back > fire {
            return Err(GateError {
                field: "thresholds",
                found: format!("fire {fire}, hand back {hand_back}"),
                valid: "hand back at most fire, neither NaN",
            });
        }
        Ok(Self { limits, thresholds, driver: Driver::Weak, fires: 0, strong_steps: 0, held: 0, calm: 0 })
    }

    /// Decides who drives the chunk that starts at control step `step`.
    ///
    /// Call it once per chunk boundary, in order, with the score of the weak policy's inference there. A fire hands
    /// over at this same boundary: the weak chunk that raised the score is never executed.
    pub fn boundary(&mut self, step: u32, score: Score) -> Decision {
        let before = self.driver;
        let guarded = step < self.limits.guard_steps();
        let mut fired = false;
        match self.driver {
            Driver::Strong => {
                self.calm = if score.risk() < self.thresholds.hand_back { self.calm + 1 } else { 0 };
                let held_enough = self.held >= self.limits.hold_chunks;
                let calm_enough = self.calm >= self.limits.return_chunks;
                let spent = self.strong_steps + self.limits.chunk_steps > self.limits.duty_steps();
                if held_enough && (calm_enough || spent) {
                    self.driver = Driver::Weak;
                }
            }
            Driver::Weak => {
                if !guarded && score.risk() > self.thresholds.fire && self.may_fire() {
                    self.driver = Driver::Strong;
                    self.fires += 1;
                    self.held = 0;
                    self.calm = 0;
                    fired = true;
                }
            }
        }
        if self.driver == Driver::Strong {
            self.held += 1;
            self.strong_steps += self.limits.chunk_steps;
        }
        Decision {
            driver: self.driver,
            score,
            thresholds: self.thresholds,
            guarded,
            fired,
            handed_over: self.driver != before,
            budget_left: self.limits.budget() - self.fires,
        }
    }

    /// A fire needs a unit of budget and room under the duty cap for one whole hold.
    fn may_fire(&self) -> bool {
        let hold_steps = self.limits.hold_chunks * self.limits.chunk_steps;
        self.fires < self.limits.budget() && self.strong_steps + hold_steps <= self.limits.duty_steps()
    }
}
