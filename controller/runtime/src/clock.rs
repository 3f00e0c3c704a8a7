//! Monotonic clock of a run, shared by all threads and counted from the run's beginning.
//! The wall clock is not used, so its jumps have no effect.

use std::time::{Duration, Instant};

/// Monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts a clock at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the instant at which the clock began, for code that stamps messages on the same clock.
    pub fn began(&self) -> Instant {
        self.0
    }

    /// Returns the time since the beginning.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Returns the time since the beginning in whole nanoseconds; 64 bits last for 584 years.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX)
    }
}
