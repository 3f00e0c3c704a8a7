//! Application heartbeats, ten per second from a separate thread: Zenoh's liveliness detects a silent peer only after
//! ten seconds. Both sides send heartbeats and both sides listen.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use zenoh::Wait;
use zenoh::qos::CongestionControl;

use crate::error::LinkError;

/// Time between two heartbeats.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// A thread that publishes a message at a fixed interval until this value is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts a thread that publishes what `message` returns on `key`, at once and then every [`INTERVAL`].
    pub fn start(
        session: &zenoh::Session,
        key: &str,
        message: impl Fn() -> Vec<u8> + Send + 'static,
    ) -> Result<Self, LinkError> {
        let publisher = session
            .declare_publisher(key.to_owned())
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .wait()?;
        let (stop, stopped) = sync_channel(0);
        let beat = move || {
            loop {
                // A heartbeat that cannot be sent needs no handling: the other side detects the silence.
                let _ = publisher.put(message()).wait();
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("aegis-heart".into())
            .spawn(beat)
            .map_err(|error| LinkError::Zenoh(format!("cannot start the heartbeat: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
