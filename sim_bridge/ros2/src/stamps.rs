//! When a message was made, on this process's clock: a header's stamp is of the robot's clock, whose offset is estimated from the
//! messages themselves. Pure.
//!
//! Of several messages the one that was least long on its way counts: its stamp and its arrival give the offset. A message that was
//! on its way for longer is older by the difference. The shortest way itself cannot be known from one direction, so a constant delay
//! is no part of the age. A stamp that claims a later time than the estimate allows is taken for the arrival.

use std::time::Duration;

/// Time over which the shortest way is remembered, at least; twice this time at most. The clocks drift apart meanwhile by less than a
/// millisecond.
const WINDOW: Duration = Duration::from_secs(10);

/// Estimate of the offset of a robot's clock.
#[derive(Clone, Debug, Default)]
pub struct StampClock {
    /// Least difference of arrival and stamp in this window and in the one before, nanoseconds.
    least: [Option<i128>; 2],
    /// Beginning of this window.
    began: Duration,
}

impl StampClock {
    /// Returns when a message was made that has this stamp and arrived at `at`: at that time or earlier.
    pub fn made(&mut self, stamp_ns: i64, at: Duration) -> Duration {
        if at.saturating_sub(self.began) > WINDOW {
            self.least = [None, self.least[0]];
            self.began = at;
        }
        let arrived = i128::try_from(at.as_nanos()).unwrap_or(i128::MAX);
        let way = arrived.saturating_sub(i128::from(stamp_ns));
        let least = self.least.into_iter().flatten().fold(way, i128::min);
        self.least[0] = Some(self.least[0].map_or(way, |before| before.min(way)));
        let late = u64::try_from(way - least).unwrap_or(u64::MAX);
        at.saturating_sub(Duration::from_nanos(late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A stamp of a clock that is an hour behind.
    fn stamp(milliseconds: i64) -> i64 {
        (milliseconds - 3_600_000) * 1_000_000
    }

    #[test]
    fn a_message_that_was_longer_on_its_way_than_others_is_older() {
        let mut clock = StampClock::default();
        assert_eq!(clock.made(stamp(100), ms(105)), ms(105));
        assert_eq!(clock.made(stamp(200), ms(203)), ms(203), "the shortest way so far");
        assert_eq!(clock.made(stamp(300), ms(453)), ms(303));
        assert_eq!(clock.made(stamp(310), ms(453)), ms(313), "of a burst each has its own time");
    }

    #[test]
    fn a_stamp_of_the_future_is_its_arrival_and_an_old_estimate_is_forgotten() {
        let mut clock = StampClock::default();
        clock.made(stamp(0), ms(5));
        assert_eq!(clock.made(stamp(60_000), ms(105)), ms(105), "the clock was set forward");
        assert_eq!(clock.made(stamp(60_100), ms(205)), ms(205));
        // Set back again: older than anything until the windows have passed.
        assert_eq!(clock.made(stamp(300), ms(60_400)), ms(0));
        assert_eq!(clock.made(stamp(20_000), ms(80_100)), ms(80_100));
    }

    #[test]
    fn no_stamp_overflows() {
        let mut clock = StampClock::default();
        for stamp in [i64::MIN, i64::MAX, 0, -1] {
            let at = ms(7);
            assert!(clock.made(stamp, at) <= at);
        }
    }
}
