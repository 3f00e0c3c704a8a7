//! Helper threads of a run. A thread is asked to end when its owner is dropped, and is waited for at most two seconds: a
//! thread that waits for a listener which does not answer must not delay the end of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a thread that was asked to end. A thread that takes longer is left running until the process ends.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which the end of a thread is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A running helper thread.
pub struct Worker {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread. `work` must check its flag regularly, and return once the flag is set.
    pub fn start(name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> std::io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(&told))?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            join_or_leave(thread);
        }
    }
}

/// Waits for a thread that was asked to end, for two seconds at most. Returns whether the thread ended.
pub fn join_or_leave(thread: JoinHandle<()>) -> bool {
    let begin = Instant::now();
    while !thread.is_finished() && begin.elapsed() < TIMEOUT {
        std::thread::sleep(POLL_INTERVAL);
    }
    let ended = thread.is_finished();
    if ended {
        // A panic has been reported by the thread already.
        let _ = thread.join();
    }
    ended
}
