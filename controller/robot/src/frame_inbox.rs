//! Inbox of camera frames: the newest frame of each camera waits for the thread that decodes it. Zenoh's threads put frames
//! in and never wait for a decoder.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use aegis_link::wire::CameraFrame;

/// A frame as it arrived.
#[derive(Debug)]
pub(crate) struct ArrivedFrame {
    /// Index of the camera in the settings.
    pub camera: usize,
    /// The frame.
    pub frame: CameraFrame,
    /// Time of arrival, on the run's clock.
    pub received: Duration,
    /// Number of frames of the camera that arrived since the previous one was taken out, this one included.
    pub count: u32,
}

#[derive(Debug, Default)]
struct Slot {
    newest: Option<(CameraFrame, Duration)>,
    count: u32,
}

/// One slot for each camera, by its name.
#[derive(Debug)]
pub(crate) struct FrameInbox {
    names: Vec<String>,
    slots: Mutex<Vec<Slot>>,
    arrived: Condvar,
}

impl FrameInbox {
    /// Makes an empty inbox for these cameras.
    pub fn new(names: Vec<String>) -> Self {
        let slots = Mutex::new(names.iter().map(|_| Slot::default()).collect());
        Self { names, slots, arrived: Condvar::new() }
    }

    /// Puts a frame in, in place of an older one that still waits. Frames of other cameras are left out.
    pub fn put(&self, frame: CameraFrame, received: Duration) {
        let Some(camera) = self.names.iter().position(|name| *name == frame.camera) else { return };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[camera];
        slot.newest = Some((frame, received));
        slot.count = slot.count.saturating_add(1);
        drop(slots);
        self.arrived.notify_one();
    }

    /// Takes out the frame that has waited longest; waits for one at most `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<ArrivedFrame> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty = |slots: &mut Vec<Slot>| slots.iter().all(|slot| slot.newest.is_none());
        let woken = self.arrived.wait_timeout_while(slots, timeout, is_empty);
        let (mut slots, _) = woken.unwrap_or_else(PoisonError::into_inner);
        let since = |slot: &Slot| slot.newest.as_ref().map(|(_, received)| *received);
        let waiting = slots.iter().enumerate().filter_map(|(camera, slot)| Some((since(slot)?, camera)));
        let (_, camera) = waiting.min()?;
        let Slot { newest, count } = std::mem::take(&mut slots[camera]);
        let (frame, received) = newest?;
        Some(ArrivedFrame { camera, frame, received, count })
    }
}

#[cfg(test)]
mod tests {
    use aegis_link::wire::Encoding;

    use super::*;

    #[test]
    fn the_newest_frame_of_each_camera_waits_and_the_others_are_counted() {
        let inbox = FrameInbox::new(vec!["front".into(), "wrist".into()]);
        let put = |camera: &str, sequence: u32| {
            let frame = CameraFrame {
                session: 1,
                episode: 1,
                camera: camera.into(),
                sequence,
                stamp_ns: 0,
                width: 1,
                height: 1,
                encoding: Encoding::Rgb,
                data: vec![0; 3],
            };
            inbox.put(frame, Duration::from_millis(u64::from(sequence)));
        };
        for (name, sequence) in [("wrist", 1), ("front", 2), ("front", 3), ("rear", 4), ("wrist", 5)] {
            put(name, sequence);
        }
        let next =
            || inbox.next(Duration::ZERO).map(|found| (found.camera, found.frame.sequence, found.count));
        assert_eq!([next(), next(), next()], [Some((0, 3, 2)), Some((1, 5, 2)), None]);
    }
}
