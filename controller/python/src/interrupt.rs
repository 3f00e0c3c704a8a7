//! Calls that take long: they run without Python's lock, and a signal ends them.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::PyResult;
use pyo3::exceptions::PyRuntimeError;
use pyo3::marker::Python;

/// How often a waiting call looks for signals.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a computation on a thread of its own without Python's lock and returns its result.
///
/// # Errors
/// What Python's signal handler raises, such as `KeyboardInterrupt`, as soon as a signal has come. The computation is then abandoned: its
/// result is dropped when it is there. A computation given to this function therefore writes nothing; its caller does.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    computation: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (results, mut result) = channel();
    // The receiver is gone where the call was interrupted.
    std::thread::spawn(move || drop(results.send(computation())));
    loop {
        let (found, receiver) = py.detach(move || (result.recv_timeout(LOOK_EVERY), result));
        result = receiver;
        match found {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err(
                    "the computation panicked; its message is on the standard error",
                ));
            }
        }
    }
}
