//! Settings of a robot's cameras.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest number of cameras.
pub const MAX_CAMERAS: usize = 8;

/// Settings of one camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraSettings {
    /// Name of the camera, as the plant announces it.
    pub name: String,
    /// Largest age of a frame for an inference, in milliseconds since the camera took it.
    pub max_age_ms: f64,
    /// Largest time between a frame and the observation that a policy reads with it, milliseconds.
    pub max_skew_ms: f64,
    /// Time, in milliseconds, after which frames count as stale if their pixels do not change. Zero disables the check.
    pub frozen_ms: f64,
}

impl CameraSettings {
    /// Returns the largest age of a frame for an inference.
    pub fn max_age(&self) -> Duration {
        milliseconds(self.max_age_ms)
    }

    /// Returns the time after which unchanged frames count as stale; zero for never.
    pub(super) fn frozen(&self) -> Duration {
        milliseconds(self.frozen_ms)
    }

    /// Returns the largest time between a frame and the observation that a policy reads with it.
    pub fn max_skew(&self) -> Duration {
        milliseconds(self.max_skew_ms)
    }
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}
