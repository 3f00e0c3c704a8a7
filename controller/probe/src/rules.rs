//! Rules of a plan: the plan names them, and their thresholds come from the probe's calibration. For evaluation, the
//! same gate runs over stored rollouts and returns when each rule would have fired first.

use aegis_core::gate::GateError;
use aegis_core::trigger::{
    BenefitSettings, BuiltIn, CostSettings, DisagreementSettings, FunctionalBand, Rule, Schedule,
    TrendSettings, Trigger,
};
use aegis_core::{Gate, GateLimits, Readings, Thresholds};
use serde::{Deserialize, Serialize};

use crate::calibration::{Calibration, Scored};

/// Rule of the gate, as a table of a plan. Thresholds that come from the calibration are not repeated here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleSettings {
    /// Fires when the probe's score exceeds its conformal threshold.
    Conformal {},
    /// Fires when the score exceeds the threshold of the current boundary.
    FunctionalBand {},
    /// Fires when the calibrated probability of failure exceeds the threshold that follows from the costs of both
    /// errors.
    Cost {
        /// Cost of not handing over in an episode that then fails.
        missed_failure: f64,
        /// Cost of handing over in an episode in which the weak policy would have succeeded.
        false_alarm: f64,
    },
    /// Fires on a rise of the score that is steeper than in successful episodes, with a cap on changes of driver.
    Trend {
        /// Changes of driver per episode, in either direction.
        switch_cap: u32,
    },
    /// Fires on the distance between both policies' chunks.
    Disagreement {},
    /// Fires where the predicted benefit of a hold exceeds its price.
    Benefit {
        /// Gain in the probability of success that a hold has to promise: one price, or one for each chunk boundary, of which the
        /// last applies to later ones.
        price: Price,
    },
    /// Fires where the risk exceeds a threshold of the plan's own.
    Risk {
        /// Threshold on the risk, 0 to 1.
        threshold: f64,
    },
    /// Fires where the risk exceeds a threshold that was set so that a quantity stays at or below a level.
    RiskControl {
        /// Threshold on the risk, as `aegis forks control` sets it.
        threshold: f64,
        /// Quantity that is controlled.
        of: Controlled,
        /// Level of the quantity.
        level: f64,
        /// Probability of a calibration with whose threshold the quantity exceeds the level.
        delta: f64,
    },
    /// Fires on a schedule, without reading a score.
    Blind {
        /// Schedule of the fires.
        schedule: Schedule,
        /// Fraction of the episodes in which the rule is obeyed, drawn for each episode; all of them where omitted. It
        /// matches the budget to that of a gate that does not fire in every episode.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<f64>,
    },
    /// The strong policy drives from a control step on.
    TakeOver {
        /// First control step of the strong policy.
        step: u32,
    },
    /// Never fires.
    Never {},
}

/// Quantity that a rule controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controlled {
    /// Share of the episodes that the weak policy wins and that are lost with the gate.
    Breakage,
    /// Strong steps as a share of all episodes' horizons.
    Duty,
}

impl Controlled {
    /// Returns the quantity in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Breakage => "the share of the weak policy's wins that are lost",
            Self::Duty => "the duty, as a share of the horizons",
        }
    }
}

/// Price of a hold: a gain in the probability of success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Price {
    /// The same at every boundary.
    Fixed(f64),
    /// One for each boundary, by index from zero.
    Timed(Vec<f64>),
}

impl Price {
    /// Returns the prices by boundary; the last one applies to later boundaries.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::Fixed(price) => std::slice::from_ref(price),
            Self::Timed(prices) => prices,
        }
    }
}

impl RuleSettings {
    /// Checks the settings that do not depend on a calibration; the error names the setting within the rule's table.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        match self {
            Self::Cost { missed_failure, false_alarm } => {
                for (field, cost) in [("missed_failure", *missed_failure), ("false_alarm", *false_alarm)] {
                    if !(cost > 0.0 && cost.is_finite()) {
                        return Err((field, format!("found {cost}; valid is finite, above 0")));
                    }
                }
                Ok(())
            }
            Self::Trend { switch_cap } if *switch_cap < 2 => {
                Err(("switch_cap", format!("found {switch_cap}; valid is 2 or more")))
            }
            Self::Risk { threshold } if !(0.0..=1.0).contains(threshold) => {
                Err(("threshold", format!("found {threshold}; valid is 0 to 1, a risk of failure")))
            }
            Self::RiskControl { threshold, level, delta, .. } => {
                for (field, value) in [("threshold", threshold), ("level", level), ("delta", delta)] {
                    if !(*value >= 0.0 && *value <= 1.0) {
                        return Err((field, format!("found {value}; valid is 0 to 1")));
                    }
                }
                Ok(())
            }
            Self::Benefit { price } => {
                let values = price.values();
                if values.is_empty() {
                    return Err((
                        "price",
                        "found no values; valid is a number, or one for each boundary".into(),
                    ));
                }
                match values.iter().find(|price| !(price.is_finite() && (0.0..=1.0).contains(*price))) {
                    Some(found) => Err((
                        "price",
                        format!("found {found}; valid is 0 to 1, a gain in the probability of success"),
                    )),
                    None => Ok(()),
                }
            }
            Self::Blind { share: Some(share), .. } if !(*share > 0.0 && *share <= 1.0) => {
                Err(("share", format!("found {share}; valid is above 0, at most 1")))
            }
            Self::Blind { schedule, .. } => schedule.validate().map_err(|error| {
                let field = match schedule {
                    Schedule::Every { .. } => "schedule.every.period",
                    Schedule::At(_) => "schedule.at",
                };
                (field, format!("found {}; valid is {}", error.found, error.valid))
            }),
            _ => Ok(()),
        }
    }

    /// Returns the fraction of the episodes in which the rule is obeyed; `None` where it is obeyed in all of them.
    pub fn share(&self) -> Option<f64> {
        match self {
            Self::Blind { share, .. } => *share,
            _ => None,
        }
    }

    /// Returns the rule with the thresholds of a calibrated probe; a slope is taken over `window` scores.
    pub fn rule(&self, calibration: &Calibration, window: usize) -> Rule {
        let Calibration { threshold, return_threshold, .. } = *calibration;
        match self {
            Self::Conformal {} => Rule::Conformal(calibration.thresholds()),
            Self::FunctionalBand {} => {
                let upper = &calibration.band.upper;
                let lowest = upper.iter().copied().fold(f64::INFINITY, f64::min);
                Rule::FunctionalBand(FunctionalBand {
                    upper: upper.clone(),
                    hand_back: return_threshold.min(lowest),
                })
            }
            Self::Cost { missed_failure, false_alarm } => {
                let settings = CostSettings {
                    cost_of_missed_failure: *missed_failure,
                    cost_of_false_alarm: *false_alarm,
                    hand_back: 0.0,
                    calibrator: calibration.calibrator,
                };
                let calm = calibration.calibrator.probability(aegis_core::Score::new(return_threshold));
                Rule::Cost(CostSettings { hand_back: calm.min(settings.threshold()), ..settings })
            }
            // An infinite threshold, from too few successful episodes or too short ones, becomes the largest or least number.
            Self::Trend { switch_cap } => Rule::Trend(TrendSettings {
                window,
                slope: calibration.slope.clamp(f64::MIN, f64::MAX),
                // A rise below the hand-back level must not fire, since control would be handed back at once.
                floor: return_threshold.min(threshold).clamp(f64::MIN, f64::MAX),
                hand_back: return_threshold.clamp(f64::MIN, f64::MAX),
                switch_cap: *switch_cap,
            }),
            // A probe without these thresholds gives settings that every gate refuses with the reason.
            Self::Disagreement {} => Rule::Disagreement(DisagreementSettings {
                fire: calibration.disagreement.unwrap_or(f64::NAN),
                hand_back: calibration.disagreement_return.unwrap_or(f64::NAN),
            }),
            Self::Risk { threshold } | Self::RiskControl { threshold, .. } => {
                Rule::Conformal(Thresholds { fire: *threshold, hand_back: return_threshold.min(*threshold) })
            }
            Self::Benefit { price } => Rule::Benefit(BenefitSettings { prices: price.values().to_vec() }),
            Self::Blind { schedule, .. } => Rule::Blind { schedule: schedule.clone() },
            Self::TakeOver { step } => Rule::TakeOver { step: *step },
            Self::Never {} => Rule::Never {},
        }
    }
}

/// Returns the control step at which the gate with this rule would have fired first in an episode of the weak policy.
pub fn first_fire(rule: &BuiltIn, limits: &GateLimits, episode: &Scored) -> Result<Option<u32>, GateError> {
    let mut gate = Gate::new(limits.clone(), rule.clone())?;
    let mut boundaries = episode.steps.iter().zip(&episode.scores).enumerate();
    Ok(boundaries.find_map(|(index, (step, score))| {
        let distance = episode.disagreement.get(index).copied();
        let readings = Readings { disagreement: distance, ..(*score).into() };
        gate.boundary(*step, readings).fired.then_some(*step)
    }))
}
