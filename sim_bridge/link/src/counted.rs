//! Counter of repeated faults at a host, such as dropped messages. Every fault is counted, and a warning is issued at
//! most once a second so that a flood does not fill the log. Pure: monotonic time comes in as a value.

use std::time::Duration;

/// Minimum time between two warnings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Count of faults of one kind.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    count: u64,
    told: u64,
    told_at: Option<Duration>,
    last: String,
}

impl Counted {
    /// Counts one fault, with its reason.
    pub fn add(&mut self, reason: impl Into<String>) {
        self.add_all(1, reason);
    }

    /// Counts `count` faults with the same reason; a count of 0 changes nothing.
    pub fn add_all(&mut self, count: u64, reason: impl Into<String>) {
        if count > 0 {
            self.count += count;
            self.last = reason.into();
        }
    }

    /// Returns the number of all faults counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of faults since the last reported ones and the reason of the newest fault. Returns `None` where
    /// there are none, and within one second of the last report.
    pub fn untold(&mut self, now: Duration) -> Option<(u64, &str)> {
        let fresh = self.count - self.told;
        if fresh == 0 || self.told_at.is_some_and(|at| now.saturating_sub(at) < INTERVAL) {
            return None;
        }
        (self.told, self.told_at) = (self.count, Some(now));
        Some((fresh, &self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_once_a_second_and_none_is_forgotten() {
        let mut dropped = Counted::default();
        let mut told = Vec::new();
        for ms in 0..2500 {
            dropped.add(format!("reason {ms}"));
            told.extend(dropped.untold(Duration::from_millis(ms)).map(|(n, last)| (n, last.to_owned())));
        }
        for ms in [2999, 3000, 9000] {
            told.extend(dropped.untold(Duration::from_millis(ms)).map(|(n, last)| (n, last.to_owned())));
        }
        let expected = [(1, 0), (1000, 1000), (1000, 2000), (499, 2499)];
        assert_eq!(told, expected.map(|(n, ms)| (n, format!("reason {ms}"))));
        assert_eq!(dropped.count(), 2500);
    }
}
