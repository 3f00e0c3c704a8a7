//! The `[study]` of a plan: arms, contrasts, tests and kill criteria, said before any episode counts.
//! Settings and what they stand for; what is refused is in `study/check.rs`.

mod check;
mod fires;
mod kill;
mod precondition;

use std::collections::BTreeMap;

use aegis_core::Rule;
use aegis_statistics::{Bootstrap, Method, Over, Tolerance};
use serde::{Deserialize, Serialize};

use crate::arm::{AEGIS, Arm, ArmName, Drive, WEAK};
use crate::probe::rules::RuleSettings;

pub(crate) use check::refused;
pub use kill::{Judged, Kill, Quantities};
pub use precondition::{Fresh, PreconditionSettings};

/// Name of the arm that the strong policy drives alone.
pub const STRONG: &str = "strong";
/// Name of the yoked placebo.
pub const RANDOM: &str = "random";
/// Name of the arm whose schedule does not read the probe.
pub const BLIND: &str = "blind";
/// Name of the arm whose gate decides and is not obeyed.
pub const SHADOW: &str = "shadow";
/// Name of the arm that the strong policy drives from a fixed step on.
pub const TAKE_OVER: &str = "take_over";
/// Name of the weak arm's copy, which must come out bitwise equal to it.
pub const AA: &str = "aa";

/// A study as its plan states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySettings {
    /// Arms, in the order of tables: names that this module knows, and any other that has a rule of its own.
    pub arms: Vec<ArmName>,
    /// Rules of arms that have one of their own, by the arm's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<ArmName, RuleSettings>,
    /// Family-wise level of the contrasts.
    pub alpha: f64,
    /// The family, in its order.
    pub contrasts: Vec<ContrastSettings>,
    /// How intervals are made.
    pub bootstrap: BootstrapSettings,
    /// How far apart the budgets of two arms may be before their contrast is void.
    pub budget_tolerance: BudgetTolerance,
    /// What has to hold before the first episode that counts; nothing where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<PreconditionSettings>,
    /// When the experiment as a whole is void.
    pub kill: Kill,
    /// Whether contrasts are also tested by the e-process, which may be looked at at any time.
    #[serde(default)]
    pub sequential: bool,
}

/// One contrast: the claim that one arm wins more episodes than another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastSettings {
    /// The arm that is claimed to win more.
    pub better: ArmName,
    /// The arm that it is compared with.
    pub than: ArmName,
    /// Over which episodes; see [`ContrastSettings::over`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

impl ContrastSettings {
    /// Over which episodes: as stated, else over those that weak lost, and over all against weak itself.
    pub fn over(&self) -> Over {
        self.over.unwrap_or(if self.than == *WEAK { Over::All } else { Over::WeakLost })
    }
}

/// Settings of every bootstrap of a report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapSettings {
    /// Resamples, at least 100.
    pub replicates: u64,
    /// Seed of their streams.
    pub seed: u64,
    /// Two-sided confidence level.
    pub level: f64,
    /// Percentile, where nothing is said, or BCa.
    #[serde(default = "percentile")]
    pub method: Method,
}

fn percentile() -> Method {
    Method::Percentile
}

/// Of which steps duty is a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyOf {
    /// Of those that an arm's episodes took. Winning ends an episode, so the arm that wins more has the higher share.
    #[default]
    Steps,
    /// Of the horizon of every episode: what was spent of what could have been, whatever came of it.
    Horizon,
}

/// How far apart budgets may be, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetTolerance {
    /// Duty, in percentage points of control steps.
    pub duty_points: f64,
    /// Of which steps duty is a share where budgets are compared.
    #[serde(default)]
    pub duty_of: DutyOf,
    /// Fires per episode.
    pub fires: f64,
}

/// A setting of a study that is refused, or that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct StudyError {
    /// The key within the plan.
    pub field: String,
    /// What was found and what would be valid.
    pub reason: String,
}

/// Where an arm's driver comes from.
#[derive(PartialEq)]
pub(crate) enum Source<'a> {
    Weak,
    Strong,
    /// The rule, obeyed.
    Rule(&'a RuleSettings),
    /// The rule, for the record.
    Shadow(&'a RuleSettings),
    Yoked,
}

impl StudySettings {
    /// The arms in their order. `gated` is the plan's `[rule]`; `rule` gives settings the thresholds of a probe.
    ///
    /// # Errors
    /// An arm without its rule, which a plan that was loaded does not have.
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
                    Some(share) => Drive::StateRange { rule: rule(settings), share },
                    None => Drive::Rule(rule(settings)),
                },
                Source::Shadow(settings) => Drive::Shadow(rule(settings)),
                Source::Yoked => Drive::Yoked(AEGIS.into()),
            };
            Ok(Arm { name: name.clone(), drive })
        };
        self.arms.iter().map(arm).collect()
    }

    /// The settings of every bootstrap.
    pub fn bootstrap(&self) -> Bootstrap {
        let BootstrapSettings { replicates, seed, level, method } = self.bootstrap;
        Bootstrap { replicates, seed, confidence: level, method }
    }

    /// The budget's tolerance, duty as a share.
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
            other => Source::Rule(own.ok_or_else(|| StudyError {
                field: format!("study.rules.{other}"),
                reason: "missing; an arm by this name needs a rule of its own".into(),
            })?),
        })
    }
}
