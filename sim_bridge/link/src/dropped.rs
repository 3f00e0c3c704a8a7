//! Messages that a host drops: every one counted, and told of at most once a second, so that a flood fills no log.
//! Pure: monotonic time comes in as a value.

use std::time::Duration;

/// Between two warnings.
const EVERY: Duration = Duration::from_secs(1);

/// What was dropped so far.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    count: u64,
    told: u64,
    told_at: Option<Duration>,
    last: String,
}

impl Dropped {
    /// Counts one, with its reason.
    pub fn add(&mut self, reason: impl Into<String>) {
        self.add_all(1, reason);
    }

    /// Counts several that have one reason; none counts for nothing.
    pub fn add_all(&mut self, count: u64, reason: impl Into<String>) {
        if count > 0 {
            self.count += count;
            self.last = reason.into();
        }
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many there were since the last warning, and why the last was dropped; nothing within a second of that.
    pub fn warning(&mut self, now: Duration) -> Option<String> {
        let fresh = self.count - self.told;
        if fresh == 0 || self.told_at.is_some_and(|at| now.saturating_sub(at) < EVERY) {
            return None;
        }
        (self.told, self.told_at) = (self.count, Some(now));
        let messages = if fresh == 1 { "message" } else { "messages" };
        Some(format!("dropped {fresh} {messages}, the last because: {}", self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_once_a_second_and_none_is_forgotten() {
        let mut dropped = Dropped::default();
        let mut told = Vec::new();
        for ms in 0..2500 {
            dropped.add(format!("reason {ms}"));
            told.extend(dropped.warning(Duration::from_millis(ms)));
        }
        told.extend(dropped.warning(Duration::from_millis(2999)));
        told.extend(dropped.warning(Duration::from_millis(3000)));
        told.extend(dropped.warning(Duration::from_secs(9)));
        let expected = [(1, "", 0), (1000, "s", 1000), (1000, "s", 2000), (499, "s", 2499)];
        let expected =
            expected.map(|(n, s, ms)| format!("dropped {n} message{s}, the last because: reason {ms}"));
        assert_eq!(told, expected);
        assert_eq!(dropped.count(), 2500);
    }
}
