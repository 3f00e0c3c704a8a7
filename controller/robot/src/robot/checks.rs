//! Checks of a robot file's control settings beyond what the controller itself validates: motion limits where the file
//! promises them, bounds that a plant can report, and timeouts that are not too long.

use std::time::Duration;

use aegis_core::control::{Channel, ChannelKind, ControlSettings, LimitScope};
use aegis_policies::card::ModelCard;

/// Longest wait for the commands to come to rest at the end of a run. Limits under which a stop takes longer are refused.
pub const REST: Duration = Duration::from_secs(10);
/// Largest timeout that may be set for a missing observation or a missing answer of the strong policy, seconds.
const LONGEST_TIMEOUT: f64 = 60.0;
/// Largest magnitude of a value that is accepted from a plant, and so the largest value that a command can be compared
/// with.
const LARGEST: f64 = 1e6;
/// Smallest limit, in roundings of a command at its bounds.
const LEAST_ROUNDINGS: f64 = 100.0;

/// Checks that the settings name each camera whose pictures a policy reads, and no other.
///
/// # Errors
/// The field, the camera that was found or is missing, and what is valid.
pub fn check_cameras(control: &ControlSettings, cards: &[ModelCard]) -> Result<(), String> {
    let read = |card: &'_ ModelCard| {
        let path = card.path.display().to_string();
        let names = card.images().map(|image| image.camera.to_string()).collect::<Vec<_>>();
        names.into_iter().map(move |name| (name, path.clone()))
    };
    let read: Vec<(String, String)> = cards.iter().flat_map(read).collect();
    if let Some((camera, path)) =
        read.iter().find(|(camera, _)| control.cameras.iter().all(|settings| settings.name != *camera))
    {
        return Err(format!(
            "control.cameras: found none named {camera:?}, which {path} reads; valid is for example {{ name = {camera:?}, \
             max_age_ms = 300, max_skew_ms = 30, frozen_ms = 1000 }}"
        ));
    }
    let unread = control
        .cameras
        .iter()
        .enumerate()
        .find(|(_, camera)| read.iter().all(|(name, _)| *name != camera.name));
    match unread {
        Some((index, camera)) => Err(format!(
            "control.cameras[{index}].name: found {:?}, which no policy reads; valid are the cameras of both cards",
            camera.name
        )),
        None => Ok(()),
    }
}

/// Checks the control settings of a robot file.
///
/// # Errors
/// The field, the value that was found, and the values that are valid.
pub fn check(control: &ControlSettings) -> Result<(), String> {
    let channels = || control.channels.iter().enumerate();
    channels().try_for_each(|(index, channel)| check_bounds(index, channel))?;
    channels().try_for_each(|(index, channel)| check_limits(index, channel, control.limits))?;
    for (field, within) in [("start_within", control.start_within), ("follow_within", control.follow_within)]
    {
        if within.is_finite() && within > LARGEST {
            return Err(format!("control.{field}: found {within}; valid is above 0, at most {LARGEST}"));
        }
    }
    for (field, steps) in
        [("stale_steps", control.stale_steps), ("strong_patience_steps", control.strong_patience_steps)]
    {
        let seconds = f64::from(steps) / control.rate_hz;
        if seconds > LONGEST_TIMEOUT {
            return Err(format!(
                "control.{field}: found {steps}, which are {seconds:.0} s; valid is at most {LONGEST_TIMEOUT} s"
            ));
        }
    }
    channels().try_for_each(|(index, channel)| {
        let seconds = stop_periods(channel) / control.rate_hz;
        if seconds <= REST.as_secs_f64() {
            return Ok(());
        }
        Err(format!(
            "control.channels[{index}]: found limits within which a stop takes {seconds:.1} s; valid is at most {} s: raise \
             acceleration or jerk, or lower velocity",
            REST.as_secs()
        ))
    })
}

fn check_bounds(index: usize, channel: &Channel) -> Result<(), String> {
    for (field, value) in [("low", channel.low), ("high", channel.high)] {
        if value.abs() > LARGEST {
            return Err(format!(
                "control.channels[{index}].{field}: found {value}; valid is -{LARGEST} to {LARGEST}, as what the plant reports: \
                 choose a larger unit"
            ));
        }
    }
    Ok(())
}

/// Refuses a channel without motion limits where the robot file asks for limits on every command: a limit that is not set
/// is infinite. For a rate channel, `low` and `high` bound the velocity, so only acceleration and jerk are needed. A
/// discrete channel must have no limits, as none could be obeyed.
fn check_limits(index: usize, channel: &Channel, scope: LimitScope) -> Result<(), String> {
    let Channel { velocity, acceleration, jerk, .. } = *channel;
    let limits = [("velocity", velocity), ("acceleration", acceleration), ("jerk", jerk)];
    let field = |field: &str| format!("control.channels[{index}].{field}");
    if channel.kind == ChannelKind::Discrete {
        let given = limits.into_iter().find(|(_, value)| value.is_finite());
        return given.map_or(Ok(()), |(name, value)| {
            let valid = "valid is none: a discrete channel takes its states at once";
            Err(format!("{}: found {value}; {valid}", field(name)))
        });
    }
    if scope != LimitScope::Always {
        return Ok(());
    }
    // A command is a 32-bit number, and the limits are met up to its rounding.
    let rounding = channel.low.abs().max(channel.high.abs()) * f64::from(f32::EPSILON);
    if let Some((name, value)) = limits.into_iter().find(|(_, value)| *value < LEAST_ROUNDINGS * rounding) {
        return Err(format!(
            "{}: found {value}; valid is at least {}, {LEAST_ROUNDINGS} times the rounding of a command of 32 bits near its \
             bounds: choose a larger unit, or bounds nearer to 0",
            field(name),
            LEAST_ROUNDINGS * rounding
        ));
    }
    let needed = if channel.kind == ChannelKind::Rate { &limits[1..] } else { &limits[..] };
    needed.iter().find(|(_, value)| value.is_infinite()).map_or(Ok(()), |(name, _)| {
        let kind = if channel.kind == ChannelKind::Rate { "rate" } else { "position" };
        Err(format!(
            "{}: found none, or inf; valid is a number in the channel's unit per control period, for a {kind} with \
             control.limits = \"always\"",
            field(name)
        ))
    })
}

/// Returns the largest number of control periods that a stop takes, to within a few: the deceleration grows by the jerk,
/// stays at its limit, and falls by the jerk again.
fn stop_periods(channel: &Channel) -> f64 {
    let Channel { acceleration, jerk, .. } = *channel;
    let fastest = match channel.kind {
        ChannelKind::Discrete => return 0.0,
        ChannelKind::Rate => channel.velocity.min(channel.high.max(-channel.low)),
        ChannelKind::Position => channel.velocity.min(channel.high - channel.low),
    };
    let most = (fastest * jerk).sqrt().min(acceleration);
    if most.is_infinite() { 1.0 } else { fastest / most + most / jerk }
}

#[cfg(test)]
mod tests {
    use super::super::RobotFile;
    use super::*;

    /// Checks the control settings of the shipped file with its `until_caught_up` limits replaced by `scope` and each rate
    /// channel by `channel`.
    fn checked(scope: &str, channel: &str) -> Result<(), String> {
        let shipped = include_str!("../../../libero.toml");
        let rate = "{ kind = \"rate\", low = -1, high = 1, acceleration = 0.5, jerk = 0.25 }";
        let limits = format!("limits = \"{scope}\"");
        let text = shipped.replace(rate, channel).replace("limits = \"until_caught_up\"", &limits);
        check(&RobotFile::parse(&text).unwrap().control)
    }

    #[test]
    fn what_is_to_be_limited_always_has_limits() {
        let (always, later) = ("always", "until_caught_up");
        for (scope, channel, refused) in [
            (always, "{ kind = \"rate\", low = -1, high = 1, acceleration = 0.5, jerk = 0.25 }", None),
            (always, "{ kind = \"rate\", low = -1, high = 1 }", Some("acceleration: found none, or inf")),
            (
                always,
                "{ kind = \"rate\", low = -1, high = 1, acceleration = 0.5 }",
                Some("jerk: found none, or inf"),
            ),
            (
                always,
                "{ kind = \"rate\", low = -1, high = 1, velocity = 1, jerk = 0.5, acceleration = inf }",
                Some("acceleration: found none, or inf"),
            ),
            (
                always,
                "{ kind = \"position\", low = 0, high = 900000, velocity = 0.05, acceleration = 0.04, jerk = 0.04 }",
                Some("velocity: found 0.05; valid is at least 10.7"),
            ),
            (later, "{ kind = \"rate\", low = -1, high = 1 }", None),
            (
                always,
                "{ kind = \"position\", low = -1, high = 1, acceleration = 0.5, jerk = 0.25 }",
                Some("velocity: found none, or inf"),
            ),
            (always, "{ kind = \"discrete\", low = -1, high = 1 }", None),
            (
                later,
                "{ kind = \"discrete\", low = -1, high = 1, velocity = 0.1 }",
                Some("velocity: found 0.1; valid is none"),
            ),
        ] {
            match (checked(scope, channel), refused) {
                (Ok(()), None) => {}
                (Err(said), Some(words)) => {
                    assert!(said.starts_with("control.channels[0].") && said.contains(words), "{said}");
                }
                (found, _) => panic!("{scope} {channel}: {found:?}"),
            }
        }
    }

    #[test]
    fn bounds_that_no_plant_can_report_are_refused() {
        for (bounds, field) in [("low = -1e7, high = 1", "low"), ("low = -1, high = 1e9", "high")] {
            let channel = format!("{{ kind = \"rate\", {bounds}, acceleration = 0.5, jerk = 0.25 }}");
            let said = checked("always", &channel).unwrap_err();
            assert!(said.contains(&format!("control.channels[0].{field}: found")), "{said}");
        }
    }
}
