//! Monotonic clock of the misbehaving plant, with an offset, and with faults that set it back and forward.

use std::time::Duration;

/// Clock reading when the process starts, without an offset, nanoseconds. It is large enough that stamps stay positive
/// when a fault sets the clock back.
const START_NS: i64 = 1_000_000_000_000;
/// Step by which the `backward` fault sets the clock back, nanoseconds.
const STEP_NS: i64 = 1_000_000_000;
/// Step by which the `forward` fault sets the clock forward, nanoseconds: one hour, as a clock without daylight saving
/// time is corrected.
const LEAP_NS: i64 = 3600 * 1_000_000_000;

/// Clock of the plant. Every method that takes `now` takes the time since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    offset_ns: i64,
    set_back_ns: i64,
}

impl Clock {
    /// Creates a clock that shows 1000 s plus `offset_ms` milliseconds at the start.
    pub fn new(offset_ms: i64) -> Self {
        let offset_ns = offset_ms.saturating_mul(1_000_000).saturating_add(START_NS);
        Self { offset_ns, set_back_ns: 0 }
    }

    /// Returns the time for messages, nanoseconds.
    pub fn stamp_ns(&self, now: Duration) -> u64 {
        u64::try_from(self.steady_ns(now).saturating_sub(self.set_back_ns)).unwrap_or(0)
    }

    /// Returns the time for the log, seconds; clock faults do not change it.
    pub fn seconds(&self, now: Duration) -> f64 {
        self.steady_ns(now) as f64 / 1e9
    }

    /// Sets the stamps of messages back by one second, permanently.
    pub fn set_back(&mut self) {
        self.set_back_ns += STEP_NS;
    }

    /// Sets the stamps of messages forward by one hour, permanently.
    pub fn set_forward(&mut self) {
        self.set_back_ns -= LEAP_NS;
    }

    fn steady_ns(&self, now: Duration) -> i64 {
        i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).saturating_add(self.offset_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_carry_the_offset_and_go_back_once_per_fault_while_the_log_goes_on() {
        let now = Duration::from_millis(1500);
        assert_eq!(Clock::new(0).stamp_ns(now), 1_001_500_000_000);
        let mut clock = Clock::new(-500);
        assert_eq!((clock.stamp_ns(now), clock.seconds(now)), (1_001_000_000_000, 1001.0));
        clock.set_back();
        assert_eq!((clock.stamp_ns(now), clock.seconds(now)), (1_000_000_000_000, 1001.0));
        clock.set_forward();
        assert_eq!((clock.stamp_ns(now), clock.seconds(now)), (4_600_000_000_000, 1001.0));
    }
}
