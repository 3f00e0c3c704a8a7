//! A run in a Rerun viewer while it goes on, on a thread of its own.
//! Control and record never wait for it: what it has no room for is lost to the picture alone.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use aegis_recorder::run_log::RunHeader;
use aegis_recorder::run_view::RunView;
use aegis_recorder::snapshots::PlantSnapshot;
use aegis_recorder::{RecorderError, Target};

use super::worker::join_or_leave;
use crate::exit::{Exit, Failure, OrExit};
use crate::scene_resolver::Libero;

/// Control periods that may wait for the viewer.
const CAPACITY: usize = 4096;

/// What is shown.
enum Item {
    /// A control period's bytes.
    TickRecord(Vec<u8>),
    PlantSnapshot(Box<PlantSnapshot>),
}

/// The running thread; it ends with what it was fed.
pub struct RerunStream {
    sender: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl RerunStream {
    /// Shows a run in the viewer at `url`.
    pub fn start(url: &str, header: &RunHeader) -> Result<Self, Failure> {
        let (target, stage) = (Target::Connect(url.to_owned()), Box::new(Libero::default()));
        let mut view = RunView::live(&target, header, stage).or_exit(Exit::Input)?;
        let (sender, items) = sync_channel::<Item>(CAPACITY);
        let thread = std::thread::Builder::new().name("rerun".into()).spawn(move || {
            let mut show = |item: Item| -> Result<(), RecorderError> {
                match item {
                    Item::TickRecord(bytes) => {
                        rmp_serde::from_slice(&bytes).map_or(Ok(()), |period| view.take(&period))
                    }
                    Item::PlantSnapshot(sight) => view.see(&sight),
                }
            };
            if let Some(error) = items.into_iter().find_map(|item| show(item).err()) {
                tracing::warn!("the viewer is shown no more: {error}");
            }
        });
        Ok(Self { sender: Some(sender), thread: Some(thread.or_exit(Exit::Failed)?) })
    }

    /// Hands a period's bytes on, if there is room.
    pub fn take(&self, bytes: &[u8]) {
        self.send(|| Item::TickRecord(bytes.to_vec()));
    }

    /// Hands a look at the plant on, if there is room.
    pub fn see(&self, sight: PlantSnapshot) {
        self.send(|| Item::PlantSnapshot(Box::new(sight)));
    }

    fn send(&self, item: impl FnOnce() -> Item) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(item());
        }
    }
}

impl Drop for RerunStream {
    fn drop(&mut self) {
        drop(self.sender.take());
        // A viewer that takes nothing more keeps its thread waiting.
        if let Some(thread) = self.thread.take()
            && !join_or_leave(thread)
        {
            tracing::warn!("the viewer does not answer; it may lack the end of the run");
        }
    }
}
