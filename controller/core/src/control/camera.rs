//! Camera monitor: checks the frames of every camera, and whether a policy that reads pictures has a young enough set of
//! frames and observation from the same time.

use std::time::Duration;

use super::camera_settings::MAX_CAMERAS;
use super::frame_stamp::{CameraInputs, FrameStamp};
use super::io::Diagnostics;
use super::settings::ControlSettings;

/// State of one camera within an episode.
#[derive(Clone, Copy, Debug, Default)]
struct CameraState {
    sequence: u32,
    /// Time at which the newest valid frame was taken.
    fresh: Option<Duration>,
    digest: u64,
    changed: Duration,
}

/// Checks every camera's frames, one episode after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameraMonitor {
    /// Frames that arrived while no episode was on, and the newest set; the next episode may begin with them.
    waiting: [Option<FrameStamp>; MAX_CAMERAS],
    waiting_set: Option<(u64, Duration)>,
    cameras: [CameraState; MAX_CAMERAS],
    complete: Option<Duration>,
    stale_steps: u32,
    is_fresh: bool,
}

/// Result of one period's check of the cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CameraCheck {
    /// Whether the cameras have been stale for too long.
    pub(crate) is_lost: bool,
    /// Number of frames that never arrived.
    pub(crate) gap: u32,
}

impl CameraMonitor {
    /// Returns whether the newest complete set is young enough for an inference. Always true without cameras.
    pub(crate) fn is_fresh(&self, settings: &ControlSettings) -> bool {
        settings.cameras.is_empty() || self.is_fresh
    }

    /// Clears the state of the previous episode. What has already arrived of the new episode is kept.
    pub(crate) fn begin(&mut self, episode: u64) {
        let waiting = self.waiting.map(|stamp| stamp.filter(|stamp| stamp.episode == episode));
        let waiting_set = self.waiting_set.filter(|(of, _)| *of == episode);
        *self = Self { waiting, waiting_set, ..Self::default() };
    }

    /// Keeps what arrives while no episode is on.
    pub(crate) fn wait(&mut self, cameras: Option<&CameraInputs<'_>>) {
        let Some(cameras) = cameras else { return };
        for stamp in cameras.frames.iter() {
            if let Some(waiting) = self.waiting.get_mut(stamp.camera as usize) {
                *waiting = Some(waiting.map_or(*stamp, |earlier| earlier.joined(*stamp)));
            }
        }
        self.waiting_set = cameras.complete.map(|taken| (cameras.episode, taken)).or(self.waiting_set);
    }

    /// Takes one period's frames and checks every camera's age. Call it only while an episode is on.
    pub(crate) fn look(
        &mut self,
        cameras: Option<&CameraInputs<'_>>,
        (now, skipped): (Duration, u32),
        episode: u64,
        settings: &ControlSettings,
        notices: &mut Diagnostics,
    ) -> CameraCheck {
        let mut check = CameraCheck::default();
        if settings.cameras.is_empty() {
            return check;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let arrived = cameras.map_or(&[][..], |cameras| &cameras.frames);
        for stamp in waiting.iter().flatten().chain(arrived) {
            check.gap = check.gap.saturating_add(self.take(stamp, now, episode, settings, notices));
        }
        let set = cameras.and_then(|cameras| Some((cameras.episode, cameras.complete?)));
        for (_, taken) in
            [self.waiting_set.take(), set].into_iter().flatten().filter(|(of, _)| *of == episode)
        {
            self.complete = Some(taken);
        }
        let age = |taken: Option<Duration>| taken.map(|taken| now.saturating_sub(taken));
        let is_young = |taken, limit| age(taken).is_some_and(|age| age <= limit);
        let pairs = || self.cameras.iter().zip(&settings.cameras);
        let all_young = pairs().all(|(camera, limits)| is_young(camera.fresh, limits.max_age()));
        // A set is as old as its oldest part, which may be a frame of any camera.
        let longest = settings.longest_frame_age();
        let is_complete = is_young(self.complete, longest);
        if !all_young {
            notices.add(Diagnostics::CAMERA_STALE);
        } else if !is_complete {
            notices.add(Diagnostics::UNPAIRED);
        }
        self.is_fresh = all_young && is_complete;
        self.stale_steps = if self.is_fresh { 0 } else { self.stale_steps.saturating_add(1 + skipped) };
        check.is_lost = self.stale_steps >= settings.stale_steps;
        check
    }

    /// Takes the newest frame of one camera; returns the number of frames that never arrived.
    fn take(
        &mut self,
        stamp: &FrameStamp,
        now: Duration,
        episode: u64,
        settings: &ControlSettings,
        notices: &mut Diagnostics,
    ) -> u32 {
        let index = stamp.camera as usize;
        let (Some(camera), Some(limits)) = (self.cameras.get_mut(index), settings.cameras.get(index)) else {
            return 0;
        };
        if stamp.episode != episode {
            notices.add(Diagnostics::FOREIGN_OBSERVATION);
            return 0;
        }
        if stamp.sequence <= camera.sequence {
            notices.add(Diagnostics::DUPLICATE);
            return 0;
        }
        let gap = (stamp.sequence - camera.sequence).saturating_sub(stamp.arrived);
        if gap > 0 {
            notices.add(Diagnostics::CAMERA_GAP);
        }
        camera.sequence = stamp.sequence;
        if stamp.fault.is_some() {
            notices.add(Diagnostics::CAMERA_REFUSED);
            return gap;
        }
        if stamp.digest != camera.digest || camera.fresh.is_none() {
            (camera.digest, camera.changed) = (stamp.digest, now);
        }
        let limit = limits.frozen();
        if !limit.is_zero() && now.saturating_sub(camera.changed) > limit {
            notices.add(Diagnostics::CAMERA_FROZEN);
            return gap;
        }
        camera.fresh = Some(stamp.taken.min(stamp.received));
        gap
    }
}
