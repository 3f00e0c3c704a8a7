//! Built-in rules: their names and settings in a plan, and the state of each within an episode.
//! [`Rule::trigger`] turns the settings into the state at the start of an episode.

use serde::{Deserialize, Serialize};

use super::{
    BenefitSettings, CostSettings, DisagreementSettings, Evidence, FunctionalBand, Schedule, Signal,
    Thresholds, Trend, TrendSettings, Trigger,
};
use crate::limits::{GateError, RULE_KIND};
use crate::probe::Score;

/// The largest risk that a probe returns.
const HIGHEST_SCORE: f64 = 1.0;

/// Whether a rule's threshold can be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Some evidence exceeds the threshold, or there is none.
    Reachable,
    /// No evidence exceeds the threshold.
    Unreachable,
    /// The costs ask for a probability of failure that the calibrated probe never gives.
    Costs {
        /// Probability of failure above which the rule fires.
        needed: f64,
        /// Probability of failure at the highest score.
        most: f64,
    },
}

/// Rule of a plan: `kind` names the rule, and its settings are further keys of the same table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Fixed thresholds on the score.
    Conformal(Thresholds),
    /// A threshold for each chunk boundary.
    FunctionalBand(FunctionalBand),
    /// A threshold from the costs of both errors, on the calibrated score.
    Cost(CostSettings),
    /// A fast rise of the score.
    Trend(TrendSettings),
    /// The distance between both policies' chunks.
    Disagreement(DisagreementSettings),
    /// The predicted benefit of a hold against its price.
    Benefit(BenefitSettings),
    /// A schedule that reads nothing.
    Blind {
        /// When it fires.
        schedule: Schedule,
    },
    /// The yoked placebo: fires at boundaries that were drawn at random for this episode.
    Random {
        /// Indices of the boundaries, ascending. A plan omits them: the runner draws them for each episode.
        #[serde(default)]
        boundaries: Vec<u32>,
    },
    /// The strong policy drives from the first boundary at or after a control step to the end: no gate, no limits, no return.
    TakeOver {
        /// The control step.
        step: u32,
    },
    /// A gate that never fires.
    Never {},
}

impl Rule {
    /// Returns the rule's state at the start of an episode, after checking its settings.
    ///
    /// # Errors
    /// [`GateError`] for invalid settings, and for `take_over`, which has no gate.
    pub fn trigger(&self) -> Result<BuiltIn, GateError> {
        let trigger = match self {
            Self::Conformal(thresholds) => BuiltIn::Conformal(*thresholds),
            Self::FunctionalBand(band) => BuiltIn::FunctionalBand(band.clone()),
            Self::Cost(settings) => BuiltIn::Cost(settings.clone()),
            Self::Trend(settings) => BuiltIn::Trend(Trend::new(settings.clone())),
            Self::Disagreement(settings) => BuiltIn::Disagreement(*settings),
            Self::Benefit(settings) => BuiltIn::Benefit(settings.clone()),
            Self::Blind { schedule } => BuiltIn::Schedule(schedule.clone()),
            Self::Random { boundaries } => BuiltIn::Schedule(Schedule::At(boundaries.clone())),
            Self::Never {} => BuiltIn::Schedule(Schedule::At(Vec::new())),
            Self::TakeOver { .. } => {
                return Err(GateError {
                    field: RULE_KIND,
                    found: "take_over".into(),
                    valid: "conformal, functional_band, cost, trend, disagreement, benefit, blind or never",
                });
            }
        };
        trigger.validate()?;
        Ok(trigger)
    }

    /// Returns whether any evidence can exceed the rule's threshold. A rule without a threshold counts as reachable.
    pub fn reach(&self) -> Reach {
        let unreachable = match self {
            Self::Conformal(thresholds) => thresholds.fire >= HIGHEST_SCORE,
            Self::FunctionalBand(band) => band.upper.iter().all(|upper| *upper >= HIGHEST_SCORE),
            Self::Trend(trend) => trend.slope >= f64::MAX,
            Self::Disagreement(distances) => distances.fire == f64::INFINITY,
            // No benefit exceeds 1.
            Self::Benefit(settings) => settings.prices.iter().all(|price| *price >= 1.0),
            Self::Cost(costs) => {
                let most = costs.calibrator.probability(Score::new(HIGHEST_SCORE));
                let needed = costs.threshold();
                return if most > needed { Reach::Reachable } else { Reach::Costs { needed, most } };
            }
            Self::Blind { .. } | Self::Random { .. } | Self::TakeOver { .. } | Self::Never {} => false,
        };
        if unreachable { Reach::Unreachable } else { Reach::Reachable }
    }
}

/// State of a built-in rule within one episode.
#[derive(Clone, Debug, PartialEq)]
pub enum BuiltIn {
    /// See [`Rule::Conformal`].
    Conformal(Thresholds),
    /// See [`Rule::FunctionalBand`].
    FunctionalBand(FunctionalBand),
    /// See [`Rule::Cost`].
    Cost(CostSettings),
    /// See [`Rule::Trend`].
    Trend(Trend),
    /// See [`Rule::Disagreement`].
    Disagreement(DisagreementSettings),
    /// See [`Rule::Benefit`].
    Benefit(BenefitSettings),
    /// See [`Rule::Blind`], [`Rule::Random`] and [`Rule::Never`].
    Schedule(Schedule),
}

impl BuiltIn {
    fn inner(&self) -> &dyn Trigger {
        match self {
            Self::Conformal(trigger) => trigger,
            Self::FunctionalBand(trigger) => trigger,
            Self::Cost(trigger) => trigger,
            Self::Trend(trigger) => trigger,
            Self::Disagreement(trigger) => trigger,
            Self::Benefit(trigger) => trigger,
            Self::Schedule(trigger) => trigger,
        }
    }
}

impl Trigger for BuiltIn {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        match self {
            Self::Conformal(trigger) => trigger.read(evidence),
            Self::FunctionalBand(trigger) => trigger.read(evidence),
            Self::Cost(trigger) => trigger.read(evidence),
            Self::Trend(trigger) => trigger.read(evidence),
            Self::Disagreement(trigger) => trigger.read(evidence),
            Self::Benefit(trigger) => trigger.read(evidence),
            Self::Schedule(trigger) => trigger.read(evidence),
        }
    }

    fn validate(&self) -> Result<(), GateError> {
        self.inner().validate()
    }

    fn needs_disagreement(&self) -> bool {
        self.inner().needs_disagreement()
    }

    fn needs_benefit(&self) -> bool {
        self.inner().needs_benefit()
    }
}
