//! The arms of an experiment by name: who may drive, and by which rule.
//! The yoked placebo is drawn here, from the twin that it is yoked to.

use std::fmt;

use aegis_core::gate::GateError;
use aegis_core::trigger::{DrawError, draw_boundaries};
use aegis_core::{Arbiter, Authority, GateLimits, Rule};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Name of the arm that all others are held against.
pub const WEAK: &str = "weak";
/// Name of the arm that the gate drives.
pub const AEGIS: &str = "aegis";

/// An arm's name in tables and files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmName(String);

impl ArmName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ArmName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl PartialEq<str> for ArmName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl fmt::Display for ArmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may drive.
#[derive(Clone, Debug, PartialEq)]
pub enum Drive {
    /// The weak policy alone.
    Weak,
    /// The strong policy alone.
    Strong,
    /// The weak policy, backed up by the strong one when the rule fires.
    Rule(Rule),
    /// As `Rule` in a share of the episodes, drawn for each, and the weak policy alone in the others.
    StateRange {
        /// The rule.
        rule: Rule,
        /// Above 0, at most 1.
        share: f64,
    },
    /// The weak policy; the rule only notes what it would have done.
    Shadow(Rule),
    /// The placebo: as many fires as this arm's twin had, at boundaries drawn uniformly among those at which the gate
    /// may fire, no two within one hold.
    Yoked(ArmName),
}

/// One arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its name.
    pub name: ArmName,
    /// Who may drive in it.
    pub drive: Drive,
}

impl Arm {
    /// The arm that all others are held against.
    pub fn weak() -> Self {
        Self { name: WEAK.into(), drive: Drive::Weak }
    }

    /// The gated arm.
    pub fn aegis(rule: Rule) -> Self {
        Self { name: AEGIS.into(), drive: Drive::Rule(rule) }
    }

    /// The strong policy alone.
    pub fn strong() -> Self {
        Self { name: "strong".into(), drive: Drive::Strong }
    }

    /// The arbiter at the start of an episode. An arm that is drawn for each episode has none before it
    /// [is](crate::fork::draw).
    pub fn arbiter(&self, limits: &GateLimits) -> Result<Arbiter, GateError> {
        Ok(Arbiter::new(match &self.drive {
            Drive::Weak => Authority::WeakOnly,
            Drive::Strong => Authority::StrongOnly,
            Drive::Rule(rule) => Authority::from_rule(rule, limits, false)?,
            Drive::Shadow(rule) => Authority::from_rule(rule, limits, true)?,
            Drive::Yoked(to) => {
                let valid = "an arm whose boundaries were drawn";
                return Err(GateError { field: "arm", found: format!("one yoked to {to}"), valid });
            }
            Drive::StateRange { share, .. } => {
                let found = format!("one that obeys its rule in a share of {share} of the episodes");
                return Err(GateError {
                    field: "arm",
                    found,
                    valid: "an arm that was drawn for its episode",
                });
            }
        }))
    }

    /// Whether it is drawn anew for each episode.
    pub fn is_drawn(&self) -> bool {
        matches!(self.drive, Drive::Yoked(_) | Drive::StateRange { .. })
    }

    /// An arm with a share for one episode, by a number that was drawn uniformly from 0 to below 1; any other as it is.
    pub fn shared(&self, drawn: f64) -> Self {
        match &self.drive {
            Drive::StateRange { rule, share } => {
                let rule = if drawn < *share { rule.clone() } else { Rule::Never {} };
                Self { name: self.name.clone(), drive: Drive::Rule(rule) }
            }
            _ => self.clone(),
        }
    }

    /// A yoked arm for an episode whose twin fired so often; any other arm as it is.
    ///
    /// # Errors
    /// [`DrawError`] where so many fires do not fit, which the twin's own fires show that they do.
    pub fn yoked(
        &self,
        fires: u32,
        limits: &GateLimits,
        generator: &mut impl Rng,
    ) -> Result<Self, DrawError> {
        if !matches!(self.drive, Drive::Yoked(_)) {
            return Ok(self.clone());
        }
        let allowed: Vec<u32> = (0..limits.horizon_steps.div_ceil(limits.chunk_steps))
            .filter(|boundary| limits.may_fire_at(boundary * limits.chunk_steps))
            .collect();
        let mut uniform = |below: u64| generator.random_range(0..below);
        let boundaries = draw_boundaries(&allowed, fires as usize, limits.fire_gap(), &mut uniform)?;
        Ok(Self { name: self.name.clone(), drive: Drive::Rule(Rule::Random { boundaries }) })
    }
}

/// Arms in an order in which they can be run: the weak one first, a yoked one after all that it may be yoked to.
pub fn running_order(mut arms: Vec<Arm>) -> Vec<Arm> {
    arms.sort_by_key(|arm| match &arm.drive {
        Drive::Yoked(_) => 2,
        _ if arm.name == *WEAK => 0,
        _ => 1,
    });
    arms
}
