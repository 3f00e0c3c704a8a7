//! Threads beside the run: told to end when their owner is dropped, and waited for a bounded time.
//! A thread that waits for a listener which does not answer must not hold up the end of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an ending thread is waited for; it is left to the end of the process afterwards.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at whether a thread has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The running thread.
pub struct Worker {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts it; `work` looks again and again whether it should end.
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

/// Waits for a thread that has been told to end, for two seconds at most. Returns whether it ended.
pub fn join_or_leave(thread: JoinHandle<()>) -> bool {
    let begin = Instant::now();
    while !thread.is_finished() && begin.elapsed() < TIMEOUT {
        std::thread::sleep(POLL_INTERVAL);
    }
    let ended = thread.is_finished();
    if ended {
        // A panic has been reported by the thread itself.
        let _ = thread.join();
    }
    ended
}
