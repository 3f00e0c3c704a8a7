//! Settings of a robot's controller: rate, timeouts, limits, and the reaction to the loss of a policy.
//! Pure values, checked in one place; each error states field, found and valid.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::camera_settings::{CameraSettings, MAX_CAMERAS};
use super::channel::{Channel, ChannelKind, infinite};
use super::chunk_buffer::Overlap;
use super::motion::LimitScope;
use crate::gate::{GateError, GateLimits};

/// Treatment of a chunk that exceeds what its channels allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Send the nearest command that is allowed.
    #[default]
    Clamp,
    /// Reject the whole chunk, which counts as a failed inference.
    Reject,
    /// Safe stop.
    Stop,
}

/// Checks of a whole chunk before its first action moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChunkChecks {
    /// Treatment of a chunk whose first action is further from the last command than one period can move it.
    pub jump: Treatment,
    /// Treatment of a chunk whose velocity, acceleration or jerk exceeds a channel's limits.
    pub motion: Treatment,
}

impl ChunkChecks {
    /// Returns whether nothing is checked, because every command is limited anyway.
    pub(super) fn is_clamp(&self) -> bool {
        *self == Self::default()
    }
}

/// Reaction to the loss of the strong policy while it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrongLoss {
    /// Safe stop.
    Stop,
    /// Hand back to the weak policy if the gate's rule is calm, else safe stop. The strong policy is not asked again in
    /// this episode.
    WeakIfCalm,
}

/// Settings of a controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// Control periods per second; equal to the plant's control rate.
    pub rate_hz: f64,
    /// Number of control periods before a boundary at which the next chunk is asked for: the deadline of an inference.
    pub lead_steps: u32,
    /// Treatment of control steps that a new chunk and the old chunk of the same policy both cover.
    pub overlap: Overlap,
    /// Consecutive failures of the weak policy, missed deadlines or failed inferences, after which the strong policy
    /// drives or the robot stops.
    pub weak_misses: u32,
    /// Longest wait for the strong policy, in control periods, at rest or on the remaining actions of the current chunk.
    pub strong_patience_steps: u32,
    /// Reaction to the loss of the strong policy while it is needed.
    pub on_strong_loss: StrongLoss,
    /// Largest age of an observation for an inference, in milliseconds since the plant took it.
    pub max_age_ms: f64,
    /// Consecutive control periods without a young enough observation after which the robot makes a safe stop.
    pub stale_steps: u32,
    /// Time, in milliseconds, after which observations count as stale if their content, vectors and pictures alike,
    /// does not change. Zero disables the check.
    pub frozen_ms: f64,
    /// Time without a heartbeat of the plant, in milliseconds, after which the robot makes a safe stop.
    pub plant_timeout_ms: f64,
    /// Treatment of actions outside their channel's bounds.
    pub out_of_bounds: Treatment,
    /// Checks of a whole chunk before its first action moves.
    #[serde(default, skip_serializing_if = "ChunkChecks::is_clamp")]
    pub chunk: ChunkChecks,
    /// When velocity, acceleration and jerk bound a policy's commands.
    #[serde(default)]
    pub limits: LimitScope,
    /// Largest distance of a position from `rest` at the start of an episode, and of the episode's first action from
    /// the position at the start, in the channel's unit.
    #[serde(default = "infinite")]
    pub start_within: f64,
    /// Largest distance of a measured position from its last command, in the channel's unit, by a young enough
    /// observation. Beyond this distance the robot stops and is sent nothing before the next start. The value has to
    /// exceed the lag of the arm at its highest velocity.
    #[serde(default = "infinite")]
    pub follow_within: f64,
    /// Channels of the action, `[width]`.
    pub channels: Vec<Channel>,
    /// Cameras whose pictures the policies read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cameras: Vec<CameraSettings>,
}

impl ControlSettings {
    /// Returns the length of one control period.
    pub fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate_hz)
    }

    /// Returns the largest age of an observation for an inference.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs_f64(self.max_age_ms / 1e3)
    }

    /// Returns the largest age of any camera's frame for an inference; zero without cameras.
    pub fn longest_frame_age(&self) -> Duration {
        self.cameras.iter().map(CameraSettings::max_age).max().unwrap_or_default()
    }

    /// Returns the largest age, at the time of its request, of what a chunk was made from: of an observation, or of a frame.
    pub(super) fn largest_age(&self) -> Duration {
        self.max_age().max(self.longest_frame_age())
    }

    /// Returns the longest time that the plant may be silent.
    pub fn plant_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.plant_timeout_ms / 1e3)
    }

    /// Returns the largest number of control periods that a reply may take: the weak policy's deadline or the longest
    /// wait for the strong policy.
    pub fn longest_answer_steps(&self) -> u32 {
        self.lead_steps.max(self.strong_patience_steps)
    }

    /// Checks that `rest`, `[channels]`, fits the channels.
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

    /// Returns the first position channel in which `from` and `to`, `[channels]`, are not within `start_within` of each
    /// other.
    pub(super) fn far_channel(&self, from: &[f32], to: &[f32]) -> Option<usize> {
        self.apart(from, to, self.start_within)
    }

    /// Returns the first position channel whose `measured` position, `[channels]`, is not within `follow_within` of its
    /// `command`, `[channels]`.
    pub(super) fn stray_channel(&self, measured: &[f32], command: &[f32]) -> Option<usize> {
        self.apart(measured, command, self.follow_within)
    }

    /// Returns the first position channel in which two poses, `[channels]`, differ by more than `within`. NaN counts as
    /// different.
    fn apart(&self, from: &[f32], to: &[f32], within: f64) -> Option<usize> {
        let pairs = self.channels.iter().zip(from.iter().zip(to));
        let far = |(channel, (from, to)): &(&Channel, (&f32, &f32))| {
            let near = (f64::from(**from) - f64::from(**to)).abs() <= within;
            channel.kind == ChannelKind::Position && !near
        };
        pairs.enumerate().find(|(_, pair)| far(pair)).map(|(index, _)| index)
    }

    /// Checks that the values are valid and fit together. `horizon` is the number of actions in the shorter of both
    /// policies' chunks.
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
        let count = self.cameras.len();
        unless(count <= MAX_CAMERAS, "cameras", &count, "at most 8 of them")?;
        for (index, camera) in self.cameras.iter().enumerate() {
            camera.validate(&format!("cameras[{index}]"))?;
            let twice = self.cameras[..index].iter().any(|earlier| earlier.name == camera.name);
            unless(!twice, &format!("cameras[{index}].name"), &camera.name, "each camera once")?;
        }
        Ok(())
    }
}

impl CameraSettings {
    /// Checks the values; `field` is the key of these settings in a robot file.
    fn validate(&self, field: &str) -> Result<(), ControlError> {
        let unless = |ok: bool, key: &str, found: f64, valid: &str| {
            let wrong = || ControlError::setting(&format!("{field}.{key}"), found.to_string(), valid);
            if ok { Ok(()) } else { Err(wrong()) }
        };
        let is_span = |value: f64| value > 0.0 && value <= 60_000.0;
        unless(is_span(self.max_age_ms), "max_age_ms", self.max_age_ms, "above 0, at most 60000")?;
        unless((0.0..=10_000.0).contains(&self.max_skew_ms), "max_skew_ms", self.max_skew_ms, "0 to 10000")?;
        unless((0.0..=60_000.0).contains(&self.frozen_ms), "frozen_ms", self.frozen_ms, "0 to 60000")
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

    /// Checks that the channel can stand still at the command `rest`, in the channel's unit.
    fn validate_rest(&self, index: usize, rest: f32) -> Result<(), ControlError> {
        let valid = match self.kind {
            ChannelKind::Rate if rest != 0.0 => "0: a rate stands still at 0".into(),
            _ if !self.admits(rest) => format!("finite, {} to {}", self.low, self.high),
            _ => return Ok(()),
        };
        Err(ControlError::Setting { field: format!("rest[{index}]"), found: rest.to_string(), valid })
    }
}

/// Error of a controller's settings or of a start.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// A setting is invalid, named by its key in a robot file.
    #[error("{field}: found {found}; valid is {valid}")]
    Setting {
        /// Key of the setting.
        field: String,
        /// Value that was found.
        found: String,
        /// Description of the valid values.
        valid: String,
    },
    /// A setting of the gate is invalid.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The plant's pose does not allow a start.
    #[error(
        "channel {channel}: the plant stands at {found}; expected within control.start_within = {within} of rest, {rest}: \
         move it there, or change rest or start_within"
    )]
    Start {
        /// Index of the channel.
        channel: usize,
        /// Position of the plant in this channel.
        found: f32,
        /// Value of the robot file's `rest` in this channel.
        rest: f32,
        /// Value of the robot file's `start_within`.
        within: f64,
    },
}

impl ControlError {
    pub(super) fn setting(field: &str, found: String, valid: &str) -> Self {
        Self::Setting { field: format!("control.{field}"), found, valid: valid.into() }
    }
}
