//! Arms of an experiment: their names, which policies may drive in them, and by which rule control is handed over. The
//! boundaries of the yoked placebo are drawn here, given the number of fires of the twin that it is yoked to.

use std::fmt;

use aegis_core::gate::GateError;
use aegis_core::trigger::{DrawError, draw_boundaries};
use aegis_core::{Arbiter, Authority, GateLimits, Rule};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Name of the baseline arm that all other arms are compared with.
pub const WEAK: &str = "weak";
/// Name of the arm in which the gate decides who drives.
pub const AEGIS: &str = "aegis";

/// Name of an arm in tables and files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmName(String);

impl ArmName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the name can be a column, a key and a file name: 1 to 32 of a–z, 0–9 and _.
    pub fn is_plain(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        (1..=32).contains(&self.0.len()) && self.0.bytes().all(plain)
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

/// Authority to drive in an arm.
#[derive(Clone, Debug, PartialEq)]
pub enum Drive {
    /// The weak policy alone.
    Weak,
    /// The strong policy alone.
    Strong,
    /// The weak policy, until the rule fires and hands over to the strong policy.
    Rule(Rule),
    /// As `Rule` in a fraction of the episodes, drawn for each episode; the weak policy alone in the others.
    Fraction {
        /// The rule.
        rule: Rule,
        /// Fraction of the episodes, above 0 and at most 1.
        share: f64,
    },
    /// The weak policy alone; the rule's decisions are recorded but not obeyed.
    Shadow(Rule),
    /// The yoked placebo: as many fires as the named arm's twin had, at boundaries drawn uniformly among those at which
    /// the gate may fire, no two within one hold.
    Yoked(ArmName),
}

/// One arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Name.
    pub name: ArmName,
    /// Authority to drive.
    pub drive: Drive,
}

impl Arm {
    /// Returns the baseline arm, in which the weak policy drives alone.
    pub fn weak() -> Self {
        Self { name: WEAK.into(), drive: Drive::Weak }
    }

    /// Returns the arm in which the gate hands over by `rule`.
    pub fn aegis(rule: Rule) -> Self {
        Self { name: AEGIS.into(), drive: Drive::Rule(rule) }
    }

    /// Returns the arm in which the strong policy drives alone.
    pub fn strong() -> Self {
        Self { name: "strong".into(), drive: Drive::Strong }
    }

    /// Returns the arbiter at the start of an episode.
    ///
    /// # Errors
    /// [`GateError`] for invalid limits or an invalid rule, and for an arm that is drawn for each episode and has not
    /// been [drawn](crate::episode::fork::draw) yet.
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
            Drive::Fraction { share, .. } => {
                let found = format!("one that obeys its rule in a share of {share} of the episodes");
                return Err(GateError {
                    field: "arm",
                    found,
                    valid: "an arm that was drawn for its episode",
                });
            }
        }))
    }

    /// Returns whether the arm is drawn anew for each episode.
    pub fn is_drawn(&self) -> bool {
        matches!(self.drive, Drive::Yoked(_) | Drive::Fraction { .. })
    }

    /// Returns an arm with a fraction as it runs one episode, given a number drawn uniformly from `[0, 1)`; any other
    /// arm unchanged.
    pub fn shared(&self, drawn: f64) -> Self {
        match &self.drive {
            Drive::Fraction { rule, share } => {
                let rule = if drawn < *share { rule.clone() } else { Rule::Never {} };
                Self { name: self.name.clone(), drive: Drive::Rule(rule) }
            }
            _ => self.clone(),
        }
    }

    /// Returns a yoked arm for an episode whose twin fired `fires` times; any other arm unchanged.
    ///
    /// # Errors
    /// [`DrawError`] where `fires` fires do not fit into the episode. The twin's own fires show that they do.
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

/// Sorts arms into an order in which they can be run: the weak one first, a yoked one after every arm that it may be
/// yoked to.
pub fn running_order(mut arms: Vec<Arm>) -> Vec<Arm> {
    arms.sort_by_key(|arm| match &arm.drive {
        Drive::Yoked(_) => 2,
        _ if arm.name == *WEAK => 0,
        _ => 1,
    });
    arms
}
