//! Mailbox of operator commands, from any thread to the control thread: each command is set at once and taken once.
//! No other command can delay or displace an emergency stop, and no start outlives a stop or a reset.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aegis_core::control::OperatorCommands;

/// Operator commands that the control thread has not taken yet.
#[derive(Debug, Default)]
pub struct CommandMailbox {
    e_stop: AtomicBool,
    stop: AtomicBool,
    /// Value of `interruptions` right after the newest reset; 0 for none. A later stop cancels the reset.
    reset: AtomicU64,
    /// Number of stops and resets so far.
    interruptions: AtomicU64,
    /// The pending start. Locked only to copy it, never across a wait.
    start: Mutex<StartAt>,
}

/// Start of an episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartAt {
    /// Number of the episode, above 0; 0 means no start.
    pub episode: u64,
    /// Pose of the plant, `[channels]`.
    pub pose: Vec<f32>,
    /// Time at which the plant stood at `pose`, on the run's clock.
    pub taken: Duration,
    /// Value of [`CommandMailbox::interruptions`] when an operator asked for the start; a stop or a reset since then
    /// cancels the start.
    pub as_of: u64,
}

impl CommandMailbox {
    /// Commands an emergency stop.
    pub fn e_stop(&self) {
        self.interrupt();
        self.e_stop.store(true, Ordering::Release);
    }

    /// Commands a safe stop.
    pub fn stop(&self) {
        self.interrupt();
        self.stop.store(true, Ordering::Release);
    }

    /// Commands a reset, which leaves a latched mode.
    pub fn reset(&self) {
        self.reset.store(self.interrupt(), Ordering::Release);
    }

    /// Commands a reset, unless a stop or another reset has come since the number of interruptions was `as_of`.
    pub fn reset_as_of(&self, as_of: u64) {
        let next = as_of + 1;
        if self.interruptions.compare_exchange(as_of, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.reset.store(next, Ordering::Release);
        }
    }

    /// Cancels every start and reset that was asked for before. Returns the number of interruptions, with this one.
    pub fn interrupt(&self) -> u64 {
        self.interruptions.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns the number of stops and resets so far, each counted once or more often.
    pub fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Acquire)
    }

    /// Commands the start of an episode, in place of a pending start.
    pub fn start(&self, start: StartAt) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }

    /// Takes the commands. With a start, copies the plant's pose into `pose` and returns the time at which the plant
    /// stood there. Neither waits nor allocates if `pose` has capacity for every channel.
    pub(crate) fn take(&self, pose: &mut Vec<f32>) -> (OperatorCommands, Option<Duration>) {
        let (mut start, mut taken) = (None, None);
        // A start that another thread is writing at this moment is taken in the next period.
        if let Ok(mut waiting) = self.start.try_lock() {
            let episode = std::mem::take(&mut waiting.episode);
            if episode > 0 && waiting.as_of == self.interruptions() {
                (start, taken) = (Some(episode), Some(waiting.taken));
                pose.clear();
                pose.extend_from_slice(&waiting.pose);
            }
        }
        // Read after the start: a stop that arrives in between is taken together with the start, and obeyed before it.
        let (e_stop, stop) =
            (self.e_stop.swap(false, Ordering::AcqRel), self.stop.swap(false, Ordering::AcqRel));
        let reset = self.reset.swap(0, Ordering::AcqRel);
        // A stop that came after the reset may be among those taken above, or be taken in the next period.
        let reset = reset > 0 && reset == self.interruptions();
        let wishes = OperatorCommands { e_stop, stop, reset, start };
        (wishes, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that interrupts a start.
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
            // The start was asked for before the interruption and is given after it.
            let as_of = wishes.interruptions();
            interrupt(&wishes);
            wishes.start(start(as_of));
            assert_eq!(wishes.take(&mut pose).0.start, None);
            // The start was given before the interruption and has not been taken yet.
            wishes.start(start(wishes.interruptions()));
            interrupt(&wishes);
            assert_eq!(wishes.take(&mut pose).0.start, None);
            assert_eq!(wishes.take(&mut pose), (OperatorCommands::default(), None), "it does not come back");
        }
    }

    #[test]
    fn no_reset_outlives_a_stop_that_came_after_it() {
        let (wishes, mut pose) = (CommandMailbox::default(), Vec::new());
        let mut taken = |wishes: &CommandMailbox| wishes.take(&mut pose).0;
        wishes.reset();
        assert!(taken(&wishes).reset);
        for stop in [CommandMailbox::e_stop, CommandMailbox::stop] {
            wishes.reset();
            stop(&wishes);
            assert!(!taken(&wishes).reset && !taken(&wishes).reset);
            let as_of = wishes.interruptions();
            stop(&wishes);
            wishes.reset_as_of(as_of);
            assert!(!taken(&wishes).reset);
            wishes.reset_as_of(wishes.interruptions());
            assert!(taken(&wishes).reset);
        }
    }
}
