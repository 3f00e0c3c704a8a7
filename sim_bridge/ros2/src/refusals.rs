//! Messages that were refused: counted, and said at most once a second. Pure.

use std::time::Duration;

/// Minimum time between two warnings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Refused messages of one topic.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    count: u64,
    told: Option<Duration>,
    last: Option<String>,
}

impl Refusals {
    /// Counts `count` refused messages, with a reason.
    pub fn add(&mut self, count: u64, reason: String) {
        self.count += count;
        self.last = Some(reason);
    }

    /// Forgets the reason of the last refusal: a message was taken since.
    pub fn end(&mut self) {
        if self.count == 0 {
            self.last = None;
        }
    }

    /// Returns the reason of the last refusal, unless a message was taken since.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Returns a warning about the refusals since the last one, at most once a second.
    pub fn warning(&mut self, topic: &str, now: Duration) -> Option<String> {
        let is_due = self.told.is_none_or(|told| now.saturating_sub(told) >= INTERVAL);
        let reason = self.last.as_ref().filter(|_| self.count > 0 && is_due)?;
        let messages = if self.count == 1 { "1 message".into() } else { format!("{} messages", self.count) };
        let warning = format!("topic {topic}: refused {messages}, the last because: {reason}");
        (self.count, self.told) = (0, Some(now));
        Some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_said_at_most_once_a_second_with_their_number() {
        let (mut refusals, ms) = (Refusals::default(), Duration::from_millis);
        assert_eq!(refusals.warning("/a", ms(0)), None);
        refusals.add(1, "b".into());
        let first = refusals.warning("/a", ms(0)).unwrap();
        assert_eq!(first, "topic /a: refused 1 message, the last because: b");
        refusals.add(2, "c".into());
        assert_eq!((refusals.warning("/a", ms(999)), refusals.last()), (None, Some("c")));
        assert!(
            refusals.warning("/a", ms(1000)).unwrap().contains("refused 2 messages, the last because: c")
        );
        refusals.end();
        assert_eq!(refusals.last(), None);
    }
}
