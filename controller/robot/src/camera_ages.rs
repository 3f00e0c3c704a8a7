//! Ages of the cameras' newest frames, by which the log says which camera a stop is about.

use std::time::Duration;

use aegis_core::control::{CameraInputs, CameraSettings};

/// Newest frame of each camera of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameraAges {
    settings: Vec<CameraSettings>,
    newest: Vec<Option<NewestFrame>>,
}

/// Newest frame without a fault of one camera. Times are on the controller's clock.
#[derive(Clone, Copy, Debug)]
struct NewestFrame {
    episode: u64,
    taken: Duration,
    digest: u64,
    /// Time from which on the camera's pixels have been the same.
    changed: Duration,
}

impl CameraAges {
    /// Makes the ages of cameras that have delivered nothing.
    pub fn new(settings: Vec<CameraSettings>) -> Self {
        Self { newest: vec![None; settings.len()], settings }
    }

    /// Takes what the cameras delivered in a period.
    pub fn take(&mut self, inputs: &CameraInputs<'_>) {
        for stamp in inputs.frames.iter().filter(|stamp| stamp.fault.is_none()) {
            if let Some(newest) = self.newest.get_mut(stamp.camera as usize) {
                let (episode, digest, taken) = (stamp.episode, stamp.digest, stamp.taken.min(stamp.received));
                let same = newest.filter(|old| (old.episode, old.digest) == (episode, digest));
                let changed = same.map_or(stamp.received, |old| old.changed);
                *newest = Some(NewestFrame { episode, taken, digest, changed });
            }
        }
    }

    /// Returns a text that names each camera whose newest frame is older at `now` than `max_age_ms`, or whose pixels have been the same
    /// for longer than `frozen_ms`, with the time in milliseconds and the limit. The text is empty if there is no such camera.
    pub fn old(&self, now: Duration) -> String {
        let episode = self.newest.iter().flatten().map(|newest| newest.episode).max();
        let words = self.settings.iter().zip(&self.newest).filter_map(|(camera, newest)| {
            let CameraSettings { name, max_age_ms, frozen_ms, .. } = camera;
            let Some(newest) = newest.filter(|newest| Some(newest.episode) == episode) else {
                return Some(format!("camera {name}: found no frame in this episode"));
            };
            let [age, same] =
                [newest.taken, newest.changed].map(|time| now.saturating_sub(time).as_secs_f64() * 1e3);
            if age > *max_age_ms {
                return Some(format!(
                    "camera {name}: its newest frame is {age:.0} ms old; valid is max_age_ms = {max_age_ms}"
                ));
            }
            (*frozen_ms > 0.0 && same > *frozen_ms).then(|| {
                format!("camera {name}: its pixels are the same since {same:.0} ms; valid is frozen_ms = {frozen_ms}")
            })
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use aegis_core::control::{FrameFault, FrameStamp};

    use super::*;

    #[test]
    fn the_camera_whose_frames_are_too_old_is_named() {
        let camera = |name: &str| CameraSettings {
            name: name.into(),
            max_age_ms: 300.0,
            max_skew_ms: 50.0,
            frozen_ms: 400.0,
        };
        let mut ages = CameraAges::new(vec![camera("front"), camera("wrist")]);
        let ms = Duration::from_millis;
        let stamp = |camera, taken, fault| FrameStamp {
            camera,
            episode: 1,
            sequence: 1,
            arrived: 1,
            received: ms(taken),
            taken: ms(taken),
            digest: 1,
            fault,
        };
        let take = |ages: &mut CameraAges, frames: Vec<FrameStamp>| {
            ages.take(&CameraInputs { episode: 1, frames: Cow::Owned(frames), complete: None });
        };
        take(&mut ages, vec![stamp(0, 900, None), stamp(1, 500, None)]);
        // A refused frame is no picture that a policy may read.
        take(&mut ages, vec![stamp(1, 990, Some(FrameFault::Blank))]);
        assert_eq!(ages.old(ms(800)), "");
        assert_eq!(
            ages.old(ms(1012)),
            "camera wrist: its newest frame is 512 ms old; valid is max_age_ms = 300"
        );
        take(&mut ages, vec![stamp(0, 1290, None), stamp(1, 1290, None)]);
        assert_eq!(
            ages.old(ms(1310)),
            "camera front: its pixels are the same since 410 ms; valid is frozen_ms = 400; camera wrist: its pixels are the \
             same since 810 ms; valid is frozen_ms = 400"
        );
        take(&mut ages, vec![FrameStamp { episode: 2, ..stamp(1, 1400, None) }]);
        assert_eq!(ages.old(ms(1410)), "camera front: found no frame in this episode");
    }
}
