//! Delay queue: items come out in the order in which they were put in, each after a latency. Pure: time is a value.

use std::collections::VecDeque;
use std::time::Duration;

/// Items in order, each with the time at which it is due.
#[derive(Clone, Debug)]
pub struct DelayQueue<T> {
    latency: Duration,
    items: VecDeque<(Duration, T)>,
}

impl<T> DelayQueue<T> {
    /// Creates an empty queue.
    pub fn new(latency: Duration) -> Self {
        Self { latency, items: VecDeque::new() }
    }

    /// Changes the latency of items put in from now on. No later item overtakes one that already waits.
    pub fn set_latency(&mut self, latency: Duration) {
        self.latency = latency;
    }

    /// Puts in an item that arrived at `at`.
    pub fn push(&mut self, at: Duration, item: T) {
        let last = self.items.back().map_or(Duration::ZERO, |(due, _)| *due);
        self.items.push_back((last.max(at + self.latency), item));
    }

    /// Takes out the oldest item if it is due.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.items.pop_front().map(|(_, item)| item)
    }

    /// Returns the time at which the oldest item is due, or `None` for an empty queue.
    pub fn next_due(&self) -> Option<Duration> {
        self.items.front().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn an_item_comes_out_a_latency_after_it_arrived_and_in_order() {
        let mut queue = DelayQueue::new(ms(300));
        queue.push(ms(0), 'a');
        queue.push(ms(50), 'b');
        assert_eq!((queue.next_due(), queue.pop(ms(299))), (Some(ms(300)), None));
        assert_eq!((queue.pop(ms(300)), queue.pop(ms(300))), (Some('a'), None));
        assert_eq!((queue.pop(ms(1000)), queue.pop(ms(1000)), queue.next_due()), (Some('b'), None, None));
    }

    #[test]
    fn without_latency_it_holds_nothing_back() {
        let mut queue = DelayQueue::new(Duration::ZERO);
        queue.push(ms(7), ());
        assert_eq!(queue.pop(ms(7)), Some(()));
    }

    #[test]
    fn a_shorter_latency_lets_nothing_overtake() {
        let mut queue = DelayQueue::new(ms(100));
        queue.push(ms(0), 1);
        queue.set_latency(ms(10));
        queue.push(ms(5), 2);
        assert_eq!(queue.pop(ms(50)), None, "the first is due at 100 ms, and the second not before it");
        assert_eq!((queue.pop(ms(100)), queue.pop(ms(100))), (Some(1), Some(2)));
        queue.push(ms(100), 3);
        assert_eq!(queue.next_due(), Some(ms(110)));
    }
}
