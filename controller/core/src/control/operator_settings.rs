//! Settings of a person as the backup, in place of a strong policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::channel::{Channel, ChannelKind};
use super::settings::{ControlError, ControlSettings, StrongLoss};

/// Key of the settings in a robot file.
const FIELD: &str = "models.strong.operator";
/// Smallest time without a command after which a stream counts as dead, in control periods.
const LEAST_TIMEOUT: f64 = 2.0;

/// Settings of an operator who is called when the gate fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSettings {
    /// Time without a command of the operator who drives, in milliseconds, after which the robot makes a safe stop. A command that
    /// was on its way for longer than the fastest one by this time counts as old.
    pub stream_timeout_ms: f64,
    /// Time for which the robot holds still and waits for an operator, in milliseconds, before it makes a safe stop.
    pub answer_within_ms: f64,
    /// Largest distance of an operator's first command from the last command sent to the robot, for each channel in its unit. Empty:
    /// what one control period may change by the channel's limits; for a discrete channel half of its range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_within: Vec<f64>,
    /// Time for which an operator must have let go, in milliseconds, before the weak policy drives again. Within this time the robot
    /// holds still and the operator may take hold again.
    #[serde(default)]
    pub release_after_ms: f64,
}

impl OperatorSettings {
    /// Returns the time after which a stream without commands counts as dead.
    pub fn stream_timeout(&self) -> Duration {
        milliseconds(self.stream_timeout_ms)
    }

    /// Returns the longest wait for an operator.
    pub fn answer_within(&self) -> Duration {
        milliseconds(self.answer_within_ms)
    }

    /// Returns the time for which an operator must have let go.
    pub fn release_after(&self) -> Duration {
        milliseconds(self.release_after_ms)
    }

    /// Returns the largest distance of a first command from the last command, for each channel in its unit.
    pub fn first_within(&self, channels: &[Channel]) -> Vec<f64> {
        let of_one_period = |channel: &Channel| match channel.kind {
            ChannelKind::Rate => channel.acceleration,
            ChannelKind::Position => channel.velocity,
            ChannelKind::Discrete => (channel.high - channel.low) / 2.0,
        };
        match self.first_within[..] {
            [] => channels.iter().map(of_one_period).collect(),
            _ => self.first_within.clone(),
        }
    }

    /// Checks that the values are valid and fit the controller's other settings.
    pub(super) fn validate(&self, control: &ControlSettings, ask_strong: bool) -> Result<(), ControlError> {
        let wrong =
            |field: String, found: String, valid: String| ControlError::Setting { field, found, valid };
        let unless = |ok: bool, key: &str, found: f64, valid: String| {
            if ok { Ok(()) } else { Err(wrong(format!("{FIELD}.{key}"), found.to_string(), valid)) }
        };
        let least = LEAST_TIMEOUT * 1e3 / control.rate_hz;
        let valid = format!("{least} (two control periods) to 10000");
        let timeout = self.stream_timeout_ms;
        unless((least..=10_000.0).contains(&timeout), "stream_timeout_ms", timeout, valid)?;
        let answer = self.answer_within_ms;
        let valid = "above 0, at most 3600000 (an hour)".into();
        unless(answer > 0.0 && answer <= 3_600_000.0, "answer_within_ms", answer, valid)?;
        let release = self.release_after_ms;
        unless((0.0..=10_000.0).contains(&release), "release_after_ms", release, "0 to 10000".into())?;
        let (found, expected) = (self.first_within.len(), control.channels.len());
        if found != 0 && found != expected {
            let valid = format!("one for each of {expected} channels, or none");
            return Err(wrong(format!("{FIELD}.first_within"), format!("{found} values"), valid));
        }
        for (index, value) in self.first_within.iter().enumerate() {
            unless(*value > 0.0, &format!("first_within[{index}]"), *value, "above 0".into())?;
        }
        if ask_strong {
            let valid = "false where models.strong is an operator, who is asked for no chunks".into();
            return Err(wrong("ask_strong".into(), "true".into(), valid));
        }
        if control.on_strong_loss != StrongLoss::Stop {
            let valid =
                "\"stop\" where models.strong is an operator: without an answer the robot stops".into();
            return Err(wrong("control.on_strong_loss".into(), "\"weak_if_calm\"".into(), valid));
        }
        Ok(())
    }
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}
