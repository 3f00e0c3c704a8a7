//! A watchdog beside the inferences of one session: interrupts the one that is under way when its time is up.
//! One thread that sleeps; an inference that is on time costs it two locks and no wake-up.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What can be told, from another thread, to end.
pub(crate) trait Interrupt: Send + Sync + 'static {
    /// Asks for the end; returns at once.
    fn interrupt(&self);
}

/// The watchdog of one session. Dropping it ends its thread.
pub(crate) struct Watchdog<T: Interrupt> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    /// The inference under way and when its time is up.
    armed: Option<(Instant, Arc<T>)>,
    /// Until when the thread sleeps; `None` for as long as nobody wakes it.
    sleeps_until: Option<Instant>,
    /// Whether the last armed inference was interrupted.
    expired: bool,
    closing: bool,
}

impl<T: Interrupt> Watchdog<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says against another thread.
    pub(crate) fn start() -> io::Result<Self> {
        let state = State { armed: None, sleeps_until: None, expired: false, closing: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let watching = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("aegis-deadline".into()).spawn(move || watching.watch())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From now until [`Watchdog::disarm`], `target` is interrupted once `at` has come.
    pub(crate) fn arm(&self, at: Instant, target: &Arc<T>) {
        let mut state = self.shared.lock();
        state.armed = Some((at, Arc::clone(target)));
        state.expired = false;
        // A thread that wakes before `at` finds the new time by itself.
        if state.sleeps_until.is_none_or(|until| until > at) {
            self.shared.wake.notify_one();
        }
    }

    /// Ends the watch; true if the target was interrupted. Afterwards it will not be.
    pub(crate) fn disarm(&self) -> bool {
        let mut state = self.shared.lock();
        state.armed = None;
        state.expired
    }
}

impl<T: Interrupt> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole after every statement, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.lock();
        while !state.closing {
            let now = Instant::now();
            let at = state.armed.as_ref().map(|(at, _)| *at);
            state = match at {
                Some(at) if at <= now => {
                    if let Some((_, target)) = state.armed.take() {
                        // Under the lock, so that it cannot reach the inference after this one.
                        target.interrupt();
                        state.expired = true;
                    }
                    state
                }
                Some(at) => {
                    state.sleeps_until = Some(at);
                    let slept = self.wake.wait_timeout(state, at - now);
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    state.sleeps_until = None;
                    self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl<T: Interrupt> Drop for Watchdog<T> {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked in `interrupt`, and then there is nothing left to end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Bell(Mutex<Sender<()>>);

    impl Interrupt for Bell {
        fn interrupt(&self) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    const FAR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_late_is_interrupted_once() {
        let (sender, rings) = channel();
        let bell = Arc::new(Bell(Mutex::new(sender)));
        let watchdog = Watchdog::start().unwrap();
        for _ in 0..3 {
            watchdog.arm(Instant::now(), &bell);
            rings.recv().unwrap();
            assert!(watchdog.disarm());
        }
        assert!(rings.try_recv().is_err());
    }

    #[test]
    fn what_is_on_time_is_left_alone_and_a_nearer_deadline_wakes_the_thread() {
        let (sender, rings) = channel();
        let bell = Arc::new(Bell(Mutex::new(sender)));
        let watchdog = Watchdog::start().unwrap();
        for _ in 0..1000 {
            watchdog.arm(Instant::now() + FAR, &bell);
            assert!(!watchdog.disarm());
        }
        // The thread may be asleep until the far deadline; this one must not wait for it.
        watchdog.arm(Instant::now() + Duration::from_millis(1), &bell);
        rings.recv().unwrap();
        assert!(watchdog.disarm());
        drop(watchdog);
        assert!(rings.try_recv().is_err());
    }
}
