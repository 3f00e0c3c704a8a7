//! One monotonic clock for every thread of a run, counted from its beginning.
//! The wall clock is nowhere: it may jump by an hour and nothing here notices.

use std::time::{Duration, Instant};

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// When it began, for whoever stamps messages on the same clock.
    pub fn began(&self) -> Instant {
        self.0
    }

    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same as whole nanoseconds; enough for 584 years.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX)
    }
}
