//! The gate: turns the alarms of a rule into who drives, under guard, budget, duty, hold and hysteresis.
//! Pure state machine, called once per chunk boundary; every rule obeys the same limits.

use serde::{Deserialize, Serialize};

pub use crate::limits::{BudgetUnit, GateError, GateLimits};
use crate::trigger::{BuiltIn, Evidence, Readings, Thresholds, Trigger};
use crate::{Driver, Score};

/// What was decided at one chunk boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Who drives the chunk that starts here.
    pub driver: Driver,
    /// Whom the gate would have drive. Differs from `driver` only in shadow mode.
    pub wanted: Driver,
    /// The score read here.
    pub score: Score,
    /// The rule's reading, which is compared with `thresholds`: the score, a calibrated probability, a slope,
    /// a distance. `None` for a rule that reads nothing.
    pub reading: Option<f64>,
    /// The thresholds that the reading was compared with, in its own unit.
    pub thresholds: Thresholds,
    /// Whether the early-harm guard forbids fires here.
    pub guarded: bool,
    /// Whether the limits left the gate free to fire here, had its rule raised an alarm.
    pub armed: bool,
    /// Whether this boundary spent one fire.
    pub fired: bool,
    /// Whether the driver differs from that of the previous chunk.
    pub handed_over: bool,
    /// Fires left after this boundary.
    pub budget_left: u32,
}

/// The gate's state. A pure value: equal states given equal evidence decide equally.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate<T = BuiltIn> {
    limits: GateLimits,
    trigger: T,
    driver: Driver,
    fires: u32,
    strong_steps: u32,
    /// Chunks that the strong policy has driven since the last hand-over.
    held: u32,
    /// Consecutive boundaries of this hold that the rule called calm.
    calm: u32,
    /// Whether a person drives, who alone decides when this hold ends.
    is_by_hand: bool,
}

impl<T: Trigger> Gate<T> {
    /// A gate at the start of an episode.
    pub fn new(limits: GateLimits, trigger: T) -> Result<Self, GateError> {
        limits.validate()?;
        trigger.validate()?;
        Ok(Self {
            limits,
            trigger,
            driver: Driver::Weak,
            fires: 0,
            strong_steps: 0,
            held: 0,
            calm: 0,
            is_by_hand: false,
        })
    }

    /// Whether the rule reads the distance between both policies' chunks; see [`Trigger::needs_disagreement`].
    pub fn needs_disagreement(&self) -> bool {
        self.trigger.needs_disagreement()
    }

    /// Returns whether the rule reads the predicted benefit of a hold; see [`Trigger::needs_benefit`].
    pub fn needs_benefit(&self) -> bool {
        self.trigger.needs_benefit()
    }

    /// Decides who drives the chunk that starts at control step `step`.
    ///
    /// Call it once per chunk boundary, in order, with the score of the weak policy's inference there and, for a rule
    /// that needs them, the predicted benefit of a hold and the [distance](crate::trigger::chunk_disagreement) between both
    /// policies' chunks. A fire hands over at this same boundary: the weak chunk that raised the alarm is never executed.
    pub fn boundary(&mut self, step: u32, readings: impl Into<Readings>) -> Decision {
        let Readings { score, benefit, disagreement } = readings.into();
        let before = self.driver;
        let boundary = step / self.limits.chunk_steps;
        let signal =
            self.trigger.read(&Evidence { boundary, step, driver: before, score, benefit, disagreement });
        let guarded = step < self.limits.guard_steps();
        let armed = before == Driver::Weak && self.limits.may_fire_at(step) && self.has_room();
        let fired = armed && signal.alarm;
        match before {
            Driver::Strong => {
                self.calm = if signal.calm { self.calm.saturating_add(1) } else { 0 };
                let held_enough = self.held >= self.limits.hold_chunks;
                let calm_enough = self.calm >= self.limits.return_chunks;
                let spent = self.strong_steps_after(self.limits.chunk_steps) > self.limits.duty_steps();
                if held_enough && (calm_enough || spent) && !self.is_by_hand {
                    self.driver = Driver::Weak;
                }
            }
            Driver::Weak => {
                if fired {
                    self.driver = Driver::Strong;
                    self.fires += 1;
                    self.held = 0;
                    self.calm = 0;
                }
            }
        }
        if self.driver == Driver::Strong {
            self.held = self.held.saturating_add(1);
            self.strong_steps = self.strong_steps_after(self.limits.chunk_steps);
        }
        Decision {
            driver: self.driver,
            wanted: self.driver,
            score,
            reading: signal.reading,
            thresholds: signal.against,
            guarded,
            armed,
            fired,
            handed_over: self.driver != before,
            budget_left: self.limits.budget() - self.fires,
        }
    }

    /// Notes between two boundaries that a person drives: this hold lasts until [`Self::hand_back`].
    pub fn hold_by_hand(&mut self) {
        (self.driver, self.is_by_hand) = (Driver::Strong, true);
    }

    /// Ends a hold between two boundaries, because the person who drove has let go. The rule is not read.
    pub fn hand_back(&mut self) {
        (self.driver, self.is_by_hand) = (Driver::Weak, false);
    }

    /// A fire needs a unit of budget and room under the duty cap for one whole hold.
    fn has_room(&self) -> bool {
        self.fires < self.limits.budget()
            && self.strong_steps_after(self.limits.hold_steps()) <= self.limits.duty_steps()
    }

    /// Control steps of the strong policy once it has driven `steps` more.
    fn strong_steps_after(&self, steps: u32) -> u32 {
        self.strong_steps.saturating_add(steps)
    }
}
