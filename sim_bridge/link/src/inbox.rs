//! Inbox of messages that wait for a plant while the plant moves: bounded in number and in size, with a count of every
//! dropped message. Zenoh's threads put messages in and the plant's thread takes them out. Each kind of message has its
//! own queue, so no kind can crowd out another.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::wire::MAX_TO_PLANT;

/// Maximum number of waiting requests. A request beyond it is dropped, because the controller repeats the request.
const REQUESTS: usize = 64;
/// Maximum number of waiting requests of watchdogs. A request beyond it is dropped, because a watchdog repeats its request.
const STOPS: usize = 16;
/// Maximum number of waiting actions. The oldest is dropped for a new one, because the plant executes the newest.
const ACTIONS: usize = 64;
/// Maximum number of waiting heartbeats. The oldest is dropped for a new one, because the newest carries the latest time.
const PULSES: usize = 256;

/// Bytes of a publication, and their arrival time.
pub(crate) type Arrived = (Vec<u8>, Duration);

/// Messages taken out at once: everything that waits of a watchdog, every waiting heartbeat and action, and one request, so that no
/// kind delays another.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    /// Requests of watchdogs, oldest first.
    pub stops: VecDeque<R>,
    /// Heartbeats, oldest first.
    pub pulses: VecDeque<Arrived>,
    /// Actions, oldest first.
    pub actions: VecDeque<Arrived>,
    /// The oldest request.
    pub request: Option<R>,
    /// Number of messages dropped for lack of capacity since the last batch.
    pub crowded_out: u64,
    /// Number of messages since the last batch that were larger than [`MAX_TO_PLANT`].
    pub oversized: u64,
}

impl<R> Batch<R> {
    fn new() -> Self {
        Self {
            stops: VecDeque::new(),
            pulses: VecDeque::new(),
            actions: VecDeque::new(),
            request: None,
            crowded_out: 0,
            oversized: 0,
        }
    }

    /// Returns whether the batch holds no message.
    pub fn is_empty(&self) -> bool {
        self.stops.is_empty() && self.pulses.is_empty() && self.actions.is_empty() && self.request.is_none()
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
    /// Creates an empty inbox.
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

    /// Puts in a watchdog's request of `size` bytes.
    pub fn stop(&self, size: usize, request: R) {
        self.put(size, |waiting| {
            let full = waiting.rest.stops.len() >= STOPS;
            if !full {
                waiting.rest.stops.push_back(request);
            }
            full
        });
    }

    /// Puts in an action of `size` bytes. `bytes` is called, and so copies, only where the size is within the limit.
    pub fn action(&self, size: usize, bytes: impl FnOnce() -> Vec<u8>, at: Duration) {
        self.put(size, |waiting| newest(&mut waiting.rest.actions, (bytes(), at), ACTIONS));
    }

    /// Puts in a heartbeat of `size` bytes. `bytes` is called, and so copies, only where the size is within the limit.
    pub fn pulse(&self, size: usize, bytes: impl FnOnce() -> Vec<u8>, at: Duration) {
        self.put(size, |waiting| newest(&mut waiting.rest.pulses, (bytes(), at), PULSES));
    }

    /// Takes out a batch, waiting at most `timeout` for the first message.
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

/// Appends a message; returns whether the oldest was dropped to make room.
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
            inbox.stop(8, i);
            inbox.action(8, || i.to_le_bytes().into(), NOW);
            inbox.pulse(8, || i.to_le_bytes().into(), NOW);
        }
        let batch = inbox.take(NOW);
        assert_eq!((batch.pulses.len(), batch.actions.len(), batch.request), (PULSES, ACTIONS, Some(0)));
        assert!(batch.stops.iter().copied().eq(0..STOPS as u32));
        assert_eq!(batch.crowded_out, (40_000 - PULSES - ACTIONS - REQUESTS - STOPS) as u64);
        let last = Some(&(9_999u32.to_le_bytes().to_vec(), NOW));
        assert_eq!((batch.pulses.back(), batch.actions.back()), (last, last));
        // The accepted requests come out one per batch, oldest first, and nothing is counted twice.
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
        inbox.stop(MAX_TO_PLANT + 1, ());
        inbox.action(MAX_TO_PLANT + 1, || panic!("copied"), NOW);
        inbox.pulse(MAX_TO_PLANT + 1, || panic!("copied"), NOW);
        inbox.request(MAX_TO_PLANT, ());
        let batch = inbox.take(NOW);
        assert_eq!((batch.oversized, batch.crowded_out, batch.request), (4, 0, Some(())));
        assert!(batch.stops.is_empty() && batch.pulses.is_empty() && batch.actions.is_empty());
    }
}
