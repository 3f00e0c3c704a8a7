//! Checks of `[study]`. Each error has the key, the value found and the valid values. Only settings that do not depend
//! on a probe are checked here; thresholds are checked once the probe exists.

use std::collections::BTreeSet;

use aegis_core::GateLimits;
use aegis_statistics::Over;

use super::{
    AA, AEGIS, BLIND, ContrastSettings, RANDOM, SHADOW, STRONG, Source, StudyError, StudySettings, TAKE_OVER,
    WEAK,
};
use crate::episode::arm::ArmName;
use aegis_probe::rules::RuleSettings;

/// Arms whose driver is determined by their name.
const WITHOUT_RULE: [&str; 5] = [WEAK, AA, STRONG, AEGIS, RANDOM];

impl StudySettings {
    /// Checks all settings. `gated` is the plan's `[rule]`, `gate` the gate's limits.
    pub fn validate(&self, gated: &RuleSettings, gate: &GateLimits) -> Result<(), StudyError> {
        self.check_arms()?;
        self.check_rules(gated, gate)?;
        self.check_contrasts()?;
        self.check_numbers()
    }

    fn check_arms(&self) -> Result<(), StudyError> {
        let mut seen = BTreeSet::new();
        for (index, name) in self.arms.iter().enumerate() {
            let field = format!("study.arms[{index}]");
            if !name.is_plain() {
                return Err(refused(field, format!("{:?}", name.as_str()), "1 to 32 of a–z, 0–9 and _"));
            }
            if !seen.insert(name) {
                return Err(refused(field, format!("{name} again"), "every arm once"));
            }
        }
        let has = |wanted: &str| self.arms.iter().any(|name| *name == *wanted);
        let listed = || self.arms.iter().map(ArmName::as_str).collect::<Vec<_>>().join(", ");
        if !has(WEAK) {
            return Err(refused(
                "study.arms",
                listed(),
                "a list with weak, which all others are compared with",
            ));
        }
        if has(RANDOM) && !has(AEGIS) {
            return Err(refused("study.arms", listed(), "random only with aegis, to which it is yoked"));
        }
        Ok(())
    }

    fn check_rules(&self, gated: &RuleSettings, gate: &GateLimits) -> Result<(), StudyError> {
        for (name, rule) in &self.rules {
            let field = format!("study.rules.{name}");
            if !self.arms.contains(name) {
                return Err(refused(
                    field,
                    "a rule of an arm that is not listed".into(),
                    "rules of arms in study.arms",
                ));
            }
            if WITHOUT_RULE.contains(&name.as_str()) {
                let valid = "no rule: aegis obeys the plan's [rule], weak, aa, strong and random have none";
                return Err(refused(field, "a rule of its own".into(), valid));
            }
            rule.validate().map_err(|(setting, reason)| {
                let field = format!("{field}.{setting}");
                StudyError { field, reason }
            })?;
            if let (SHADOW, Some(share)) = (name.as_str(), rule.share()) {
                let valid = "no share: the decisions of a shadow are recorded in every episode";
                return Err(refused(field + ".share", share.to_string(), valid));
            }
            let kind = match (name.as_str(), rule) {
                (BLIND, RuleSettings::Blind { .. }) | (TAKE_OVER, RuleSettings::TakeOver { .. }) => None,
                (BLIND, _) => Some("kind = \"blind\", which reads no score"),
                (TAKE_OVER, _) => Some("kind = \"take_over\""),
                _ => None,
            };
            if let Some(valid) = kind {
                return Err(refused(field + ".kind", "another kind".into(), valid));
            }
            if let RuleSettings::TakeOver { step } = rule
                && *step >= gate.horizon_steps
            {
                let valid = &format!("below gate.horizon_steps, {}", gate.horizon_steps);
                return Err(refused(field + ".step", step.to_string(), valid));
            }
        }
        for name in &self.arms {
            if let Source::Shadow(RuleSettings::TakeOver { .. }) = self.source(name, gated)? {
                let field = format!("study.rules.{SHADOW}");
                return Err(refused(
                    field,
                    "take_over".into(),
                    "a rule with a gate, whose decisions can be recorded",
                ));
            }
        }
        Ok(())
    }

    fn check_contrasts(&self) -> Result<(), StudyError> {
        if self.contrasts.is_empty() {
            return Err(refused("study.contrasts", "none".into(), "one or more"));
        }
        let mut seen = Vec::new();
        for (index, contrast) in self.contrasts.iter().enumerate() {
            let ContrastSettings { better, than, .. } = contrast;
            let field = format!("study.contrasts[{index}]");
            for (side, name) in [("better", better), ("than", than)] {
                let valid = "an arm of study.arms except aa and shadow, which drive as weak does";
                if !self.arms.contains(name) || [AA, SHADOW].contains(&name.as_str()) {
                    return Err(refused(format!("{field}.{side}"), name.to_string(), valid));
                }
            }
            if better == than {
                return Err(refused(field, format!("{better} on both sides"), "two arms"));
            }
            if seen.contains(&(better, than)) || seen.contains(&(than, better)) {
                return Err(refused(field, format!("{better} and {than} again"), "every pair of arms once"));
            }
            if contrast.over() == Over::WeakLost && [better, than].iter().any(|name| **name == *WEAK) {
                let valid = "all, because weak won none of the episodes that weak lost";
                return Err(refused(field + ".over", "weak_lost against weak".into(), valid));
            }
            seen.push((better, than));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), StudyError> {
        let open = |value: f64| value > 0.0 && value < 1.0;
        let closed = |value: f64| (0.0..=1.0).contains(&value);
        let finite = |value: f64| value >= 0.0 && value.is_finite();
        let (bootstrap, tolerance, kill) = (self.bootstrap, self.budget_tolerance, self.kill);
        let (unit, distance) = ("above 0, below 1", "0 or more, and finite");
        let floor = self.precondition.map_or(0.0, |precondition| precondition.auroc_floor);
        for (field, ok, found, valid) in [
            ("precondition.auroc_floor", closed(floor), floor, "0 to 1"),
            ("alpha", open(self.alpha), self.alpha, unit),
            ("bootstrap.replicates", bootstrap.replicates >= 100, bootstrap.replicates as f64, "100 or more"),
            ("bootstrap.level", open(bootstrap.level), bootstrap.level, unit),
            ("budget_tolerance.duty_points", finite(tolerance.duty_points), tolerance.duty_points, distance),
            ("budget_tolerance.fires", finite(tolerance.fires), tolerance.fires, distance),
            ("kill.auroc_floor", closed(kill.auroc_floor), kill.auroc_floor, "0 to 1"),
            (
                "kill.duty_mismatch_points",
                finite(kill.duty_mismatch_points),
                kill.duty_mismatch_points,
                distance,
            ),
            ("kill.harm_cap", closed(kill.harm_cap), kill.harm_cap, "0 to 1"),
        ] {
            if !ok {
                return Err(refused(format!("study.{field}"), found.to_string(), valid));
            }
        }
        Ok(())
    }
}

/// Returns the error about a setting, with the uniform message.
pub(crate) fn refused(field: impl Into<String>, found: String, valid: &str) -> StudyError {
    StudyError { field: field.into(), reason: format!("found {found}; valid is {valid}") }
}
