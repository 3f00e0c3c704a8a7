//! Source of each control period's command, and whether the backup had been called, for data sets that are made of runs.

use super::io::Output;
use super::mode::Mode;
use crate::{Decision, Driver};

/// Source of a command. Data sets hold the number: a new source is added with a new number, and no number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlSource {
    /// The weak policy.
    Weak = 0,
    /// The strong policy.
    Strong = 1,
    /// A person who takes the strong policy's place.
    Operator = 2,
    /// None: an episode is on and no action is available, so the command comes to rest and stays there.
    Hold = 3,
}

impl ControlSource {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Weak, Self::Strong, Self::Operator, Self::Hold];

    /// Returns the name in data sets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Strong => "strong",
            Self::Operator => "operator",
            Self::Hold => "hold",
        }
    }

    /// Returns the number in data sets.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// Returns the source of a period's command; `None` where no episode is on.
    pub fn of(output: &Output) -> Option<Self> {
        match output.mode {
            Mode::Weak => Some(Self::Weak),
            Mode::Strong => Some(Self::Strong),
            Mode::Holding => Some(Self::Hold),
            Mode::Idle | Mode::SafeStop | Mode::EStop => None,
        }
    }
}

impl From<Driver> for ControlSource {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Weak => Self::Weak,
            Driver::Strong => Self::Strong,
        }
    }
}

/// Whether the backup has been called and control has not been handed back. An intervention begins with a fire, before the
/// backup's first action, or where the backup drives because the weak policy is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intervention(bool);

impl Intervention {
    /// Takes a control period of a robot. Returns whether the period belongs to an intervention.
    pub fn after_period(&mut self, output: &Output) -> bool {
        self.0 = match output.mode {
            Mode::Strong => true,
            // After a fire the robot holds still until the backup has an action.
            Mode::Holding => {
                output.decision.as_ref().map_or(self.0, |decision| decision.driver == Driver::Strong)
            }
            Mode::Weak | Mode::Idle | Mode::SafeStop | Mode::EStop => false,
        };
        self.0
    }

    /// Takes a boundary of an episode of an experiment, where a chunk is executed as soon as it is decided. Returns whether the
    /// boundary's chunk belongs to an intervention. That of an arm without a weak policy does not.
    pub fn after_boundary(&mut self, decision: &Decision) -> bool {
        self.0 = decision.driver == Driver::Strong && (self.0 || decision.handed_over);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Score, Thresholds};

    fn decision(driver: Driver, handed_over: bool) -> Decision {
        Decision {
            driver,
            wanted: driver,
            score: Score::new(0.5),
            reading: None,
            thresholds: Thresholds::NONE,
            guarded: false,
            armed: true,
            fired: handed_over,
            handed_over,
            budget_left: 1,
        }
    }

    #[test]
    fn numbers_and_names_of_sources_stay() {
        let all = ControlSource::ALL.map(|source| (source.number(), source.name()));
        assert_eq!(all, [(0, "weak"), (1, "strong"), (2, "operator"), (3, "hold")]);
    }

    #[test]
    fn an_intervention_lasts_from_the_fire_to_the_hand_back() {
        let mut intervention = Intervention::default();
        let mut after = |mode, driver: Option<Driver>| {
            let decision = driver.map(|driver| decision(driver, false));
            intervention.after_period(&Output { decision, ..Output::of(mode) })
        };
        // At the start of an episode, and where the weak policy's actions are used up, nobody has called the backup.
        assert!(!after(Mode::Holding, None));
        assert!(!after(Mode::Weak, Some(Driver::Weak)));
        assert!(!after(Mode::Holding, None));
        // A fire, the wait for the backup, its actions, and the hand-back.
        assert!(after(Mode::Holding, Some(Driver::Strong)));
        assert!(after(Mode::Holding, None));
        assert!(after(Mode::Strong, None));
        assert!(after(Mode::Holding, None));
        assert!(!after(Mode::Weak, Some(Driver::Weak)));
        // The strong policy in place of a lost weak one, without a decision.
        assert!(after(Mode::Strong, None));
        assert!(!after(Mode::SafeStop, None));
        assert!(!after(Mode::Holding, None));
    }

    #[test]
    fn an_arm_without_a_weak_policy_is_no_intervention() {
        let mut alone = Intervention::default();
        assert!(!alone.after_boundary(&decision(Driver::Strong, false)));
        let mut gated = Intervention::default();
        let boundaries =
            [(Driver::Weak, false), (Driver::Strong, true), (Driver::Strong, false), (Driver::Weak, true)];
        let found = boundaries.map(|(driver, handed)| gated.after_boundary(&decision(driver, handed)));
        assert_eq!(found, [false, true, true, false]);
    }

    #[test]
    fn a_period_without_an_episode_has_no_source() {
        let of = |mode| ControlSource::of(&Output::of(mode));
        assert_eq!(Mode::ALL.map(of).iter().flatten().count(), 3);
        assert_eq!(of(Mode::Holding), Some(ControlSource::Hold));
        assert_eq!(ControlSource::from(Driver::Strong), ControlSource::Strong);
    }
}
