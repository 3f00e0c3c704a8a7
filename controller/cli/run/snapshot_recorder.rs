//! Looks at the plant while a run goes on, on a thread of its own: kept beside the record, and shown.
//! Control never waits for them; a look that finds no room, or a disk that is full, is missing from pictures alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use aegis_link::wire::Moved;
use aegis_recorder::snapshots::{PlantSnapshot, SNAPSHOT_FILE, SnapshotLog};

use super::rerun_stream::RerunStream;
use super::worker::Worker;
use crate::exit::{Exit, Failure, OrExit};

/// Looks that may wait.
const CAPACITY: usize = 64;
/// Between two looks at least, of a plant that does not show its state: at 20 Hz every one is kept, whatever their jitter.
const PACE: Duration = Duration::from_millis(35);
/// The thread looks so often whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Hands looks to the thread.
#[derive(Debug)]
pub struct SnapshotRecorder {
    sender: SyncSender<PlantSnapshot>,
    last: Option<Duration>,
    /// The plant shows its whole state, now and then.
    has_state: bool,
}

impl SnapshotRecorder {
    /// Takes an observation that arrived at `now`: of a plant that shows its state, those with the state; of another, those
    /// that come no sooner than the pace.
    pub fn take(&mut self, now: Duration, moved: &Moved) {
        self.has_state |= !moved.state.is_empty();
        let soon = || self.last.is_some_and(|last| now.saturating_sub(last) < PACE);
        if (self.has_state && moved.state.is_empty()) || (!self.has_state && soon()) {
            return;
        }
        self.last = Some(now);
        let seen = &moved.observation;
        let sight = PlantSnapshot {
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            episode: moved.episode,
            step: moved.sequence,
            task: seen.task,
            instruction: seen.instruction.clone(),
            end_effector: seen.end_effector.into(),
            objects: seen.objects.iter().map(|object| (object.name.clone(), object.pose.into())).collect(),
            state: moved.state.clone(),
        };
        if let Err(TrySendError::Full(_)) = self.sender.try_send(sight) {
            tracing::debug!("a look at the plant found no room");
        }
    }
}

/// Keeps looks in a run's `folder` and shows them; the thread ends with what is returned.
pub fn start(folder: &Path, shown: Option<Arc<RerunStream>>) -> Result<(SnapshotRecorder, Worker), Failure> {
    let (sender, looks) = sync_channel::<PlantSnapshot>(CAPACITY);
    let mut log = Some(SnapshotLog::create(&folder.join(SNAPSHOT_FILE)).or_exit(Exit::Failed)?);
    let thread = Worker::start("looks", move |end| {
        loop {
            match looks.recv_timeout(POLL_INTERVAL) {
                Ok(sight) => {
                    if let Some(Err(error)) = log.as_mut().map(|log| log.append(&sight)) {
                        tracing::warn!("no more looks at the plant are kept: {error}");
                        log = None;
                    }
                    if let Some(shown) = &shown {
                        shown.see(sight);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !end.load(Ordering::Acquire) => {}
                Err(_) => break,
            }
        }
        if let Some(Err(error)) = log.map(SnapshotLog::finish) {
            tracing::warn!("looks at the plant have no end mark: {error}");
        }
    });
    Ok((SnapshotRecorder { sender, last: None, has_state: false }, thread.or_exit(Exit::Failed)?))
}
