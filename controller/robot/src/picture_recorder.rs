//! Pictures that policies read, saved beside the record and shown in the Rerun viewer, on a thread of their own. A policy's
//! thread never waits for it: pictures that find the queue full are missing from the file only.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::{Driver, Frame, Observation};
use aegis_failure::{Exit, Failure, OrExit};
use aegis_recorder::pictures::{PICTURE_FILE, PictureLog, RecordedPicture};
use aegis_runtime::Clock;

use crate::rerun_stream::RerunStream;
use crate::worker::Worker;

/// Capacity of the queue, in inferences.
const CAPACITY: usize = 32;
/// Interval at which the thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Frames that one inference read.
#[derive(Debug)]
struct ReadFrames {
    now: Duration,
    step: u32,
    policy: Driver,
    frames: Arc<[Frame]>,
}

/// Way from the policies' threads to the thread that saves pictures; drops them until that thread has started.
#[derive(Clone, Debug, Default)]
pub(crate) struct PictureSender(Arc<Mutex<Option<Recipient>>>);

/// The thread that saves pictures, and the run's clock.
type Recipient = (SyncSender<ReadFrames>, Clock);

impl PictureSender {
    /// Hands on the frames that a policy has read; drops them where the queue is full.
    pub fn send(&self, policy: Driver, observation: &Observation) {
        let (step, frames) = (observation.step, &observation.frames);
        if frames.is_empty() {
            return;
        }
        if let Some((sender, clock)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let read = ReadFrames { now: clock.now(), step, policy, frames: Arc::clone(frames) };
            let _ = sender.try_send(read);
        }
    }
}

/// Starts the thread that saves pictures in a run's `folder` and forwards them to the Rerun stream `shown`. The thread ends when
/// the returned value is dropped.
///
/// # Errors
/// A file that cannot be made, or a thread that cannot be started.
pub(crate) fn start(
    folder: &Path,
    sender: &PictureSender,
    clock: Clock,
    shown: Option<Arc<RerunStream>>,
) -> Result<Worker, Failure> {
    let log = PictureLog::create(&folder.join(PICTURE_FILE)).or_exit(Exit::Failed)?;
    let (put, taken) = sync_channel(CAPACITY);
    *sender.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((put, clock));
    let worker = Worker::start("pictures", move |end| {
        save(log, &taken, shown.as_deref(), || end.load(Ordering::Acquire));
    });
    worker.or_exit(Exit::Failed)
}

fn save(
    log: PictureLog,
    taken: &Receiver<ReadFrames>,
    shown: Option<&RerunStream>,
    is_over: impl Fn() -> bool,
) {
    let mut log = Some(log);
    loop {
        match taken.recv_timeout(POLL_INTERVAL) {
            Ok(ReadFrames { now, step, policy, frames }) => {
                let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                for frame in frames.iter() {
                    let picture = match RecordedPicture::of(frame, now_ns, step, policy) {
                        Ok(picture) => picture,
                        Err(error) => {
                            tracing::warn!("a picture of camera {} is not saved: {error}", frame.camera);
                            continue;
                        }
                    };
                    if let Some(Err(error)) = log.as_mut().map(|log| log.append(&picture)) {
                        tracing::warn!("pictures are no longer saved: {error}");
                        log = None;
                    }
                    if let Some(shown) = shown {
                        shown.picture(picture);
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) if !is_over() => {}
            Err(_) => break,
        }
    }
    if let Some(Err(error)) = log.map(PictureLog::finish) {
        tracing::warn!("the file of pictures has no end mark: {error}");
    }
}
