//! Refuses arms whose gate can never fire before the plan is frozen, because they answer no question. The error
//! about limits, schedules or thresholds names the setting that prevents every fire and its valid values.

use aegis_core::trigger::{Reach, Schedule};
use aegis_core::{Gate, GateLimits, Rule, Score};

use super::{Source, StudyError, StudySettings};
use crate::episode::arm::{AEGIS, ArmName};
use aegis_probe::rules::RuleSettings;

impl StudySettings {
    /// Checks that the gate of every arm can fire. `gated` is the plan's `[rule]`, `gate` the gate's limits, and `rule`
    /// adds the thresholds of the plan's probe to settings.
    ///
    /// # Errors
    /// [`StudyError`] with the setting that prevents every fire.
    pub fn check_fires(
        &self,
        gated: &RuleSettings,
        gate: &GateLimits,
        rule: impl Fn(&RuleSettings) -> Rule,
    ) -> Result<(), StudyError> {
        for name in &self.arms {
            let settings = match self.source(name, gated)? {
                Source::Rule(settings) | Source::Shadow(settings) => settings,
                Source::Weak | Source::Strong | Source::Yoked => continue,
            };
            let own = if *name == *AEGIS || !self.rules.contains_key(name) {
                "rule".to_owned()
            } else {
                format!("study.rules.{name}")
            };
            check_gate_fires(name, &own, settings, gate, || rule(settings))?;
        }
        Ok(())
    }
}

/// Checks that the gate of an arm can fire. `own` is the key of the arm's rule, `gate` the gate's limits, and `rule` gives the rule with
/// the thresholds of its probe. A rule without a gate passes.
///
/// # Errors
/// [`StudyError`] with the setting that prevents every fire.
pub(crate) fn check_gate_fires(
    name: &ArmName,
    own: &str,
    settings: &RuleSettings,
    gate: &GateLimits,
    rule: impl FnOnce() -> Rule,
) -> Result<(), StudyError> {
    if matches!(settings, RuleSettings::Never {} | RuleSettings::TakeOver { .. }) {
        return Ok(());
    }
    let refused = |field: String, reason: String| StudyError {
        field,
        reason: format!("{reason}; with this value the gate of arm {name} can never fire"),
    };
    let allowed = check_limits(gate).map_err(|(field, reason)| refused(format!("gate.{field}"), reason))?;
    if let RuleSettings::Blind { schedule, .. } = settings {
        check_schedule(schedule, gate, &allowed).map_err(|(field, reason)| {
            let StudyError { field, reason } = refused(format!("{own}.schedule.{field}"), reason);
            StudyError { field, reason: reason + " there" }
        })?;
    }
    check_threshold(&rule()).map_err(|reason| refused(format!("{own}.kind"), reason))
}

/// Returns the control steps of the boundaries at which the limits allow a fire.
fn check_limits(gate: &GateLimits) -> Result<Vec<u32>, (&'static str, String)> {
    let horizon = gate.horizon_steps;
    if gate.budget() == 0 {
        let found = gate.budget_fraction;
        return Err((
            "budget_fraction",
            format!("found {found}, which is 0 fires an episode; valid is above 0"),
        ));
    }
    if gate.guard_steps() >= horizon {
        let found = gate.guard_fraction;
        let valid = "below 1, so that a boundary lies past the guard";
        return Err(("guard_fraction", format!("found {found}, all of the horizon; valid is {valid}")));
    }
    if gate.hold_steps() > gate.duty_steps() {
        let (found, hold, most) = (gate.duty_cap, gate.hold_steps(), gate.duty_steps());
        let valid = f64::from(hold) / f64::from(horizon);
        return Err((
            "duty_cap",
            format!(
                "found {found}, {most} control steps; valid is {valid:.3} or more, {hold} control steps of one hold"
            ),
        ));
    }
    let boundaries = 0..horizon.div_ceil(gate.chunk_steps);
    let allowed: Vec<u32> =
        boundaries.filter(|boundary| gate.may_fire_at(boundary.saturating_mul(gate.chunk_steps))).collect();
    if allowed.is_empty() {
        let (found, guard) = (gate.hold_chunks, gate.guard_steps());
        let valid = "a hold that fits between guard and horizon, or whole_holds = false";
        return Err((
            "hold_chunks",
            format!(
                "found {found}, {} control steps past a guard of {guard} of {horizon}; valid is {valid}",
                gate.hold_steps()
            ),
        ));
    }
    Ok(allowed)
}

fn check_schedule(
    schedule: &Schedule,
    gate: &GateLimits,
    allowed: &[u32],
) -> Result<(), (&'static str, String)> {
    let [first, last] = [allowed.first(), allowed.last()].map(|one| one.copied().unwrap_or_default());
    let valid = format!("chunk boundaries from {first} to {last}, at which the limits let it fire");
    match schedule {
        Schedule::At(boundaries) => match boundaries.iter().find(|boundary| !allowed.contains(boundary)) {
            Some(beyond) => Err(("at", format!("found {beyond}; valid is {valid}"))),
            None if boundaries.is_empty() => Err(("at", format!("found none; valid is {valid}"))),
            None => match lost(schedule, boundaries, gate) {
                Some(lost) => {
                    let (apart, most) = (gate.fire_gap(), gate.budget());
                    let valid = format!(
                        "boundaries that lie {apart} or more apart, at most {most} of them, whose holds \
                                         are within gate.duty_cap"
                    );
                    Err((
                        "at",
                        format!(
                            "found {lost}, at which the gate has no fire left after the earlier ones; \
                             valid is {valid}"
                        ),
                    ))
                }
                None => Ok(()),
            },
        },
        Schedule::Every { first: begin, period } => {
            let fires = |boundary: &&u32| {
                boundary.checked_sub(*begin).is_some_and(|since| since.checked_rem(*period) == Some(0))
            };
            match allowed.iter().find(fires) {
                Some(_) => Ok(()),
                None => Err((
                    "every",
                    format!("found first {begin}, period {period}; valid is one that meets {valid}"),
                )),
            }
        }
    }
}

/// Returns the first of the scheduled boundaries at which a gate does not fire, because of a hold, the budget or the
/// duty cap.
fn lost(schedule: &Schedule, boundaries: &[u32], limits: &GateLimits) -> Option<u32> {
    let mut gate = Gate::new(limits.clone(), schedule.clone()).ok()?;
    let last = boundaries.last().copied()?;
    let fires = |boundary: &u32| {
        let step = boundary.saturating_mul(limits.chunk_steps);
        gate.boundary(step, Score::new(0.0)).fired
    };
    let fired: Vec<u32> = (0..=last).filter(fires).collect();
    boundaries.iter().find(|boundary| !fired.contains(boundary)).copied()
}

/// Checks that the rule's threshold can be exceeded. Calibration on too few episodes gives thresholds that cannot.
fn check_threshold(rule: &Rule) -> Result<(), String> {
    match rule.reach() {
        Reach::Reachable => Ok(()),
        Reach::Costs { needed, most } => Err(format!(
            "found costs that hand over above a probability of failure of {needed}, and the probe's highest score \
             has the probability {most}; valid is a lower false_alarm or a higher missed_failure"
        )),
        Reach::Unreachable => {
            Err("found a threshold of the probe that no value reaches; valid is a probe that was calibrated on more episodes \
                 that weak wins, at least 1 / fit.alpha of them, or a larger fit.alpha"
                .into())
        }
    }
}
