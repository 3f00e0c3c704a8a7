//! What a robot file may ask of a controller, beyond what a controller can be made of: limits where they are promised, bounds
//! that a plant can report, and nothing that takes longer than anybody waits.

use aegis_core::control::{Channel, ChannelKind, ControlSettings, LimitScope};

use super::super::REST;

/// The longest that a robot waits for what may not come, seconds.
const LONGEST_PATIENCE: f64 = 60.0;
/// The largest value of a plant that is taken for one, and so the largest that a command can be held against.
const LARGEST: f64 = 1e6;

/// Refuses what no robot should be driven with.
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
        if seconds > LONGEST_PATIENCE {
            return Err(format!(
                "control.{field}: found {steps}, which are {seconds:.0} s; valid is at most {LONGEST_PATIENCE} s"
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

/// Refuses a channel whose commands nothing bounds where all are to be bounded: the default of a limit is none. A rate's bounds
/// are its limits of velocity, and a discrete channel has no limits that anything could keep.
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

/// Control periods that a stop takes at most, to within a few: the acceleration grows by the jerk, stays at its limit, and falls
/// by the jerk again.
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

    /// The shipped file's controller with these channels and this scope of limits.
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
