//! Pace of the control periods: on a fixed grid of the monotonic clock, with missed grid points left out.
//! `Schedule` is pure; waiting sleeps for most of the time and polls the clock for the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// Event that begins a control period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The controller's own clock.
    #[default]
    Clock,
    /// The plant's next observation, or, without one, half a period after it was due.
    Observation,
}

/// Grid of control periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    period: Duration,
    next: Duration,
}

impl Schedule {
    /// Returns a grid whose first period begins at `first`.
    pub fn new(period: Duration, first: Duration) -> Self {
        Self { period, next: first }
    }

    /// Returns the time at which the next period begins.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Serves the period that has begun by `now`. Returns the delay of that period, and the number of missed periods before
    /// it, which are left out.
    pub fn serve(&mut self, now: Duration) -> (Duration, u32) {
        let late = now.saturating_sub(self.next);
        let skipped = u32::try_from(late.as_nanos() / self.period.as_nanos().max(1)).unwrap_or(u32::MAX);
        let begun = self.next + self.period.saturating_mul(skipped);
        self.next = begun + self.period;
        (now.saturating_sub(begun), skipped)
    }

    /// Restarts the grid, with the period that is served at `now` as the first. Returns the number of periods that were
    /// missed: a period waits for its observation until half a period after it was due, and no longer.
    pub fn restart(&mut self, now: Duration) -> u32 {
        let late = now.saturating_sub(self.next + self.period / 2);
        self.next = now + self.period;
        u32::try_from(late.as_nanos() / self.period.as_nanos().max(1)).unwrap_or(u32::MAX)
    }
}

/// Waits until `until`: sleeps, and polls the clock for the last `spin`, because a sleep may end late.
pub(crate) fn wait(clock: Clock, until: Duration, spin: Duration) {
    loop {
        let left = until.saturating_sub(clock.now());
        if left.is_zero() {
            return;
        }
        if left > spin {
            std::thread::sleep(left - spin);
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn periods_lie_on_a_grid_and_missed_ones_are_lost() {
        let mut schedule = Schedule::new(10 * MS, 5 * MS);
        assert_eq!(schedule.serve(5 * MS), (Duration::ZERO, 0));
        assert_eq!(schedule.serve(16 * MS), (MS, 0));
        assert_eq!(schedule.next(), 25 * MS, "late by one, and not shifted");
        assert_eq!(schedule.serve(58 * MS), (3 * MS, 3));
        assert_eq!(schedule.next(), 65 * MS, "no burst makes up for it");
    }

    #[test]
    fn a_period_that_waits_for_its_observation_is_missed_only_past_the_end_of_the_wait() {
        let mut schedule = Schedule::new(10 * MS, 5 * MS);
        assert_eq!(schedule.restart(10 * MS), 0, "half a period late, as without an observation");
        assert_eq!(schedule.restart(26 * MS), 0, "the wait ended late");
        assert_eq!(schedule.restart(526 * MS), 48, "suspended for half a second");
        assert_eq!(schedule.next(), 536 * MS);
    }
}
