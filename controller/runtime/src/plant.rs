//! Data from the plant listener to the control thread: observation stamps in a ring, health in atomics.
//! Neither side waits for the other; a full ring refuses the newest stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aegis_core::control::{ObservationStamp, PlantHealth};

use crate::clock::Clock;

/// Capacity of the ring: observation stamps that may wait between two control periods.
const CAPACITY: usize = 256;

/// Health of the plant, as the plant listener reports it.
#[derive(Debug, Default)]
pub struct Health {
    heard_ns: AtomicU64,
    /// Least round trip of recent heartbeats, nanoseconds, at least 1; 0 while unknown.
    round_trip_ns: AtomicU64,
    lost: AtomicBool,
    stopped: AtomicBool,
}

impl Health {
    /// Records the arrival of a heartbeat, which reports whether the plant has stopped by itself.
    pub fn beat(&self, clock: Clock, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
        self.heard_ns.store(clock.now_ns(), Ordering::Release);
    }

    /// Clears the previous episode's report that the plant has stopped, at the start of an episode.
    pub fn resume(&self) {
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// Records that the plant's process on which the episode began has gone.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Records the least round trip of recent heartbeats, or `None` while unknown.
    pub fn measure(&self, round_trip: Option<Duration>) {
        let nanoseconds = round_trip.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.round_trip_ns.store(nanoseconds.unwrap_or(0), Ordering::Release);
    }

    /// Records that a plant has been claimed anew: the plant is not lost, and its clock is unknown.
    pub fn find(&self, clock: Clock) {
        self.beat(clock, false);
        self.measure(None);
        self.lost.store(false, Ordering::Release);
    }

    /// Returns whether the plant's process has gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Returns the round trip that was recorded last.
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

/// Sending side of the ring of observation stamps, for the plant listener.
pub struct ObservationSender {
    ring: rtrb::Producer<ObservationStamp>,
    newest: Arc<AtomicU64>,
    measured: triple_buffer::Input<Vec<f32>>,
    wake: Arc<std::sync::OnceLock<std::thread::Thread>>,
}

impl ObservationSender {
    /// Sends an observation stamp to the control thread, with the measured positions, `[channels]`, if these are
    /// checked. Only an `accepted` observation, which policies read too, can begin a control period. Returns false where
    /// the ring has no room for the stamp.
    pub fn push(&mut self, seen: ObservationStamp, measured: Option<&[f32]>, accepted: bool) -> bool {
        if let Some(measured) = measured {
            let pose = self.measured.input_buffer_mut();
            pose.clear();
            pose.extend_from_slice(measured);
            self.measured.publish();
        }
        let pushed = self.ring.push(seen).is_ok();
        if accepted {
            self.newest.fetch_max(number(&seen), Ordering::AcqRel);
        }
        if let Some(thread) = self.wake.get() {
            thread.unpark();
        }
        pushed
    }
}

/// Receiving side of the ring of observation stamps, for the control thread.
pub struct ObservationReceiver {
    ring: rtrb::Consumer<ObservationStamp>,
    newest: Arc<AtomicU64>,
    measured: triple_buffer::Output<Vec<f32>>,
    pub(crate) wake: Arc<std::sync::OnceLock<std::thread::Thread>>,
}

impl ObservationReceiver {
    /// Takes all stamps that arrived, joined into one.
    pub(crate) fn take(&mut self) -> Option<ObservationStamp> {
        let mut newest: Option<ObservationStamp> = None;
        while let Ok(seen) = self.ring.pop() {
            newest = Some(newest.map_or(seen, |earlier| earlier.joined(seen)));
        }
        newest
    }

    /// Returns the newest measured positions, `[channels]`; `None` if they have already been returned.
    pub(crate) fn measured(&mut self) -> Option<&[f32]> {
        self.measured.update().then(|| &self.measured.output_buffer()[..])
    }

    /// Returns the number of the newest accepted observation. The number rises with each newer observation, and
    /// only then.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }
}

/// Returns a number that orders observations by episode, and within an episode by control step.
fn number(seen: &ObservationStamp) -> u64 {
    (seen.episode << 32) | u64::from(seen.sequence)
}

/// Returns both sides of a ring of observation stamps, for a plant with this number of `channels`.
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
