//! The built-in rules by name, as a plan states them, and what stands behind each name.
//! Settings in, a rule at the start of an episode out.

use serde::{Deserialize, Serialize};

use super::{
    CostSettings, DisagreementSettings, Evidence, FunctionalBand, Schedule, Signal, Thresholds, Trend,
    TrendSettings, Trigger,
};
use crate::limits::{GateError, RULE_KIND};

/// A rule of a plan: `kind` names it, its settings stand beside.
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
    /// The distance between what both policies propose.
    Disagreement(DisagreementSettings),
    /// A schedule that reads nothing.
    Blind {
        /// When it fires.
        schedule: Schedule,
    },
    /// The yoked placebo: fires at boundaries that were drawn for this episode.
    Random {
        /// Indices of the boundaries, ascending. A plan leaves them out: the runner draws them for each episode.
        #[serde(default)]
        boundaries: Vec<u32>,
    },
    /// The strong policy drives from the first boundary at or after a control step on: no gate, no limits, no return.
    TakeOver {
        /// The control step.
        step: u32,
    },
    /// A gate that never fires.
    Never {},
}

impl Rule {
    /// The rule at the start of an episode, checked. `take_over` is none that a gate could bound, and refused.
    pub fn trigger(&self) -> Result<BuiltIn, GateError> {
        let trigger = match self {
            Self::Conformal(thresholds) => BuiltIn::Conformal(*thresholds),
            Self::FunctionalBand(band) => BuiltIn::FunctionalBand(band.clone()),
            Self::Cost(settings) => BuiltIn::Cost(settings.clone()),
            Self::Trend(settings) => BuiltIn::Trend(Trend::new(settings.clone())),
            Self::Disagreement(settings) => BuiltIn::Disagreement(*settings),
            Self::Blind { schedule } => BuiltIn::Schedule(schedule.clone()),
            Self::Random { boundaries } => BuiltIn::Schedule(Schedule::At(boundaries.clone())),
            Self::Never {} => BuiltIn::Schedule(Schedule::At(Vec::new())),
            Self::TakeOver { .. } => {
                return Err(GateError {
                    field: RULE_KIND,
                    found: "take_over".into(),
                    valid: "conformal, functional_band, cost, trend, disagreement, blind or never",
                });
            }
        };
        trigger.validate()?;
        Ok(trigger)
    }
}

/// Any built-in rule within one episode.
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
            Self::Schedule(trigger) => trigger.read(evidence),
        }
    }

    fn validate(&self) -> Result<(), GateError> {
        self.inner().validate()
    }

    fn needs_disagreement(&self) -> bool {
        self.inner().needs_disagreement()
    }
}
