//! A run in a Rerun viewer while it goes on, on a thread of its own.
//! Control and record never wait for it: periods that it has no room for are lost to the picture alone.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use aegis_recorder::run_log::RunHeader;
use aegis_recorder::run_view::RunView;
use aegis_recorder::{RecorderError, Target};

use crate::exit::{Exit, Failure, OrExit};

/// Control periods that may wait for the viewer.
const ROOM: usize = 4096;

/// The running thread; it ends with what it was fed.
pub struct Shown {
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows a run in the viewer at `url`.
    pub fn start(url: &str, header: &RunHeader) -> Result<Self, Failure> {
        let mut view = RunView::live(&Target::Connect(url.to_owned()), header).or_exit(Exit::Input)?;
        let (sender, periods) = sync_channel::<Vec<u8>>(ROOM);
        let thread = std::thread::Builder::new().name("rerun".into()).spawn(move || {
            let mut show = |bytes: Vec<u8>| -> Result<(), RecorderError> {
                rmp_serde::from_slice(&bytes).map_or(Ok(()), |period| view.take(&period))
            };
            if let Some(error) = periods.into_iter().find_map(|bytes| show(bytes).err()) {
                tracing::warn!("the viewer is shown no more: {error}");
            }
        });
        Ok(Self { sender: Some(sender), thread: Some(thread.or_exit(Exit::Failed)?) })
    }

    /// Hands a period's bytes on, if there is room.
    pub fn take(&self, bytes: &[u8]) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(bytes.to_vec());
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
