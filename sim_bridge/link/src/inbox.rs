//! What waits for a plant while it moves: bounded by number and by size, and everything that found no place is counted.
//! Zenoh's threads put in and the plant's thread takes out; no kind of message can crowd out another.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::wire::MAX_TO_PLANT;

/// Requests that may wait. One that finds no place is dropped, for whoever asked asks again.
const REQUESTS: usize = 64;
/// Actions that may wait. The oldest gives way, for the plant moves with the newest.
const ACTIONS: usize = 64;
/// Heartbeats that may wait. The oldest gives way, for the newest says more.
const PULSES: usize = 256;

/// Bytes of a publication, and when they arrived.
pub(crate) type Arrived = (Vec<u8>, Duration);

/// What there was to take: every heartbeat and action, and one request, so that each gets its turn.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    /// Heartbeats, oldest first.
    pub pulses: VecDeque<Arrived>,
    /// Actions, oldest first.
    pub actions: VecDeque<Arrived>,
    /// The oldest request.
    pub request: Option<R>,
    /// Messages that found no place since the last batch.
    pub crowded_out: u64,
    /// Messages since the last batch that are larger than any to a plant.
    pub oversized: u64,
}

impl<R> Batch<R> {
    fn new() -> Self {
        let (pulses, actions) = (VecDeque::new(), VecDeque::new());
        Self { pulses, actions, request: None, crowded_out: 0, oversized: 0 }
    }

    /// Whether nobody had sent anything.
    pub fn is_empty(&self) -> bool {
        self.pulses.is_empty() && self.actions.is_empty() && self.request.is_none()
    }
}

#[derive(Debug)]
struct Waiting<R> {
    requests: VecDeque<R>,
    rest: Batch<R>,
}

/// A bounded inbox; `R` is a request.
#[derive(Debug)]
pub(crate) struct Inbox<R> {
    waiting: Mutex<Waiting<R>>,
    arrived: Condvar,
}

impl<R> Inbox<R> {
    /// An empty one.
    pub fn new() -> Self {
        let waiting = Waiting { requests: VecDeque::new(), rest: Batch::new() };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }

    /// Puts in a request of `size` bytes.
    pub fn request(&self, size: usize, request: R) {
        self.put(size, |waiting| {
            let full = waiting.requests.len() >= REQUESTS;
            if !full {
                waiting.requests.push_back(request);
            }
            full
        });
    }

    /// Puts in an action of `size` bytes, copied only where they fit.
    pub fn action(&self, size: usize, bytes: impl FnOnce() -> Vec<u8>, at: Duration) {
        self.put(size, |waiting| newest(&mut waiting.rest.actions, (bytes(), at), ACTIONS));
    }

    /// Puts in a heartbeat of `size` bytes, copied only where they fit.
    pub fn pulse(&self, size: usize, bytes: impl FnOnce() -> Vec<u8>, at: Duration) {
        self.put(size, |waiting| newest(&mut waiting.rest.pulses, (bytes(), at), PULSES));
    }

    /// Takes out what is there, waiting at most `timeout` for something.
    pub fn take(&self, timeout: Duration) -> Batch<R> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |waiting: &mut Waiting<R>| waiting.requests.is_empty() && waiting.rest.is_empty();
        let woken = self.arrived.wait_timeout_while(waiting, timeout, nothing);
        let (mut waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        let request = waiting.requests.pop_front();
        Batch { request, ..std::mem::replace(&mut waiting.rest, Batch::new()) }
    }

    fn put(&self, size: usize, put: impl FnOnce(&mut Waiting<R>) -> bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if size > MAX_TO_PLANT {
            waiting.rest.oversized += 1;
            return;
        }
        let crowded_out = put(&mut waiting);
        waiting.rest.crowded_out += u64::from(crowded_out);
        drop(waiting);
        self.arrived.notify_one();
    }
}

/// Puts in the newest; whether the oldest had to give way.
fn newest(queue: &mut VecDeque<Arrived>, arrived: Arrived, most: usize) -> bool {
    let full = queue.len() >= most;
    if full {
        queue.pop_front();
    }
    queue.push_back(arrived);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_flood_of_each_kind_is_bounded_counted_and_leaves_room_for_the_others() {
        let inbox = Inbox::new();
        for i in 0..10_000u32 {
            inbox.request(8, i);
            inbox.action(8, || i.to_le_bytes().into(), NOW);
            inbox.pulse(8, || i.to_le_bytes().into(), NOW);
        }
        let batch = inbox.take(NOW);
        assert_eq!((batch.pulses.len(), batch.actions.len(), batch.request), (PULSES, ACTIONS, Some(0)));
        assert_eq!(batch.crowded_out, (30_000 - PULSES - ACTIONS - REQUESTS) as u64);
        let last = Some(&(9_999u32.to_le_bytes().to_vec(), NOW));
        assert_eq!((batch.pulses.back(), batch.actions.back()), (last, last));
        // The requests that found a place come one a batch, oldest first, and nothing is counted twice.
        for i in 1..REQUESTS as u32 {
            let batch = inbox.take(NOW);
            assert_eq!((batch.request, batch.crowded_out, batch.pulses.len()), (Some(i), 0, 0));
        }
        assert!(inbox.take(NOW).is_empty());
    }

    #[test]
    fn what_is_too_large_is_counted_and_never_copied() {
        let inbox = Inbox::<()>::new();
        inbox.request(MAX_TO_PLANT + 1, ());
        inbox.action(MAX_TO_PLANT + 1, || panic!("copied"), NOW);
        inbox.pulse(MAX_TO_PLANT + 1, || panic!("copied"), NOW);
        inbox.request(MAX_TO_PLANT, ());
        let batch = inbox.take(NOW);
        assert_eq!((batch.oversized, batch.crowded_out, batch.request), (3, 0, Some(())));
        assert!(batch.pulses.is_empty() && batch.actions.is_empty());
    }
}
