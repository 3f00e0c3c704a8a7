//! Stamps of camera frames, without their pixels: what the controller knows of a robot's cameras.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Fault of a frame. A frame with a fault is not shown to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameFault {
    /// The frame is not of the size that the plant announced.
    WrongSize,
    /// The compressed frame cannot be decoded, or holds another number of bytes than its size says.
    Unreadable,
    /// All pixels are equal, as of a covered lens or a camera without light.
    Blank,
    /// The camera's time did not move forward.
    TimeBackward,
}

/// Stamp of a camera's newest frame, without its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameStamp {
    /// Index of the camera in the settings.
    pub camera: u32,
    /// Episode of the frame.
    pub episode: u64,
    /// Number of the frame within the episode, from 1, by the plant.
    pub sequence: u32,
    /// Number of frames of this camera that arrived since the previous stamp, this one included.
    pub arrived: u32,
    /// Time of arrival, on the controller's clock.
    pub received: Duration,
    /// Time at which the camera took the frame, on the controller's clock; zero where the plant's clock is not known.
    pub taken: Duration,
    /// Digest of the pixels.
    pub digest: u64,
    /// Fault of the frame.
    pub fault: Option<FrameFault>,
}

impl FrameStamp {
    /// Returns the newer of two stamps of one camera, with the number of arrivals of both. If their episodes differ, returns
    /// `later`.
    pub fn joined(self, later: Self) -> Self {
        if self.episode != later.episode {
            return later;
        }
        let newer = if later.sequence > self.sequence { later } else { self };
        Self { arrived: self.arrived.saturating_add(later.arrived), ..newer }
    }
}

/// What the cameras delivered since the last control period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraInputs<'a> {
    /// Stamps of the newest frames, at most one of each camera.
    #[serde(borrow)]
    pub frames: Cow<'a, [FrameStamp]>,
    /// Episode of the newest complete set of frames and observation.
    pub episode: u64,
    /// Time at which that set was taken, that of its oldest part, on the controller's clock; `None` before the first set of the
    /// episode.
    pub complete: Option<Duration>,
}
