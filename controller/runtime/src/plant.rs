//! What the threads that hear a plant leave for the control thread: sightings in a ring, health in atomics.
//! Neither side waits for the other; a full ring drops the newest sighting and counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aegis_core::control::{ObservationStamp, PlantHealth};

use crate::clock::Clock;

/// Sightings that may wait between two control periods.
const CAPACITY: usize = 256;

/// A plant's health as it is heard.
#[derive(Debug, Default)]
pub struct Health {
    heard_ns: AtomicU64,
    /// Of heartbeats, at least 1; 0 before it is known.
    round_trip_ns: AtomicU64,
    lost: AtomicBool,
    stopped: AtomicBool,
}

impl Health {
    /// A heartbeat came, and says whether the plant has stopped by itself.
    pub fn beat(&self, clock: Clock, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
        self.heard_ns.store(clock.now_ns(), Ordering::Release);
    }

    /// An episode begins: what the plant said of the one before is over.
    pub fn resume(&self) {
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// The process on which the episode began has gone.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// The least round trip of heartbeats lately, where it is known.
    pub fn measure(&self, round_trip: Option<Duration>) {
        let nanoseconds = round_trip.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.round_trip_ns.store(nanoseconds.unwrap_or(0), Ordering::Release);
    }

    /// A plant has been claimed anew; nothing is known of its clock.
    pub fn find(&self, clock: Clock) {
        self.beat(clock, false);
        self.measure(None);
        self.lost.store(false, Ordering::Release);
    }

    /// Whether it has gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// What was measured last.
    pub fn round_trip(&self) -> Option<Duration> {
        let nanoseconds = self.round_trip_ns.load(Ordering::Acquire);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn read(&self) -> PlantHealth {
        PlantHealth {
            lost: self.lost.load(Ordering::Acquire),
            heard: Duration::from_nanos(self.heard_ns.load(Ordering::Acquire)),
            stopped: self.stopped.load(Ordering::Relaxed),
            round_trip: self.round_trip(),
        }
    }
}

/// The hearing side of a ring of sightings.
pub struct ObservationSender {
    ring: rtrb::Producer<ObservationStamp>,
    newest: Arc<AtomicU64>,
    measured: triple_buffer::Input<Vec<f32>>,
    wake: Arc<std::sync::OnceLock<std::thread::Thread>>,
}

impl ObservationSender {
    /// Leaves one for the control thread, with where positions are by it, `[channels]`, where anything is checked against
    /// that; false where there was no room.
    pub fn push(&mut self, seen: ObservationStamp, measured: Option<&[f32]>) -> bool {
        if let Some(measured) = measured {
            let pose = self.measured.input_buffer_mut();
            pose.clear();
            pose.extend_from_slice(measured);
            self.measured.publish();
        }
        let pushed = self.ring.push(seen).is_ok();
        if seen.fault.is_none() {
            self.newest.fetch_max(number(&seen), Ordering::AcqRel);
        }
        if let Some(thread) = self.wake.get() {
            thread.unpark();
        }
        pushed
    }
}

/// The control thread's side.
pub struct ObservationReceiver {
    ring: rtrb::Consumer<ObservationStamp>,
    newest: Arc<AtomicU64>,
    measured: triple_buffer::Output<Vec<f32>>,
    pub(crate) wake: Arc<std::sync::OnceLock<std::thread::Thread>>,
}

impl ObservationReceiver {
    /// All that came, as one.
    pub(crate) fn take(&mut self) -> Option<ObservationStamp> {
        let mut newest: Option<ObservationStamp> = None;
        while let Ok(seen) = self.ring.pop() {
            newest = Some(newest.map_or(seen, |earlier| earlier.joined(seen)));
        }
        newest
    }

    /// Where positions are by the newest observation, `[channels]`; none where it was asked for since the last came.
    pub(crate) fn measured(&mut self) -> Option<&[f32]> {
        self.measured.update().then(|| &self.measured.output_buffer()[..])
    }

    /// Number of the newest observation, which rises from each to the next, and with no other.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}

/// Orders observations by episode, and in it by control step.
fn number(seen: &ObservationStamp) -> u64 {
    (seen.episode << 32) | u64::from(seen.sequence)
}

/// A ring of sightings of a plant with so many `channels`.
pub fn sightings(channels: usize) -> (ObservationSender, ObservationReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    let (input, output) = triple_buffer::triple_buffer(&vec![0.0; channels]);
    let (wake, newest) = (Arc::new(std::sync::OnceLock::new()), Arc::new(AtomicU64::new(0)));
    let sightings = ObservationSender {
        ring: producer,
        newest: Arc::clone(&newest),
        measured: input,
        wake: Arc::clone(&wake),
    };
    (sightings, ObservationReceiver { ring: consumer, newest, measured: output, wake })
}
