//! Snapshots of the plant during a run, handled on a thread of their own: saved beside the record, and shown in the Rerun
//! viewer. The control loop never waits for snapshots. A snapshot that finds the queue full, or that cannot be written to a
//! full disk, is missing from the pictures only; the record of the run is not affected.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use aegis_core::{Observation, Pose};
use aegis_recorder::snapshots::{PlantSnapshot, SNAPSHOT_FILE, SnapshotLog};

use crate::rerun_stream::RerunStream;
use crate::worker::Worker;
use aegis_failure::{Exit, Failure, OrExit};

/// Capacity of the queue, in snapshots.
const CAPACITY: usize = 64;
/// Shortest time between two snapshots of a plant that does not report its state. At 20 Hz every observation is kept,
/// whatever its jitter.
const PACE: Duration = Duration::from_millis(35);
/// Interval at which the thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Sender of snapshots to the recording thread.
#[derive(Debug)]
pub struct SnapshotRecorder {
    sender: SyncSender<PlantSnapshot>,
    last: Option<Duration>,
    /// Whether the plant has ever reported its whole state.
    has_state: bool,
}

impl SnapshotRecorder {
    /// Queues a snapshot of an observation of `episode` that arrived at `now`, with the plant's whole `state` where the plant
    /// reports it. Of a plant that reports its state, only observations with the state are taken; of any other plant, only
    /// observations at least `PACE` after the last snapshot.
    pub fn take(&mut self, now: Duration, episode: u64, observation: &Observation, state: Vec<f64>) {
        self.has_state |= !state.is_empty();
        let soon = || self.last.is_some_and(|last| now.saturating_sub(last) < PACE);
        if (self.has_state && state.is_empty()) || (!self.has_state && soon()) {
            return;
        }
        self.last = Some(now);
        let objects = observation.object_positions().map(|(name, position)| {
            let pose = observation.object(name).unwrap_or(Pose { position, ..Pose::IDENTITY });
            (name.to_owned(), pose)
        });
        let sight = PlantSnapshot {
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            episode,
            step: observation.step,
            task: u32::try_from(observation.task).unwrap_or(u32::MAX),
            instruction: observation.instruction.to_string(),
            end_effector: observation.end_effector_pose(),
            objects: objects.collect(),
            state,
        };
        if let Err(TrySendError::Full(_)) = self.sender.try_send(sight) {
            tracing::debug!("a snapshot is dropped: the queue is full");
        }
    }
}

/// Starts the thread that saves snapshots in a run's `folder` and forwards them to the Rerun stream `shown`. The thread
/// ends when the returned values are dropped.
pub fn start(folder: &Path, shown: Option<Arc<RerunStream>>) -> Result<(SnapshotRecorder, Worker), Failure> {
    let (sender, looks) = sync_channel::<PlantSnapshot>(CAPACITY);
    let mut log = Some(SnapshotLog::create(&folder.join(SNAPSHOT_FILE)).or_exit(Exit::Failed)?);
    let thread = Worker::start("looks", move |end| {
        loop {
            match looks.recv_timeout(POLL_INTERVAL) {
                Ok(sight) => {
                    if let Some(Err(error)) = log.as_mut().map(|log| log.append(&sight)) {
                        tracing::warn!("snapshots are no longer saved: {error}");
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
            tracing::warn!("the file of snapshots has no end mark: {error}");
        }
    });
    Ok((SnapshotRecorder { sender, last: None, has_state: false }, thread.or_exit(Exit::Failed)?))
}
