//! Episodes as Rerun recordings: one `.rrd` file that explains itself when it is opened.
//! Listens while the episode runs, writes at the end; a file appears whole or not at all.

pub mod black_box;
mod episode;
mod layout;
mod mesh;
pub mod run_log;
mod scene;
mod signals;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aegis_core::scene::Body;
use aegis_core::{ChunkRecord, Pose, Recorder, StepRecord};
use rerun::RecordingStreamBuilder;
use rerun::log::ChunkBatcherConfig;

use crate::episode::{Episode, Step};

/// The name under which the viewer groups recordings and keeps their layout.
const APPLICATION: &str = "aegis";

/// What is known of an episode before it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpisodeInfo {
    /// Index of the task within its suite.
    pub task: usize,
    /// The task in words.
    pub instruction: String,
    /// Which episode this is, for example `aegis · task 3 · initial state 41`. Also the recording's id.
    pub title: String,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// The first control step at which the gate may fire.
    pub guard_steps: u32,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file system refused.
    #[error("{}: cannot write the recording: {source}", path.display())]
    Write {
        /// The recording.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Poses that do not fit the bodies.
    #[error("poses at control step {step}: expected {expected}, one per body, found {found}")]
    Poses {
        /// Control steps taken.
        step: u32,
        /// Bodies of the scene.
        expected: usize,
        /// Poses given.
        found: usize,
    },
    /// Rerun refused the data.
    #[error("cannot log to Rerun: {0}")]
    Log(Box<rerun::RecordingStreamError>),
    /// Rerun could not encode its own messages.
    #[error("cannot encode the recording: {0}")]
    Encode(String),
}

impl From<rerun::RecordingStreamError> for RecorderError {
    fn from(error: rerun::RecordingStreamError) -> Self {
        Self::Log(Box::new(error))
    }
}

/// Collects one episode and writes it as a Rerun recording.
///
/// Two timelines: `control_step` counts the control steps taken (0 is the start, an action's effect shows one later),
/// `plant_time` is the plant's clock in seconds. Nothing in the file depends on the wall clock.
///
/// Everything stays in memory until [`Self::finish`], which is what an offline replay wants; a control loop would
/// have to be decoupled from it.
#[derive(Debug)]
pub struct RerunRecorder {
    path: PathBuf,
    partial: Partial,
    episode: Episode,
}

impl RerunRecorder {
    /// Opens a recording. `bodies` are what the 3D view shows; without any it shows paths only.
    ///
    /// # Errors
    /// [`RecorderError::Write`] when no file can be made there, before any episode has been run in vain.
    pub fn create(path: &Path, info: &EpisodeInfo, bodies: &[Body]) -> Result<Self, RecorderError> {
        let partial = Partial::create(path).map_err(|source| write_error(path, source))?;
        let episode = Episode { info: info.clone(), bodies: bodies.to_vec(), ..Episode::default() };
        Ok(Self { path: path.to_owned(), partial, episode })
    }

    /// Notes where the bodies are after `step` control steps, in the order of the bodies. Calls may come in any order.
    ///
    /// `plant_time` is in seconds.
    pub fn poses(&mut self, step: u32, plant_time: f64, poses: &[Pose]) {
        self.episode.times.insert(step, plant_time);
        self.episode.poses.insert(step, poses.to_vec());
    }

    /// Writes the recording and returns its path.
    ///
    /// # Errors
    /// [`RecorderError::Poses`] when poses and bodies differ in number; otherwise what Rerun or the file system
    /// reports. No file is left behind then.
    pub fn finish(self) -> Result<PathBuf, RecorderError> {
        let Self { path, mut partial, episode } = self;
        let bytes = encode(&episode)?;
        partial
            .file
            .write_all(&bytes)
            .and_then(|()| partial.file.sync_all())
            .and_then(|()| std::fs::rename(&partial.path, &path))
            .map_err(|source| write_error(&path, source))?;
        Ok(path)
    }
}

impl Recorder for RerunRecorder {
    fn chunk(&mut self, record: &ChunkRecord) {
        self.episode.chunks.push(record.clone());
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        let taken = record.step + 1;
        self.episode.times.insert(taken, record.observation.plant_time);
        self.episode.steps.push(Step {
            taken,
            driver: record.driver,
            end_effector: record.observation.proprioception.end_effector.position,
            success: record.success,
        });
    }
}

fn encode(episode: &Episode) -> Result<Vec<u8>, RecorderError> {
    let (stream, storage) = RecordingStreamBuilder::new(APPLICATION)
        .recording_id(episode.info.title.as_str())
        .enabled(true)
        // One chunk per entity, whatever the machine's speed.
        .batcher_config(ChunkBatcherConfig::NEVER)
        .memory()?;
    stream.set_log_time_enabled(false);
    stream.set_log_tick_enabled(false);
    stream.send_recording_name(episode.info.title.as_str())?;
    layout::send(&stream)?;
    scene::log(&stream, episode)?;
    signals::log(&stream, episode)?;
    storage.drain_as_bytes().map_err(|error| RecorderError::Encode(error.to_string()))
}

fn write_error(path: &Path, source: io::Error) -> RecorderError {
    RecorderError::Write { path: path.to_owned(), source }
}

/// The file beside the recording that becomes it, or goes away.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(".partial");
        let path = path.with_file_name(name);
        File::create(&path).map(|file| Self { path, file })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Fails where the file has been renamed into place, and there is nobody to tell otherwise.
        let _ = std::fs::remove_file(&self.path);
    }
}
