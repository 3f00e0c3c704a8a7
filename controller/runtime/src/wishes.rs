//! What people want, from any thread to the control thread: flags that are set at once and taken once.
//! An emergency stop is never lost behind anything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aegis_core::control::Wishes;

/// Wishes that the control thread has not taken yet.
#[derive(Debug, Default)]
pub struct WishBox {
    e_stop: AtomicBool,
    stop: AtomicBool,
    reset: AtomicBool,
    /// Number of the episode to begin; 0 is none.
    start: AtomicU64,
}

impl WishBox {
    /// The emergency stop.
    pub fn e_stop(&self) {
        self.e_stop.store(true, Ordering::Release);
    }

    /// A safe stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Out of a latch.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }

    /// Begin the episode with this number, above 0.
    pub fn start(&self, episode: u64) {
        self.start.store(episode, Ordering::Release);
    }

    pub(crate) fn take(&self) -> Wishes {
        let start = self.start.swap(0, Ordering::AcqRel);
        Wishes {
            e_stop: self.e_stop.swap(false, Ordering::AcqRel),
            stop: self.stop.swap(false, Ordering::AcqRel),
            reset: self.reset.swap(false, Ordering::AcqRel),
            start: (start > 0).then_some(start),
        }
    }
}
