//! Measures the time from a plant's publishing of an observation until the first command that answers it is back.
//! Subscribes on the plant's own session, where both messages pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aegis_link::wire::Message;
use aegis_link::{KeyExprs, LinkError};
use hdrhistogram::Histogram;
use zenoh::Wait;
use zenoh::pubsub::Subscriber;

/// Largest number of observations that wait for their command; older ones are dropped.
const KEPT: usize = 1024;

/// The running measurement.
pub struct RoundTrip {
    shared: Arc<Mutex<Shared>>,
    _subscribers: [Subscriber<()>; 2],
}

struct Shared {
    sent: BTreeMap<u32, Instant>,
    trips: Histogram<u64>,
}

impl RoundTrip {
    /// Begins the measurement. Round-trip times are recorded in `trips`, nanoseconds.
    pub fn watch(session: &zenoh::Session, plant: &str, trips: Histogram<u64>) -> Result<Self, LinkError> {
        let keys = KeyExprs::of(plant)?;
        let shared = Arc::new(Mutex::new(Shared { sent: BTreeMap::new(), trips }));
        let subscribe = |key: String| {
            let shared = Arc::clone(&shared);
            let look = move |sample: zenoh::sample::Sample| {
                let now = Instant::now();
                if let Ok(message) = Message::decode(&sample.payload().to_bytes()) {
                    lock(&shared).take(&message, now);
                }
            };
            session.declare_subscriber(key).callback(look).wait()
        };
        let _subscribers = [subscribe(keys.observation)?, subscribe(keys.action)?];
        Ok(Self { shared, _subscribers })
    }

    /// Discards the times that have been measured.
    pub fn forget(&self) {
        lock(&self.shared).trips.reset();
    }

    /// Returns the times that have been measured.
    pub fn histogram(&self) -> Histogram<u64> {
        lock(&self.shared).trips.clone()
    }
}

impl Shared {
    fn take(&mut self, message: &Message, now: Instant) {
        match message {
            Message::Moved(moved) => {
                self.sent.insert(moved.sequence, now);
                if self.sent.len() > KEPT {
                    self.sent.pop_first();
                }
            }
            Message::Action(action) => {
                // Each observation counts once, for the first command that answers it.
                if let Some(sent) = self.sent.remove(&action.observation) {
                    let trip = u64::try_from(now.duration_since(sent).as_nanos()).unwrap_or(u64::MAX);
                    self.trips.saturating_record(trip.max(1));
                }
            }
            _ => {}
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
