//! Ring of camera events, from the thread that receives frames to the control thread.

use std::borrow::Cow;
use std::time::Duration;

use aegis_core::control::{CameraInputs, FrameStamp, MAX_CAMERAS};

/// Capacity of the ring: some seconds of eight cameras.
const CAPACITY: usize = 1024;

/// Event of a camera.
#[derive(Clone, Copy, Debug)]
enum News {
    /// A frame arrived.
    Frame(FrameStamp),
    /// A set of frames and an observation of the same time is complete.
    Complete { episode: u64, taken: Duration },
}

/// Sending side of the ring, for the thread that receives frames.
pub struct CameraSender {
    ring: rtrb::Producer<News>,
}

impl CameraSender {
    /// Sends the stamp of a frame. Returns false where the ring has no room.
    pub fn frame(&mut self, stamp: FrameStamp) -> bool {
        self.ring.push(News::Frame(stamp)).is_ok()
    }

    /// Sends the time at which the oldest part of a complete set was taken. Returns false where the ring has no room.
    pub fn complete(&mut self, episode: u64, taken: Duration) -> bool {
        self.ring.push(News::Complete { episode, taken }).is_ok()
    }
}

/// Receiving side of the ring, for the control thread.
pub struct CameraReceiver {
    ring: rtrb::Consumer<News>,
    frames: Vec<FrameStamp>,
    complete: Option<(u64, Duration)>,
}

impl CameraReceiver {
    /// Takes all waiting events, joined into one stamp for each camera; `None` where none waits. Neither waits nor allocates.
    pub(crate) fn take(&mut self) -> Option<CameraInputs<'_>> {
        let (mut is_news, mut complete) = (false, None);
        self.frames.clear();
        while let Ok(news) = self.ring.pop() {
            is_news = true;
            match news {
                News::Frame(stamp) => self.join(stamp),
                News::Complete { episode, taken } => complete = Some((episode, taken)),
            }
        }
        self.complete = complete.or(self.complete);
        let (episode, taken) = self.complete.map_or((0, None), |(episode, taken)| (episode, Some(taken)));
        let frames = Cow::Borrowed(&self.frames[..]);
        is_news.then_some(CameraInputs { frames, episode, complete: taken })
    }

    fn join(&mut self, stamp: FrameStamp) {
        let earlier = self.frames.iter().position(|earlier| earlier.camera == stamp.camera);
        match earlier {
            Some(index) => self.frames[index] = self.frames[index].joined(stamp),
            None if self.frames.len() < MAX_CAMERAS => self.frames.push(stamp),
            None => {}
        }
    }
}

/// Returns both sides of a new ring.
pub fn camera_ring() -> (CameraSender, CameraReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    let frames = Vec::with_capacity(MAX_CAMERAS);
    (CameraSender { ring: producer }, CameraReceiver { ring: consumer, frames, complete: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_one_period_are_joined_by_camera_and_a_set_is_remembered() {
        let stamp = |camera, sequence| FrameStamp {
            camera,
            episode: 1,
            sequence,
            arrived: 1,
            received: Duration::ZERO,
            taken: Duration::ZERO,
            digest: u64::from(sequence),
            fault: None,
        };
        let (mut sender, mut receiver) = camera_ring();
        assert_eq!(receiver.take(), None);
        for (camera, sequence) in [(0, 1), (1, 1), (0, 2), (0, 4)] {
            assert!(sender.frame(stamp(camera, sequence)));
        }
        assert!(sender.complete(1, Duration::from_millis(5)));
        let news = receiver.take().unwrap();
        let seen: Vec<_> = news.frames.iter().map(|one| (one.camera, one.sequence, one.arrived)).collect();
        assert_eq!(seen, [(0, 4, 3), (1, 1, 1)]);
        assert_eq!((news.episode, news.complete), (1, Some(Duration::from_millis(5))));
        assert_eq!(receiver.take(), None);
        sender.frame(stamp(1, 2));
        assert_eq!(receiver.take().unwrap().complete, Some(Duration::from_millis(5)));
    }
}
