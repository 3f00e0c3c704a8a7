//! Offset of the plant's clock from the controller's, estimated from heartbeats that the plant echoes.
//! Pure: every time stamp is a value, and no stamp that a plant can send causes an overflow.
//!
//! The four stamps are those of NTP's on-wire protocol, RFC 5905, section 8. Of several exchanges the one with the
//! least round trip counts, as in that document's clock filter, section 10. An exchange does not tell how the round
//! trip divides into the way there and the way back, so an observation is dated as early as the stamps allow: its age
//! is never underestimated.

use std::collections::VecDeque;
use std::time::Duration;

/// Number of exchanges that are kept: the last six seconds at ten per second, so that the estimate follows clock drift.
const KEPT: usize = 64;
/// Age beyond which an exchange no longer counts: the plant's clock may have changed since.
const LASTS: Duration = Duration::from_secs(6);
/// Time without an exchange after which the plant's clock is not known: twenty heartbeats without an echo.
const SILENCE: Duration = Duration::from_secs(2);
/// Largest drift between the clocks while an exchange counts, nanoseconds: 6 s at 1,000 parts per million, more than
/// any quartz clock drifts.
const DRIFT: i128 = 6_000_000;
const NANOSECONDS: i128 = 1_000_000_000;

/// Heartbeat of the controller, and the plant's heartbeat that echoed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Time at which the controller sent its heartbeat, nanoseconds on the controller's clock; 0 where the plant has
    /// received none yet.
    pub sent_ns: u64,
    /// Time at which the controller's heartbeat arrived at the plant, nanoseconds on the plant's clock.
    pub arrived_ns: u64,
    /// Time at which the plant sent its heartbeat, nanoseconds on the plant's clock.
    pub echoed_ns: u64,
    /// Time at which the plant's heartbeat arrived, on the controller's clock.
    pub received: Duration,
}

/// Bounds of the clock offset from one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// Time at which the plant's heartbeat arrived, on the controller's clock.
    received: Duration,
    /// Smallest possible offset, plant's clock minus controller's, nanoseconds: the way back took no time.
    least: i128,
    /// Largest possible offset, nanoseconds: the way there took no time.
    most: i128,
}

impl Sample {
    /// Returns the bounds from an exchange, or `None` for impossible stamps: no heartbeat was received, the plant's
    /// heartbeat was sent before the controller's arrived, or the plant held the heartbeat for longer than it was away.
    fn of(exchange: &Exchange) -> Option<Self> {
        // 64-bit stamps as 128-bit integers: no sum or difference of some of them overflows.
        let [sent, arrived, echoed] =
            [exchange.sent_ns, exchange.arrived_ns, exchange.echoed_ns].map(i128::from);
        let received = nanoseconds(exchange.received);
        let (away, held) = (received - sent, echoed - arrived);
        let possible = sent > 0 && held >= 0 && away >= held;
        let (least, most) = (echoed - received, arrived - sent);
        possible.then_some(Self { received: exchange.received, least, most })
    }

    /// Returns the time of the way there and back, without the time for which the plant held the heartbeat,
    /// nanoseconds; never negative.
    fn round_trip(&self) -> i128 {
        self.most - self.least
    }
}

/// Estimate of the clock offset for one claim of a plant. A new claim, for example of a restarted plant, begins with a
/// new estimate.
#[derive(Clone, Debug, Default)]
pub struct ClockOffset {
    newest: VecDeque<Sample>,
    best: Option<Sample>,
}

impl ClockOffset {
    /// Adds an exchange; returns false for an impossible one, which is ignored. A repeated exchange does no harm.
    pub fn take(&mut self, exchange: &Exchange) -> bool {
        let Some(sample) = Sample::of(exchange) else { return false };
        if self.newest.len() == KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(sample);
        let old = |first: &Sample| sample.received.saturating_sub(first.received) > LASTS;
        while self.newest.front().is_some_and(old) {
            self.newest.pop_front();
        }
        // Among equal round trips the newest is chosen: the clocks have drifted least since.
        self.best = self.newest.iter().rev().min_by_key(|sample| sample.round_trip()).copied();
        true
    }

    /// Returns the round trip of the exchange that counts, at `now` on the controller's clock; `None` before the first
    /// exchange and where the last one is more than two seconds old.
    pub fn round_trip(&self, now: Duration) -> Option<Duration> {
        self.known(now).map(|best| duration(best.round_trip()))
    }

    /// Returns the time at which the plant took an observation, on the controller's clock, given the plant's stamp
    /// `stamp_ns` and the time of arrival `received`. The result is the earliest time that the stamps allow, never
    /// after `received`; it is too early by the time that the heartbeat took to the plant.
    ///
    /// Returns `None` where the plant's clock is not known at `received`. A stamp that is later than `received` by more
    /// than the largest drift means that the plant's clock has been set: the result is `None` too, and the estimate
    /// starts anew.
    pub fn taken(&mut self, stamp_ns: u64, received: Duration) -> Option<Duration> {
        let Sample { most, .. } = self.known(received)?;
        let came = nanoseconds(received);
        let taken = i128::from(stamp_ns) - most;
        if taken > came + DRIFT {
            *self = Self::default();
            return None;
        }
        Some(duration(taken.min(came)))
    }

    fn known(&self, now: Duration) -> Option<Sample> {
        let last = self.newest.back()?;
        self.best.filter(|_| now.saturating_sub(last.received) <= SILENCE)
    }
}

fn nanoseconds(time: Duration) -> i128 {
    i128::from(time.as_secs()) * NANOSECONDS + i128::from(time.subsec_nanos())
}

/// Converts nanoseconds to a duration; negative values become zero.
fn duration(nanoseconds: i128) -> Duration {
    let whole = u64::try_from(nanoseconds.max(0) / NANOSECONDS).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanoseconds.max(0) % NANOSECONDS).unwrap_or(0);
    Duration::new(whole, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plant's clock minus the controller's, nanoseconds: some eleven days.
    const AHEAD: u64 = 1_000_000_000_000_000;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn ns(value: u64) -> u64 {
        value * 1_000_000
    }

    /// Returns an exchange that begins at `at`, with the times of the way there, at the plant, and of the way back;
    /// milliseconds.
    fn exchange(at: u64, [there, held, back]: [u64; 3]) -> Exchange {
        Exchange {
            sent_ns: ns(at),
            arrived_ns: AHEAD + ns(at + there),
            echoed_ns: AHEAD + ns(at + there + held),
            received: ms(at + there + held + back),
        }
    }

    /// Returns by how much an observation that was taken 800 ms before its arrival is dated too early, milliseconds.
    fn early(clock: &mut ClockOffset) -> f64 {
        let last = clock.newest.back().expect("there was an exchange").received;
        let came = last + ms(1000);
        let stamp = u64::try_from(came.as_nanos()).unwrap() - ns(800);
        let taken = clock.taken(AHEAD + stamp, came).expect("the clock is known");
        ((came - taken).as_secs_f64() * 1e3 - 800.0).round()
    }

    /// Returns the error of the midpoint of the offset's bounds, milliseconds.
    fn middle(clock: &ClockOffset) -> f64 {
        let Sample { least, most, .. } = clock.best.expect("there was an exchange");
        ((least + most) / 2 - i128::from(AHEAD)) as f64 / 1e6
    }

    #[test]
    fn a_latency_that_is_the_same_both_ways_gives_the_offset_exactly() {
        let mut clock = ClockOffset::default();
        assert_eq!(
            (clock.round_trip(ms(1)), clock.taken(AHEAD, ms(1))),
            (None, None),
            "nothing is known yet"
        );
        for at in 1..200 {
            // The time for which the plant holds an echo is not part of the round trip.
            assert!(clock.take(&exchange(100 * at, [300, at % 90, 300])));
        }
        let now = ms(100 * 199 + 700);
        assert_eq!((clock.round_trip(now), middle(&clock)), (Some(ms(600)), 0.0));
        // An observation that was published 300 ms ago is at most 600 ms old, on either clock.
        assert_eq!(clock.taken(AHEAD + ns(19_800), ms(20_100)), Some(ms(19_500)));
    }

    #[test]
    fn an_age_is_never_too_small_however_the_round_trip_is_shared_out() {
        for there in 0..=400_u64 {
            let back = 400 - there;
            let mut clock = ClockOffset::default();
            assert!(clock.take(&exchange(1000, [there, 40, back])));
            assert_eq!(early(&mut clock), there as f64, "{there} there and {back} back");
            // An observation that arrives now was taken `back` milliseconds ago.
            let came = clock.newest[0].received + ms(500);
            let stamp = AHEAD + u64::try_from(came.as_nanos()).unwrap() - ns(back);
            let age = came - clock.taken(stamp, came).unwrap();
            assert_eq!(age, ms(400), "{there} there and {back} back");
        }
    }

    #[test]
    fn a_latency_that_is_not_is_wrong_by_half_of_the_round_trip_at_most() {
        for (there, back) in [(600, 0), (0, 600), (250, 50), (1, 2)] {
            let mut clock = ClockOffset::default();
            assert!(clock.take(&exchange(1000, [there, 40, back])));
            let most = (there + back) as f64 / 2.0;
            assert!(middle(&clock).abs() <= most, "{there} and {back}: {}", middle(&clock));
        }
    }

    #[test]
    fn of_exchanges_that_jitter_the_one_of_least_round_trip_counts() {
        let mut clock = ClockOffset::default();
        clock.take(&exchange(1000, [5, 30, 5]));
        for at in 11..60_u64 {
            clock.take(&exchange(100 * at, [5 + at * 7 % 90, 10, 5 + at * 13 % 200]));
        }
        assert_eq!((clock.round_trip(ms(6000)), early(&mut clock)), (Some(ms(10)), 5.0));
        // Six seconds later this exchange no longer counts.
        clock.take(&exchange(7200, [20, 0, 20]));
        assert!(clock.round_trip(ms(7240)) > Some(ms(10)));
    }

    #[test]
    fn a_clock_that_is_echoed_no_more_is_known_no_more() {
        let mut clock = ClockOffset::default();
        clock.take(&exchange(1000, [5, 0, 5]));
        assert_eq!(clock.taken(AHEAD + ns(3000), ms(3010)), Some(ms(2995)));
        let none = Exchange { sent_ns: 0, arrived_ns: 0, echoed_ns: AHEAD + ns(3000), received: ms(3005) };
        assert!(!clock.take(&none), "a heartbeat that echoes none is no exchange");
        assert_eq!(clock.taken(AHEAD + ns(3005), ms(3011)), None);
        assert_eq!(clock.round_trip(ms(3011)), None);
        clock.take(&exchange(3100, [5, 0, 5]));
        assert_eq!(clock.taken(AHEAD + ns(3200), ms(3210)), Some(ms(3195)), "until it is echoed again");
    }

    #[test]
    fn clocks_that_drift_apart_are_followed() {
        let mut clock = ClockOffset::default();
        // Nanoseconds that the plant's clock gains in `at` milliseconds: 60 ms in five minutes, far more than any
        // quartz clock.
        let gained = |at: u64| at * 200;
        let now = 300_000;
        for at in (100..now).step_by(100) {
            let mut one = exchange(at, [at / 100 % 7, 20, 10]);
            one.arrived_ns += gained(at);
            one.echoed_ns += gained(at);
            clock.take(&one);
        }
        let taken = clock.taken(AHEAD + ns(now) + gained(now), ms(now + 1000)).unwrap();
        let error = taken.as_secs_f64() * 1e3 - now as f64;
        // The way there took no time in the exchange of least round trip, so the error is the drift alone.
        assert!(error.abs() < 1.3, "what is gained in 64 exchanges, and no more: {error} ms");
    }

    #[test]
    fn what_cannot_be_is_left_out_and_nothing_that_is_sent_does_harm() {
        let mut clock = ClockOffset::default();
        let good = exchange(1000, [5, 5, 5]);
        for bad in [
            Exchange { sent_ns: 0, ..good },
            Exchange { sent_ns: ns(1016), ..good },
            Exchange { echoed_ns: good.arrived_ns - 1, ..good },
            Exchange { echoed_ns: good.arrived_ns + ns(16), ..good },
            Exchange { sent_ns: u64::MAX, ..good },
            Exchange { echoed_ns: u64::MAX, ..good },
        ] {
            assert!(!clock.take(&bad), "{bad:?}");
        }
        assert_eq!(clock.round_trip(ms(1020)), None);
        let extremes = [0, 1, AHEAD, u64::MAX / 2, u64::MAX - 1, u64::MAX];
        let times = [Duration::ZERO, ms(1), Duration::from_nanos(u64::MAX), Duration::MAX];
        for sent_ns in extremes {
            for arrived_ns in extremes {
                for echoed_ns in extremes {
                    for received in times {
                        clock.take(&Exchange { sent_ns, arrived_ns, echoed_ns, received });
                        for stamp_ns in extremes {
                            let taken = clock.taken(stamp_ns, received);
                            assert!(taken.is_none_or(|taken| taken <= received), "{taken:?} {received:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_taken_after_it_came_and_a_stamp_of_the_future_is_none_that_is_known() {
        let mut clock = ClockOffset::default();
        clock.take(&exchange(6000, [20, 0, 20]));
        let mut taken = |stamp: u64| clock.taken(stamp, ms(7000));
        assert_eq!(taken(AHEAD + ns(6990)), Some(ms(6970)));
        assert_eq!(taken(AHEAD + ns(7026)), Some(ms(7000)), "within what the estimate may be wrong by");
        assert_eq!(taken(AHEAD + ns(23)), Some(ms(3)), "what is old is old");
        assert_eq!(taken(0), Some(Duration::ZERO), "before the clock began is when it began");
        assert_eq!(taken(AHEAD + ns(7027)), None, "the clock has been set forward");
        assert_eq!(taken(AHEAD + ns(6990)), None, "and is not known before the next exchange");
        clock.take(&exchange(7010, [20, 0, 20]));
        assert_eq!(clock.taken(AHEAD + ns(7080), ms(7100)), Some(ms(7060)));
        assert_eq!(clock.taken(u64::MAX, ms(7100)), None);
    }

    #[test]
    fn an_exchange_that_is_heard_twice_changes_nothing() {
        let (mut once, mut twice) = (ClockOffset::default(), ClockOffset::default());
        for at in [1000, 1100, 1200] {
            let one = exchange(at, [9, 3, 30]);
            once.take(&one);
            twice.take(&one);
            // The same echo arrives again, later: its way back was longer.
            twice.take(&Exchange { received: one.received + ms(50), ..one });
        }
        assert_eq!(once.round_trip(ms(2000)), twice.round_trip(ms(2000)));
        assert_eq!(early(&mut once), early(&mut twice));
    }
}
