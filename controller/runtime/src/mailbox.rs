//! What people want, from any thread to the control thread: flags that are set at once and taken once.
//! An emergency stop is never lost behind anything else, and no start outlives a stop or a reset.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aegis_core::control::OperatorCommands;

/// Wishes that the control thread has not taken yet.
#[derive(Debug, Default)]
pub struct CommandMailbox {
    e_stop: AtomicBool,
    stop: AtomicBool,
    reset: AtomicBool,
    /// Stops and resets so far.
    interruptions: AtomicU64,
    /// The start that waits. Locked for a copy, never while anything is waited for.
    start: Mutex<StartAt>,
}

/// An episode that is to begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartAt {
    /// Its number, above 0; 0 is none.
    pub episode: u64,
    /// Where the plant stands, `[channels]`.
    pub pose: Vec<f32>,
    /// When it stood there, on the run's clock.
    pub taken: Duration,
    /// [`CommandMailbox::interruptions`] when somebody said that it may begin: a stop or a reset since then ends that.
    pub as_of: u64,
}

impl CommandMailbox {
    /// The emergency stop.
    pub fn e_stop(&self) {
        self.interrupt();
        self.e_stop.store(true, Ordering::Release);
    }

    /// A safe stop.
    pub fn stop(&self) {
        self.interrupt();
        self.stop.store(true, Ordering::Release);
    }

    /// Out of a latch.
    pub fn reset(&self) {
        self.interrupt();
        self.reset.store(true, Ordering::Release);
    }

    /// Whatever was said of a start before counts no more.
    pub fn interrupt(&self) {
        self.interruptions.fetch_add(1, Ordering::AcqRel);
    }

    /// Stops and resets so far, each counted once or more often.
    pub fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Acquire)
    }

    /// Begin an episode.
    pub fn start(&self, start: StartAt) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }

    /// Takes what is wanted; with a start, `pose` becomes where the plant stands, and when it stood there is returned. Neither
    /// waits nor allocates where `pose` has room for every channel.
    pub(crate) fn take(&self, pose: &mut Vec<f32>) -> (OperatorCommands, Option<Duration>) {
        let (mut start, mut taken) = (None, None);
        // A start that is being written at this moment is taken in the next period.
        if let Ok(mut waiting) = self.start.try_lock() {
            let episode = std::mem::take(&mut waiting.episode);
            if episode > 0 && waiting.as_of == self.interruptions() {
                (start, taken) = (Some(episode), Some(waiting.taken));
                pose.clear();
                pose.extend_from_slice(&waiting.pose);
            }
        }
        // After the start: a stop that comes between is taken with it, and before it.
        let wishes = OperatorCommands {
            e_stop: self.e_stop.swap(false, Ordering::AcqRel),
            stop: self.stop.swap(false, Ordering::AcqRel),
            reset: self.reset.swap(false, Ordering::AcqRel),
            start,
        };
        (wishes, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each way to interrupt a start.
    const INTERRUPTIONS: [fn(&CommandMailbox); 3] =
        [CommandMailbox::e_stop, CommandMailbox::stop, CommandMailbox::reset];

    #[test]
    fn a_start_is_taken_once_and_none_outlives_a_stop_or_a_reset() {
        let (wishes, mut pose) = (CommandMailbox::default(), Vec::with_capacity(1));
        let start =
            |as_of: u64| StartAt { episode: 7, pose: vec![0.5], taken: Duration::from_secs(3), as_of };
        wishes.start(start(0));
        let (wanted, taken) = wishes.take(&mut pose);
        assert_eq!((wanted.start, taken, &pose[..]), (Some(7), Some(Duration::from_secs(3)), &[0.5][..]));
        assert_eq!(wishes.take(&mut pose), (OperatorCommands::default(), None));
        for interrupt in INTERRUPTIONS {
            // Said before, and begun after.
            let as_of = wishes.interruptions();
            interrupt(&wishes);
            wishes.start(start(as_of));
            assert_eq!(wishes.take(&mut pose).0.start, None);
            // Begun before, and not taken yet.
            wishes.start(start(wishes.interruptions()));
            interrupt(&wishes);
            assert_eq!(wishes.take(&mut pose).0.start, None);
            assert_eq!(wishes.take(&mut pose), (OperatorCommands::default(), None), "it does not come back");
        }
    }
}
