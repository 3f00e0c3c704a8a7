//! Settings of the table `[study]` of a plan: arms, contrasts, tests and kill criteria, all fixed before the
//! confirmation episodes run. This module has the settings and the values derived from them; the checks are in
//! `study/check.rs`.

mod check;
mod fires;
mod kill;
mod precondition;

use std::collections::BTreeMap;

use aegis_core::Rule;
use aegis_statistics::{Bootstrap, Method, Over, Tolerance};
use serde::{Deserialize, Serialize};

use crate::episode::arm::{AEGIS, Arm, ArmName, Drive, WEAK};
use aegis_probe::rules::RuleSettings;

pub(crate) use check::refused;
pub(crate) use fires::check_gate_fires;
pub use kill::{Judged, Kill, Quantities};
pub use precondition::{Fresh, PreconditionSettings};

/// Name of the arm in which the strong policy drives alone.
pub const STRONG: &str = "strong";
/// Name of the yoked placebo.
pub const RANDOM: &str = "random";
/// Name of the arm whose gate follows a schedule and does not read the probe.
pub const BLIND: &str = "blind";
/// Name of the arm whose gate decides but is not obeyed.
pub const SHADOW: &str = "shadow";
/// Name of the arm in which the strong policy drives from a fixed control step on.
pub const TAKE_OVER: &str = "take_over";
/// Name of the copy of the weak arm, whose results must be bitwise equal to the weak arm's.
pub const AA: &str = "aa";

/// Settings of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySettings {
    /// Arms in the order of tables: names known to this module, and other names with a rule of their own.
    pub arms: Vec<ArmName>,
    /// Rules of arms that have their own, by the arm's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<ArmName, RuleSettings>,
    /// Family-wise level of the contrasts.
    pub alpha: f64,
    /// Family of contrasts, in order.
    pub contrasts: Vec<ContrastSettings>,
    /// Settings of the bootstrap intervals.
    pub bootstrap: BootstrapSettings,
    /// Largest differences between the budgets of two arms at which their contrast is valid.
    pub budget_tolerance: BudgetTolerance,
    /// Precondition of the first confirmation episode; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<PreconditionSettings>,
    /// Criteria under which the whole experiment is void.
    pub kill: Kill,
    /// Whether contrasts are also tested by an e-process, which may be inspected at any time.
    #[serde(default)]
    pub sequential: bool,
}

/// Contrast: the claim that one arm wins more episodes than another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastSettings {
    /// Arm that is claimed to win more.
    pub better: ArmName,
    /// Arm of the comparison.
    pub than: ArmName,
    /// Episodes that the contrast covers; see [`ContrastSettings::over`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

impl ContrastSettings {
    /// Returns which episodes the contrast covers: as stated; otherwise all episodes for a contrast with the weak arm,
    /// and otherwise those that the weak arm lost.
    pub fn over(&self) -> Over {
        self.over.unwrap_or(if self.than == *WEAK { Over::All } else { Over::WeakLost })
    }
}

/// Settings of every bootstrap of a report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapSettings {
    /// Number of resamples, at least 100.
    pub replicates: u64,
    /// Seed of the resamples' random streams.
    pub seed: u64,
    /// Two-sided confidence level.
    pub level: f64,
    /// Method, percentile (the default) or BCa.
    #[serde(default = "percentile")]
    pub method: Method,
}

impl BootstrapSettings {
    /// Returns the settings as the statistics take them.
    pub fn bootstrap(self) -> Bootstrap {
        let Self { replicates, seed, level, method } = self;
        Bootstrap { replicates, seed, confidence: level, method }
    }
}

fn percentile() -> Method {
    Method::Percentile
}

/// Denominator of the duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyOf {
    /// The control steps that an arm's episodes took. Success ends an episode, so the arm that wins more has the higher
    /// duty.
    #[default]
    Steps,
    /// The horizon of every episode: the use of the strong policy relative to its largest possible use, independent of
    /// outcomes.
    Horizon,
}

/// Largest differences between budgets, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetTolerance {
    /// Duty, in percentage points of control steps.
    pub duty_points: f64,
    /// Denominator of the duty in comparisons of budgets.
    #[serde(default)]
    pub duty_of: DutyOf,
    /// Fires per episode.
    pub fires: f64,
}

/// Error about a setting of a study that is invalid or missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct StudyError {
    /// Dotted key in the plan.
    pub field: String,
    /// Value found and the valid values.
    pub reason: String,
}

/// Source of an arm's driver.
#[derive(PartialEq)]
pub(crate) enum Source<'a> {
    Weak,
    Strong,
    /// The rule, which is obeyed.
    Rule(&'a RuleSettings),
    /// The rule, which is recorded but not obeyed.
    Shadow(&'a RuleSettings),
    Yoked,
}

impl StudySettings {
    /// Returns the arms in their order. `gated` is the plan's `[rule]`; `rule` adds the thresholds of a probe to
    /// settings.
    ///
    /// # Errors
    /// An arm that lacks a rule; a plan that was loaded has none.
    pub fn arms(
        &self,
        gated: &RuleSettings,
        rule: impl Fn(&RuleSettings) -> Rule,
    ) -> Result<Vec<Arm>, StudyError> {
        let arm = |name: &ArmName| {
            let drive = match self.source(name, gated)? {
                Source::Weak => Drive::Weak,
                Source::Strong => Drive::Strong,
                Source::Rule(settings) => match settings.share() {
                    Some(share) => Drive::Fraction { rule: rule(settings), share },
                    None => Drive::Rule(rule(settings)),
                },
                Source::Shadow(settings) => Drive::Shadow(rule(settings)),
                Source::Yoked => Drive::Yoked(AEGIS.into()),
            };
            Ok(Arm { name: name.clone(), drive })
        };
        self.arms.iter().map(arm).collect()
    }

    /// Returns the settings of every bootstrap.
    pub fn bootstrap(&self) -> Bootstrap {
        self.bootstrap.bootstrap()
    }

    /// Returns the budget tolerance, with the duty as a fraction.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance { fires: self.budget_tolerance.fires, duty: self.budget_tolerance.duty_points / 100.0 }
    }

    pub(crate) fn source<'a>(
        &'a self,
        name: &ArmName,
        gated: &'a RuleSettings,
    ) -> Result<Source<'a>, StudyError> {
        let own = self.rules.get(name);
        Ok(match name.as_str() {
            WEAK | AA => Source::Weak,
            STRONG => Source::Strong,
            AEGIS => Source::Rule(gated),
            RANDOM => Source::Yoked,
            SHADOW => Source::Shadow(own.unwrap_or(gated)),
            other => {
                Source::Rule(
                    own.ok_or_else(|| StudyError {
                        field: format!("study.rules.{other}"),
                        reason:
                            "found none; valid is a rule, because an arm of this name needs one of its own"
                                .into(),
                    })?,
                )
            }
        })
    }
}
