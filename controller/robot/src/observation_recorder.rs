//! Observations and camera frames of a run, saved beside the record on a thread of their own. The threads that receive them
//! never wait: what finds the queue full, or the disk, is counted, and missing from this file only.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use aegis_core::Observation;
use aegis_failure::{Exit, Failure, OrExit};
use aegis_link::wire::{CameraFrame, Encoding};
use aegis_recorder::observations::{
    OBSERVATION_FILE, ObservationEntry, ObservationLog, PictureFormat, RecordedEpisode, RecordedFrame,
    RecordedObservation, RecordingBegin, RecordingEnd,
};
use serde_json::{Value, json};

use crate::worker::Worker;

/// Capacity of the queue: observations and frames, and bytes of both.
const CAPACITY: (usize, u64) = (4096, 128 << 20);
/// Interval at which the thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What waits to be saved.
enum Waiting {
    /// The first observation of an episode, as the plant answered the reset.
    Episode(u64, Observation),
    /// An observation that a policy may read, with its time of arrival, episode and stamp.
    Observation(Duration, u64, u64, Arc<Observation>),
    /// A frame, with its time of arrival.
    Frame(Duration, CameraFrame),
}

impl Waiting {
    fn is_frame(&self) -> bool {
        matches!(self, Self::Frame(..))
    }

    /// Returns the bytes of its values or pixels.
    fn size(&self) -> u64 {
        match self {
            Self::Episode(_, observation) => size_of_val(&*observation.values) as u64,
            Self::Observation(.., observation) => size_of_val(&*observation.values) as u64,
            Self::Frame(_, frame) => frame.data.len() as u64,
        }
    }
}

/// Numbers of saved and of dropped observations and frames.
#[derive(Debug, Default)]
pub(crate) struct SavedObservations {
    observations: AtomicU64,
    frames: AtomicU64,
    dropped_observations: AtomicU64,
    dropped_frames: AtomicU64,
    /// Bytes that wait in the queue.
    waiting: AtomicU64,
}

impl SavedObservations {
    /// Returns the numbers for the run's summary.
    pub fn summary(&self) -> Value {
        let RecordingEnd { dropped_observations, dropped_frames } = self.end();
        json!({
            "observations": self.observations.load(Ordering::Acquire),
            "frames": self.frames.load(Ordering::Acquire),
            "dropped_observations": dropped_observations,
            "dropped_frames": dropped_frames,
        })
    }

    fn end(&self) -> RecordingEnd {
        RecordingEnd {
            dropped_observations: self.dropped_observations.load(Ordering::Acquire),
            dropped_frames: self.dropped_frames.load(Ordering::Acquire),
        }
    }

    fn count(&self, is_frame: bool, is_saved: bool) {
        let counter = match (is_frame, is_saved) {
            (false, true) => &self.observations,
            (true, true) => &self.frames,
            (false, false) => &self.dropped_observations,
            (true, false) => &self.dropped_frames,
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }
}

/// Way of observations and frames to the thread that saves them.
#[derive(Clone)]
pub(crate) struct ObservationRecorder {
    sender: SyncSender<Waiting>,
    saved: Arc<SavedObservations>,
}

impl ObservationRecorder {
    /// Hands on that an episode begins, with the plant's first observation of it.
    pub fn begin(&self, episode: u64, first: &Observation) {
        self.put(Waiting::Episode(episode, first.clone()));
    }

    /// Hands on an observation that a policy may read, received at `received` and stamped with `stamp_ns` by the plant.
    pub fn observe(&self, received: Duration, episode: u64, stamp_ns: u64, observation: &Arc<Observation>) {
        self.put(Waiting::Observation(received, episode, stamp_ns, Arc::clone(observation)));
    }

    /// Hands on a frame as it came.
    pub fn frame(&self, received: Duration, frame: &CameraFrame) {
        self.put(Waiting::Frame(received, frame.clone()));
    }

    fn put(&self, waiting: Waiting) {
        let (is_frame, size) = (waiting.is_frame(), waiting.size());
        let is_full = self.saved.waiting.fetch_add(size, Ordering::AcqRel) > CAPACITY.1;
        if is_full || self.sender.try_send(waiting).is_err() {
            self.saved.waiting.fetch_sub(size, Ordering::AcqRel);
            self.saved.count(is_frame, false);
        }
    }
}

/// Starts the thread that saves observations in a run's `folder`; `dry_run` tells whether the run withholds its commands. The
/// thread ends when the returned worker is dropped.
///
/// # Errors
/// A file that cannot be made, or a thread that cannot be started.
pub(crate) fn start(
    folder: &Path,
    dry_run: bool,
) -> Result<(ObservationRecorder, Arc<SavedObservations>, Worker), Failure> {
    let mut log = ObservationLog::create(&folder.join(OBSERVATION_FILE)).or_exit(Exit::Failed)?;
    log.append(&ObservationEntry::Begin(RecordingBegin { dry_run })).or_exit(Exit::Failed)?;
    let (sender, waiting) = sync_channel(CAPACITY.0);
    let saved = Arc::new(SavedObservations::default());
    let worker = Worker::start("observations", {
        let saved = Arc::clone(&saved);
        move |end| save(log, &waiting, &saved, || end.load(Ordering::Acquire))
    });
    let recorder = ObservationRecorder { sender, saved: Arc::clone(&saved) };
    Ok((recorder, saved, worker.or_exit(Exit::Failed)?))
}

fn save(
    log: ObservationLog,
    waiting: &Receiver<Waiting>,
    saved: &SavedObservations,
    is_over: impl Fn() -> bool,
) {
    let mut log = Some(log);
    loop {
        match waiting.recv_timeout(POLL_INTERVAL) {
            Ok(waiting) => {
                let is_frame = waiting.is_frame();
                saved.waiting.fetch_sub(waiting.size(), Ordering::AcqRel);
                let is_episode = matches!(waiting, Waiting::Episode(..));
                let is_saved = match (entry(waiting), &mut log) {
                    (Some(entry), Some(open)) => match open.append(&entry) {
                        Ok(()) => true,
                        Err(error) => {
                            tracing::error!("observations are no longer saved: {error}");
                            log = None;
                            false
                        }
                    },
                    _ => false,
                };
                if !is_episode {
                    saved.count(is_frame, is_saved);
                }
            }
            Err(RecvTimeoutError::Timeout) if !is_over() => {}
            Err(_) => break,
        }
    }
    let ended = log.map(|mut log| {
        log.append(&ObservationEntry::End(saved.end()))?;
        log.finish()
    });
    if let Some(Err(error)) = ended {
        tracing::warn!("the file of observations has no end mark: {error}");
    }
}

/// Returns what is written of an observation or frame; `None` for a frame whose pixels do not fit its size.
fn entry(waiting: Waiting) -> Option<ObservationEntry> {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Some(match waiting {
        Waiting::Episode(episode, first) => ObservationEntry::Episode(RecordedEpisode::of(episode, &first)),
        Waiting::Observation(received, episode, stamp_ns, observation) => {
            ObservationEntry::Observation(RecordedObservation {
                now_ns: nanoseconds(received),
                episode,
                sequence: observation.step,
                stamp_ns,
                plant_time: observation.plant_time,
                values: observation.values.clone(),
            })
        }
        Waiting::Frame(received, frame) => {
            let CameraFrame { episode, camera, sequence, stamp_ns, width, height, encoding, data, .. } =
                frame;
            let (format, data) = match encoding {
                Encoding::Jpeg => (PictureFormat::Jpeg, data),
                Encoding::Rgb => PictureFormat::lossless([width, height], &data).ok()?,
            };
            let now_ns = nanoseconds(received);
            ObservationEntry::Frame(RecordedFrame {
                now_ns,
                episode,
                camera,
                sequence,
                stamp_ns,
                format,
                data,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_recorder::observations::ObservationReader;

    fn frame(encoding: Encoding, data: Vec<u8>) -> CameraFrame {
        CameraFrame {
            session: 1,
            episode: 1,
            camera: "front".into(),
            sequence: 4,
            stamp_ns: 9,
            width: 2,
            height: 1,
            encoding,
            data,
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_jpeg_bytes_stay_as_they_came() {
        let folder = std::env::temp_dir().join(format!("aegis-saved-observations-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let log = ObservationLog::create(&folder.join(OBSERVATION_FILE)).unwrap();
        let (sender, waiting) = sync_channel(4);
        let saved = Arc::new(SavedObservations::default());
        let recorder = ObservationRecorder { sender, saved: Arc::clone(&saved) };
        let observation = Arc::new(Observation::of(&[("a", &[0.5])]).unwrap());
        recorder.begin(1, &observation);
        recorder.observe(Duration::from_nanos(5), 1, 7, &observation);
        recorder.frame(Duration::ZERO, &frame(Encoding::Jpeg, b"as it came".to_vec()));
        recorder.frame(Duration::ZERO, &frame(Encoding::Rgb, vec![1; 5]));
        // The queue is full, and nobody waits.
        recorder.observe(Duration::ZERO, 1, 8, &observation);
        recorder.frame(Duration::ZERO, &frame(Encoding::Rgb, vec![1; 6]));
        save(log, &waiting, &saved, || true);
        let entries: Vec<_> =
            ObservationReader::open(&folder.join(OBSERVATION_FILE)).unwrap().skip(1).collect();
        let ObservationEntry::Observation(found) = &entries[0] else { panic!("{entries:?}") };
        assert_eq!((found.now_ns, found.stamp_ns, &found.values[..]), (5, 7, &[0.5][..]));
        let ObservationEntry::Frame(found) = &entries[1] else { panic!("{entries:?}") };
        assert_eq!((found.format, &found.data[..]), (PictureFormat::Jpeg, &b"as it came"[..]));
        // A frame of five bytes is no picture of two pixels.
        let end = RecordingEnd { dropped_observations: 1, dropped_frames: 2 };
        assert_eq!(entries[2..], [ObservationEntry::End(end)]);
        let counted = json!({
            "observations": 1, "frames": 1, "dropped_observations": 1, "dropped_frames": 2,
        });
        assert_eq!(saved.summary(), counted);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
