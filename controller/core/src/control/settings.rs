//! What a controller on a robot is set to: pace, patience, limits, and what it may do when a policy is lost.
//! Pure values, checked in one place, each refusal with field, found and valid.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chunk_buffer::Overlap;
use super::motion::{Channel, ChannelKind, LimitScope, infinite};
use crate::gate::{GateError, GateLimits};

/// What to do with an action outside its channel's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfBounds {
    /// Send the nearest command within.
    Clamp,
    /// Take the whole chunk for none.
    Reject,
}

/// What to do when the strong policy is lost while it drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrongLoss {
    /// Safe stop.
    Stop,
    /// Back to the weak policy if its rule is calm, else safe stop. The strong one is not asked again in this episode.
    WeakIfCalm,
}

/// Settings of a controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// Control periods per second; the plant's own.
    pub rate_hz: f64,
    /// Control periods before a boundary at which the next chunk is asked for: what an inference may take.
    pub lead_steps: u32,
    /// Where a new chunk of the same policy covers what the old one covers too.
    pub overlap: Overlap,
    /// So many deadlines in a row may the weak policy miss; then the strong one drives, or the robot stops.
    pub weak_misses: u32,
    /// So many control periods is the strong policy waited for, standing still or on what is left of its chunk.
    pub strong_patience_steps: u32,
    /// When the strong policy is lost while it drives.
    pub on_strong_loss: StrongLoss,
    /// Nothing is inferred on an observation older than this, milliseconds since the plant took it.
    pub max_age_ms: f64,
    /// After so many control periods in a row without a young enough observation: safe stop.
    pub stale_steps: u32,
    /// Observations whose content, vectors and pictures alike, does not change for so long, milliseconds, are stale.
    /// Zero: not looked at.
    pub frozen_ms: f64,
    /// A plant without a heartbeat for so long, milliseconds: safe stop.
    pub plant_timeout_ms: f64,
    /// Actions outside their channel's bounds.
    pub out_of_bounds: OutOfBounds,
    /// When velocity, acceleration and jerk bound a policy's commands.
    #[serde(default)]
    pub limits: LimitScope,
    /// How far from `rest` a position may stand when an episode starts, and how far from there its first action may lie,
    /// in the channel's unit.
    #[serde(default = "infinite")]
    pub start_within: f64,
    /// How far a position may be from its last command, in the channel's unit, by a young enough observation: beyond it
    /// the robot stops, and is sent nothing before the next start. It has to hold what an arm lags behind when it is fastest.
    #[serde(default = "infinite")]
    pub follow_within: f64,
    /// The action's channels, `[width]`.
    pub channels: Vec<Channel>,
}

impl ControlSettings {
    /// One control period.
    pub fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate_hz)
    }

    /// The age beyond which nothing is inferred on an observation.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs_f64(self.max_age_ms / 1e3)
    }

    /// Control periods that an answer may take, at most: the weak policy's deadline, or the strong one's patience.
    pub fn longest_answer_steps(&self) -> u32 {
        self.lead_steps.max(self.strong_patience_steps)
    }

    /// Refuses a `rest` that does not fit the channels, `[width]`.
    pub fn validate_rest(&self, rest: &[f32]) -> Result<(), ControlError> {
        let width = self.channels.len();
        if rest.len() != width {
            let found = format!("{} values", rest.len());
            let valid = format!("one for each of {width} channels");
            return Err(ControlError::Setting { field: "rest".into(), found, valid });
        }
        let mut values = self.channels.iter().zip(rest).enumerate();
        values.try_for_each(|(index, (channel, value))| channel.validate_rest(index, *value))
    }

    /// The first position channel in which `from` and `to`, `[channels]`, are not within `start_within` of each other.
    pub(super) fn far_channel(&self, from: &[f32], to: &[f32]) -> Option<usize> {
        self.apart(from, to, self.start_within)
    }

    /// The first position channel that is not within `follow_within` of its `command`, `[channels]`, as it is `measured`.
    pub(super) fn stray_channel(&self, measured: &[f32], command: &[f32]) -> Option<usize> {
        self.apart(measured, command, self.follow_within)
    }

    /// The first position channel in which two poses, `[channels]`, are not `within` of each other. NaN is within nothing.
    fn apart(&self, from: &[f32], to: &[f32], within: f64) -> Option<usize> {
        let pairs = self.channels.iter().zip(from.iter().zip(to));
        let far = |(channel, (from, to)): &(&Channel, (&f32, &f32))| {
            let near = (f64::from(**from) - f64::from(**to)).abs() <= within;
            channel.kind == ChannelKind::Position && !near
        };
        pairs.enumerate().find(|(_, pair)| far(pair)).map(|(index, _)| index)
    }

    /// Refuses values that no controller could work with. `horizon` is the shorter of both policies' chunks.
    pub fn validate(&self, gate: &GateLimits, horizon: usize) -> Result<(), ControlError> {
        gate.validate()?;
        let unless = |ok: bool, field: &str, found: &dyn ToString, valid: &str| {
            if ok { Ok(()) } else { Err(ControlError::setting(field, found.to_string(), valid)) }
        };
        unless((1.0..=1000.0).contains(&self.rate_hz), "rate_hz", &self.rate_hz, "1 to 1000")?;
        for (field, value) in [
            ("lead_steps", self.lead_steps),
            ("weak_misses", self.weak_misses),
            ("strong_patience_steps", self.strong_patience_steps),
            ("stale_steps", self.stale_steps),
        ] {
            unless(value > 0, field, &value, "1 or more")?;
        }
        for (field, value) in [("max_age_ms", self.max_age_ms), ("plant_timeout_ms", self.plant_timeout_ms)] {
            let valid = value > 0.0 && value <= 60_000.0;
            unless(valid, field, &value, "above 0, at most 60000")?;
        }
        unless(self.start_within > 0.0, "start_within", &self.start_within, "above 0")?;
        unless(self.follow_within > 0.0, "follow_within", &self.follow_within, "above 0")?;
        unless((0.0..=60_000.0).contains(&self.frozen_ms), "frozen_ms", &self.frozen_ms, "0 to 60000")?;
        let spent = gate.chunk_steps.saturating_add(self.lead_steps) as usize;
        let valid = format!(
            "at most {horizon}: a chunk has {horizon} actions, and lead_steps of them are over when it begins"
        );
        if spent > horizon {
            let field = "gate.chunk_steps + control.lead_steps".into();
            return Err(ControlError::Setting { field, found: spent.to_string(), valid });
        }
        unless((1..=64).contains(&self.channels.len()), "channels", &self.channels.len(), "1 to 64 of them")?;
        for (index, channel) in self.channels.iter().enumerate() {
            channel.validate(index)?;
        }
        Ok(())
    }
}

impl Channel {
    fn validate(&self, index: usize) -> Result<(), ControlError> {
        let finite = self.low.is_finite() && self.high.is_finite();
        let around_zero = self.kind != ChannelKind::Rate || (self.low <= 0.0 && self.high >= 0.0);
        if !finite || !around_zero || self.low >= self.high {
            let found = format!("low {}, high {}", self.low, self.high);
            let valid = match self.kind {
                ChannelKind::Rate => "finite, low at most 0, high at least 0, low below high",
                ChannelKind::Position | ChannelKind::Discrete => "finite, low below high",
            };
            return Err(ControlError::setting(&format!("channels[{index}]"), found, valid));
        }
        let limits = [("velocity", self.velocity), ("acceleration", self.acceleration), ("jerk", self.jerk)];
        for (field, value) in limits {
            if value.is_nan() || value <= 0.0 {
                let field = format!("channels[{index}].{field}");
                return Err(ControlError::setting(&field, value.to_string(), "above 0"));
            }
        }
        Ok(())
    }

    /// Refuses a command of standing still, in the channel's own unit, that this channel cannot stand still at.
    fn validate_rest(&self, index: usize, rest: f32) -> Result<(), ControlError> {
        let valid = match self.kind {
            ChannelKind::Rate if rest != 0.0 => "0: a rate stands still at 0".into(),
            _ if !self.admits(rest) => format!("finite, {} to {}", self.low, self.high),
            _ => return Ok(()),
        };
        Err(ControlError::Setting { field: format!("rest[{index}]"), found: rest.to_string(), valid })
    }
}

/// Why a controller does not begin.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// A setting, by its key in a robot file.
    #[error("{field}: found {found}; valid is {valid}")]
    Setting {
        /// Which one.
        field: String,
        /// Its value.
        found: String,
        /// What would do.
        valid: String,
    },
    /// The gate's settings.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Where the plant stands does not allow a start.
    #[error(
        "channel {channel}: the plant stands at {found}; expected within control.start_within = {within} of rest, {rest}: \
         move it there, or change rest or start_within"
    )]
    Start {
        /// Its index.
        channel: usize,
        /// Where the plant stands.
        found: f32,
        /// The robot file's `rest`.
        rest: f32,
        /// The robot file's `start_within`.
        within: f64,
    },
}

impl ControlError {
    pub(super) fn setting(field: &str, found: String, valid: &str) -> Self {
        Self::Setting { field: format!("control.{field}"), found, valid: valid.into() }
    }
}
