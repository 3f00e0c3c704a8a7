//! Cameras: JPEG files of ROS topics, published as frames of the plant as they are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aegis_link::cameras::check_jpeg;
use aegis_link::{CameraPublisher, TimePoint};

use crate::file::Camera;
use crate::graph::Graph;
use crate::message::CompressedImage;
use crate::names::Topic;
use crate::node::{Arrived, Subscription, locked};
use crate::refusals::Refusals;
use crate::stream::{Admitted, Stream};

/// Interval at which a thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time after which an episode without new observations is over, for pictures.
const EPISODE: Duration = Duration::from_secs(1);

/// An observation: its point in time on the plant's clock, when its joints were measured on the process's clock, and when it was made.
pub type Anchor = Option<(TimePoint, Duration, Duration)>;

/// A camera's topic.
#[derive(Debug)]
pub struct CameraTopic {
    /// Camera.
    pub camera: Camera,
    /// Topic.
    pub topic: Topic,
    /// Subscription of the topic.
    pub subscription: Subscription,
}

impl CameraTopic {
    /// Publishes the camera's pictures while episodes run, until `stop` is set. `clock` is the origin of times.
    pub fn forward(
        &self,
        mut publisher: CameraPublisher,
        (graph, anchor): (&Mutex<Graph>, &Mutex<Anchor>),
        clock: Instant,
        stop: &AtomicBool,
        mut warn: impl FnMut(&str),
    ) {
        let (mut stream, mut refusals) = (Stream::new(self.camera.stamps), Refusals::default());
        let mut episode = None;
        while !stop.load(Ordering::Relaxed) {
            self.subscription.wait(POLL_INTERVAL);
            let now = locked(anchor).map(|(moment, ..)| (moment.session, moment.episode));
            let is_another = std::mem::replace(&mut episode, now) != now;
            let (messages, dropped) = self.subscription.take();
            if dropped > 0 {
                refusals.add(dropped, "more of them came than are taken, or larger ones".into());
            }
            for message in messages {
                let sent = self.picture(&message, &mut stream, graph, clock).and_then(|(data, taken)| {
                    let Some(moment) = moment(&locked(anchor), taken, clock.elapsed()) else { return Ok(()) };
                    let size = [self.camera.width, self.camera.height];
                    publisher
                        .publish_jpeg(&moment, &self.camera.name, size, data)
                        .map_err(|error| error.to_string())
                });
                match sent {
                    Ok(()) => refusals.end(),
                    Err(reason) => refusals.add(1, reason),
                }
            }
            if is_another {
                // One wrong stamp refuses no picture beyond its episode. Those that waited are of before.
                stream.forget_stamps();
            }
            if let Some(warning) = refusals.warning(&self.topic.name, clock.elapsed()) {
                warn(&warning);
            }
        }
    }

    /// Returns the JPEG file of a message that counts, and when the picture was taken.
    fn picture(
        &self,
        message: &Arrived,
        stream: &mut Stream,
        graph: &Mutex<Graph>,
        clock: Instant,
    ) -> Result<(Vec<u8>, Duration), String> {
        let attachment = message.attachment.as_ref().map_err(Clone::clone)?;
        let image = CompressedImage::decode(&message.payload).map_err(|error| error.to_string())?;
        locked(graph).source(&self.topic)?;
        let at = message.at.saturating_duration_since(clock);
        let mut admitted = stream.admit(attachment, image.stamp_ns, at);
        if admitted == Admitted::Stranger {
            // The graph has one publisher: the node of the camera was started anew.
            stream.restart();
            admitted = stream.admit(attachment, image.stamp_ns, at);
        }
        let taken = match admitted {
            Admitted::New(taken) => taken,
            Admitted::Old(reason) => return Err(reason.into()),
            Admitted::Stranger => return Err("it is of another publisher".into()),
        };
        let format = image.format.to_ascii_lowercase();
        if !(format.contains("jpeg") || format.contains("jpg")) {
            return Err(format!("format: found {:?}; valid is jpeg", image.format));
        }
        check_jpeg(image.data, [self.camera.width, self.camera.height])?;
        Ok((image.data.to_vec(), taken))
    }
}

/// Returns the point in time of a picture that was taken at `taken`, by that of an observation; `None` where no episode runs.
fn moment(anchor: &Anchor, taken: Duration, now: Duration) -> Option<TimePoint> {
    let (moment, measured, made) = anchor.as_ref()?;
    if now.saturating_sub(*made) > EPISODE {
        return None;
    }
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let stamp_ns = (moment.stamp_ns + ns(taken)).saturating_sub(ns(*measured));
    Some(TimePoint { stamp_ns, ..*moment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_time_at_which_it_was_taken_on_the_plants_clock() {
        let ms = Duration::from_millis;
        let point = TimePoint { session: 1, episode: 2, sequence: 3, stamp_ns: 7_000_000_000 };
        let anchor = Some((point, ms(500), ms(510)));
        let stamp = |taken, now| moment(&anchor, ms(taken), ms(now)).map(|moment| moment.stamp_ns);
        assert_eq!(stamp(520, 530), Some(7_020_000_000));
        assert_eq!(stamp(480, 530), Some(6_980_000_000));
        assert_eq!(stamp(1500, 1511), None, "no episode any more");
        assert_eq!(moment(&None, ms(1), ms(1)), None);
    }
}
