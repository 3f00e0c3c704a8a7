//! Disturbance of an episode: a push, a slip or a displacement that a plant applies by itself at a stated control step.
//! Which one an episode has is decided before the episode begins, so all twins have the same.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Disturbance that a plant applies during an episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturbance {
    /// Control step at whose beginning the disturbance begins. In a result it counts from the first counted control step;
    /// for a plant it counts from the reset.
    pub step: u32,
    /// What happens.
    pub effect: Effect,
}

/// What a disturbance does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// A force acts on the arm's last link.
    Push {
        /// Force in the world frame, newtons.
        force: [f64; 3],
        /// Control steps during which the force acts.
        steps: u32,
    },
    /// The gripper is commanded to open, whatever the action says.
    Slip {
        /// Control steps during which the gripper is commanded to open.
        steps: u32,
    },
    /// The task's target object is moved on its support, at once.
    Displacement {
        /// Displacement along x and y of the world frame, metres.
        shift: [f64; 2],
    },
}

impl Effect {
    /// Names of the kinds, as in plans and results.
    pub const KINDS: [&'static str; 3] = ["push", "slip", "displacement"];

    /// Returns the name of the kind.
    pub fn kind(&self) -> &'static str {
        let [push, slip, displacement] = Self::KINDS;
        match self {
            Self::Push { .. } => push,
            Self::Slip { .. } => slip,
            Self::Displacement { .. } => displacement,
        }
    }
}

impl Disturbance {
    /// Returns the same disturbance, `steps` control steps later.
    #[must_use]
    pub fn delayed_by(self, steps: u32) -> Self {
        Self { step: self.step.saturating_add(steps), ..self }
    }

    /// Returns the force on the arm's last link during a control step, newtons in the world frame: zero outside a push, `None`
    /// for a disturbance of another kind.
    pub fn force_at(&self, step: u32) -> Option<[f64; 3]> {
        match self.effect {
            Effect::Push { force, steps } => Some(if self.lasts(steps, step) { force } else { [0.0; 3] }),
            Effect::Slip { .. } | Effect::Displacement { .. } => None,
        }
    }

    /// Returns whether the gripper is commanded to open during a control step.
    pub fn opens_at(&self, step: u32) -> bool {
        matches!(self.effect, Effect::Slip { steps } if self.lasts(steps, step))
    }

    /// Returns the displacement of the target object at the beginning of a control step, metres along x and y of the world
    /// frame.
    pub fn shift_at(&self, step: u32) -> Option<[f64; 2]> {
        match self.effect {
            Effect::Displacement { shift } if step == self.step => Some(shift),
            _ => None,
        }
    }

    /// Checks that every number is finite.
    ///
    /// # Errors
    /// The name of the field that is not.
    pub fn check_finite(&self) -> Result<(), &'static str> {
        let (field, values): (_, &[f64]) = match &self.effect {
            Effect::Push { force, .. } => ("force", force),
            Effect::Displacement { shift } => ("shift", shift),
            Effect::Slip { .. } => ("steps", &[]),
        };
        if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(field) }
    }

    /// Returns whether a disturbance of `steps` control steps acts during control step `at`.
    fn lasts(&self, steps: u32, at: u32) -> bool {
        at.checked_sub(self.step).is_some_and(|since| since < steps)
    }
}

impl Display for Disturbance {
    /// Formats kind, size and duration, for example `push of 42.0 N for 5 control steps`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        match &self.effect {
            Effect::Push { force, steps } => {
                write!(formatter, "push of {:.1} N for {steps} control steps", size(force))
            }
            Effect::Slip { steps } => write!(formatter, "slip for {steps} control steps"),
            Effect::Displacement { shift } => {
                write!(formatter, "displacement of the target by {:.1} cm", 100.0 * size(shift))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: Disturbance =
        Disturbance { step: 7, effect: Effect::Push { force: [3.0, -4.0, 0.0], steps: 2 } };
    const SLIP: Disturbance = Disturbance { step: 7, effect: Effect::Slip { steps: 2 } };
    const MOVE: Disturbance = Disturbance { step: 7, effect: Effect::Displacement { shift: [0.03, 0.04] } };

    #[test]
    fn each_kind_acts_in_its_own_steps_only() {
        let forces: Vec<_> = (5..11).map(|step| PUSH.force_at(step)).collect();
        let (zero, full) = (Some([0.0; 3]), Some([3.0, -4.0, 0.0]));
        assert_eq!(forces, [zero, zero, full, full, zero, zero]);
        assert_eq!([6, 7, 8, 9].map(|step| SLIP.opens_at(step)), [false, true, true, false]);
        assert_eq!([6, 7, 8].map(|step| MOVE.shift_at(step)), [None, Some([0.03, 0.04]), None]);
        assert!(!PUSH.opens_at(7) && PUSH.shift_at(7).is_none());
        assert!(SLIP.force_at(7).is_none() && MOVE.force_at(7).is_none() && !MOVE.opens_at(7));
    }

    #[test]
    fn a_delay_moves_the_whole_disturbance() {
        let later = SLIP.delayed_by(10);
        assert_eq!([16, 17, 18, 19].map(|step| later.opens_at(step)), [false, true, true, false]);
    }

    #[test]
    fn json_reads_back_and_names_the_kind() {
        for (one, kind) in [(PUSH, "push"), (SLIP, "slip"), (MOVE, "displacement")] {
            let text = serde_json::to_string(&one).unwrap();
            assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{text}");
            assert_eq!(serde_json::from_str::<Disturbance>(&text).unwrap(), one);
            assert_eq!(one.effect.kind(), kind);
        }
        let unknown = r#"{"step":1,"effect":{"kind":"slip","steps":2,"force":[1,2,3]}}"#;
        assert!(serde_json::from_str::<Disturbance>(unknown).is_err());
    }

    #[test]
    fn numbers_that_are_not_finite_are_named_by_field() {
        assert_eq!(PUSH.check_finite(), Ok(()));
        let effect = Effect::Push { force: [f64::NAN, 0.0, 0.0], steps: 1 };
        assert_eq!(Disturbance { effect, ..PUSH }.check_finite(), Err("force"));
        let effect = Effect::Displacement { shift: [0.0, f64::INFINITY] };
        assert_eq!(Disturbance { effect, ..PUSH }.check_finite(), Err("shift"));
    }

    #[test]
    fn words_have_size_and_duration() {
        assert_eq!(PUSH.to_string(), "push of 5.0 N for 2 control steps");
        assert_eq!(SLIP.to_string(), "slip for 2 control steps");
        assert_eq!(MOVE.to_string(), "displacement of the target by 5.0 cm");
    }
}
