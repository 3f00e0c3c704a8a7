//! A watchdog for the inferences of one session: interrupts a running inference at its deadline.
//! The watchdog is one sleeping thread. An inference that is on time costs two locks and wakes no thread.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// A running operation that another thread can interrupt.
pub(crate) trait Interrupt: Send + Sync + 'static {
    /// Requests the end of the operation and returns at once.
    fn interrupt(&self);
}

/// The watchdog of one session. Dropping the watchdog ends its thread.
pub(crate) struct Watchdog<T: Interrupt> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    /// Deadline and target of the running inference.
    armed: Option<(Instant, Arc<T>)>,
    /// Time until which the thread sleeps; `None` while it sleeps without a limit.
    sleeps_until: Option<Instant>,
    /// Whether the last armed inference was interrupted.
    expired: bool,
    closing: bool,
}

impl<T: Interrupt> Watchdog<T> {
    /// Starts the watchdog's thread.
    ///
    /// # Errors
    /// The operating system's error where it does not start the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let state = State { armed: None, sleeps_until: None, expired: false, closing: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let watching = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("aegis-deadline".into()).spawn(move || watching.watch())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sets the deadline: `target` is interrupted at `at`, unless [`Watchdog::disarm`] is called before.
    pub(crate) fn arm(&self, at: Instant, target: &Arc<T>) {
        let mut state = self.shared.lock();
        state.armed = Some((at, Arc::clone(target)));
        state.expired = false;
        // If the thread wakes before `at` anyway, it reads the new deadline then and needs no notification.
        if state.sleeps_until.is_none_or(|until| until > at) {
            self.shared.wake.notify_one();
        }
    }

    /// Removes the deadline. Returns true if the target was interrupted; it is not interrupted after this call.
    pub(crate) fn disarm(&self) -> bool {
        let mut state = self.shared.lock();
        state.armed = None;
        state.expired
    }
}

impl<T: Interrupt> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is consistent after every statement, so a panic of another thread does not invalidate it.
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
                        // The lock is held during the interrupt, so that it cannot reach the next inference.
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
            // The thread can only have panicked in `interrupt`; it has ended then.
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
    fn a_late_inference_is_interrupted_once() {
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
    fn an_inference_on_time_goes_on_and_a_nearer_deadline_wakes_the_thread() {
        let (sender, rings) = channel();
        let bell = Arc::new(Bell(Mutex::new(sender)));
        let watchdog = Watchdog::start().unwrap();
        for _ in 0..1000 {
            watchdog.arm(Instant::now() + FAR, &bell);
            assert!(!watchdog.disarm());
        }
        // The thread may be asleep until the far deadline; the nearer one has to wake it.
        watchdog.arm(Instant::now() + Duration::from_millis(1), &bell);
        rings.recv().unwrap();
        assert!(watchdog.disarm());
        drop(watchdog);
        assert!(rings.try_recv().is_err());
    }
}
