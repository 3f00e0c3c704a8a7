//! Live stream of a run to a Rerun viewer, on a thread of its own. The control loop and the record never wait for the
//! viewer: data that finds the queue full is missing from the viewer only.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use aegis_recorder::pictures::RecordedPicture;
use aegis_recorder::run_log::RunHeader;
use aegis_recorder::run_view::RunView;
use aegis_recorder::snapshots::PlantSnapshot;
use aegis_recorder::{RecorderError, SceneResolver, Target};

use crate::worker::join_or_leave;
use aegis_failure::{Exit, Failure, OrExit};

/// Capacity of the queue, in control periods and snapshots.
const CAPACITY: usize = 4096;

/// One item of the queue.
enum Item {
    /// A control period's bytes, as they are recorded.
    TickRecord(Vec<u8>),
    PlantSnapshot(Box<PlantSnapshot>),
    Picture(Box<RecordedPicture>),
}

/// A Rerun viewer that shows a run.
pub struct Viewer {
    /// Address of the viewer, such as `rerun+http://127.0.0.1:9876/proxy`.
    pub url: String,
    /// Finder of the scene that a snapshot of the plant belongs to.
    pub scenes: Box<dyn SceneResolver>,
}

/// Handle of the streaming thread, which ends after the last queued item was sent.
pub struct RerunStream {
    sender: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl RerunStream {
    /// Starts to stream a run to the viewer at `url`.
    ///
    /// # Errors
    /// An address at which no viewer listens.
    pub fn start(Viewer { url, scenes }: Viewer, header: &RunHeader) -> Result<Self, Failure> {
        let mut view = RunView::live(&Target::Connect(url), header, scenes).or_exit(Exit::Input)?;
        let (sender, items) = sync_channel::<Item>(CAPACITY);
        let thread = std::thread::Builder::new().name("rerun".into()).spawn(move || {
            let mut show = |item: Item| -> Result<(), RecorderError> {
                match item {
                    Item::TickRecord(bytes) => {
                        rmp_serde::from_slice(&bytes).map_or(Ok(()), |period| view.take(&period))
                    }
                    Item::PlantSnapshot(sight) => view.see(&sight),
                    Item::Picture(picture) => view.picture(*picture),
                }
            };
            if let Some(error) = items.into_iter().find_map(|item| show(item).err()) {
                tracing::warn!("the viewer is shown no more: {error}");
            }
        });
        Ok(Self { sender: Some(sender), thread: Some(thread.or_exit(Exit::Failed)?) })
    }

    /// Queues a control period's bytes; drops them if the queue is full.
    pub fn take(&self, bytes: &[u8]) {
        self.send(|| Item::TickRecord(bytes.to_vec()));
    }

    /// Queues a snapshot of the plant; drops it if the queue is full.
    pub fn see(&self, sight: PlantSnapshot) {
        self.send(|| Item::PlantSnapshot(Box::new(sight)));
    }

    /// Queues a picture that a policy read; drops it if the queue is full.
    pub fn picture(&self, picture: RecordedPicture) {
        self.send(|| Item::Picture(Box::new(picture)));
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
        // A viewer that accepts no more data blocks its thread.
        if let Some(thread) = self.thread.take()
            && !join_or_leave(thread)
        {
            tracing::warn!("the viewer does not answer; it may lack the end of the run");
        }
    }
}
