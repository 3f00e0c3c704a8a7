//! What people want, from any thread to the control thread: flags that are set at once and taken once.
//! An emergency stop is never lost behind anything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aegis_core::control::Wishes;

/// Wishes that the control thread has not taken yet.
#[derive(Debug, Default)]
pub struct WishBox {
    e_stop: AtomicBool,
    stop: AtomicBool,
    reset: AtomicBool,
    /// Number of the episode to begin; 0 is none.
    start: AtomicU64,
    /// Where the plant stands at that start, `[channels]`. Locked for a copy, never while anything is waited for.
    pose: Mutex<Vec<f32>>,
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

    /// Begin the episode with this number, above 0, where the plant stands at `pose`, `[channels]`.
    pub fn start(&self, episode: u64, pose: &[f32]) {
        let mut kept = self.pose.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend_from_slice(pose);
        self.start.store(episode, Ordering::Release);
    }

    /// Takes what is wanted; with a start, `pose` becomes where the plant stands. Neither waits nor allocates where `pose`
    /// has room for every channel.
    pub(crate) fn take(&self, pose: &mut Vec<f32>) -> Wishes {
        let start = match self.pose.try_lock() {
            Ok(kept) => {
                let start = self.start.swap(0, Ordering::AcqRel);
                if start > 0 {
                    pose.clear();
                    pose.extend_from_slice(&kept);
                }
                start
            }
            // A start is being written at this moment: the next period takes it.
            Err(_) => 0,
        };
        Wishes {
            e_stop: self.e_stop.swap(false, Ordering::AcqRel),
            stop: self.stop.swap(false, Ordering::AcqRel),
            reset: self.reset.swap(false, Ordering::AcqRel),
            start: (start > 0).then_some(start),
        }
    }
}
