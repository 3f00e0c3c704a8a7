//! A watchdog's order to stop, as its plant keeps it: for how long, and why. Pure.

use std::time::Duration;

use crate::wire::StopRequest;

/// Longest time for which one request holds a plant. A watchdog repeats its request; one that has ended holds the plant no longer
/// than this.
const LONGEST: Duration = Duration::from_secs(10);

/// The newest order of a watchdog.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopOrder {
    until: Duration,
    reason: String,
}

impl StopOrder {
    /// Takes a request that arrived at `now`. An order is never shortened by a later one.
    pub fn renew(&mut self, request: StopRequest, now: Duration) {
        let until = now + Duration::from_nanos(request.hold_ns).min(LONGEST);
        *self = Self { until: until.max(self.until), reason: request.reason };
    }

    /// Returns why the plant is held at `now`, or `None` where no order holds it.
    pub fn refusal(&self, now: Duration) -> Option<String> {
        let holds = now < self.until;
        holds.then(|| {
            format!(
                "a watchdog holds the plant: {}; an operator has to reset the watchdog first",
                self.reason
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(hold_ns: u64) -> StopRequest {
        StopRequest { reason: "a jump".into(), hold_ns }
    }

    #[test]
    fn an_order_holds_for_its_time_and_for_ten_seconds_at_most() {
        let (ms, mut kept) = (Duration::from_millis, StopOrder::default());
        assert_eq!(kept.refusal(ms(0)), None);
        kept.renew(order(2_000_000_000), ms(100));
        assert!(kept.refusal(ms(2099)).is_some_and(|reason| reason.contains("a jump")));
        assert_eq!(kept.refusal(ms(2100)), None);
        kept.renew(order(u64::MAX), ms(3000));
        kept.renew(order(0), ms(4000));
        assert!(kept.refusal(ms(12_999)).is_some(), "a shorter order after it shortens nothing");
        assert_eq!(kept.refusal(ms(13_000)), None);
    }
}
