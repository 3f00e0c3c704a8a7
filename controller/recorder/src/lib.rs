//! Records of episodes and runs, and Rerun recordings of both that contain their own explanation. An [`EpisodeRecording`]
//! collects an episode while it runs and is drawn at the end. A run is drawn from its record, or live.
//!
//! ```no_run
//! use aegis_recorder::run_log::RunReader;
//!
//! let reader = RunReader::open("runs/robot/run.aegis".as_ref())?;
//! println!("{:?}", reader.header);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bin_bytes;
pub mod black_box;
pub mod entry_log;
mod episode;
mod episode_end;
mod frames;
mod layout;
mod mesh;
pub mod observations;
pub mod pictures;
mod rerun;
pub mod run_log;
mod run_scene;
pub mod run_view;
mod scene;
mod signals;
mod sink;
pub mod snapshots;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use aegis_core::scene::Body;
use aegis_core::{ChunkRecord, Disturbance, Frame, Pose, Recorder, StepRecord};

use crate::episode::{Episode, Step};
pub use crate::episode_end::EpisodeEnd;
pub use crate::run_scene::SceneResolver;
pub use crate::sink::{Sink, Target};

/// Version of Rerun: of the recordings, and of the viewer that can open them.
pub const RERUN: &str = "0.36.3";
/// Name under which the viewer groups recordings and keeps their layout.
const APPLICATION: &str = "aegis";

/// Description of an episode, known before the episode runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpisodeInfo {
    /// Index of the task within its suite.
    pub task: usize,
    /// The task in words.
    pub instruction: String,
    /// Title of the episode, for example `aegis · task 3 · initial state 41`. Also the recording's id.
    pub title: String,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// First control step at which the gate may fire.
    pub guard_steps: u32,
    /// The episode's disturbance, its step counted as the other control steps; `None` for none.
    pub disturbance: Option<Disturbance>,
}

/// Errors of a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file cannot be written.
    #[error("{}: cannot write the recording: {source}", path.display())]
    Write {
        /// Path of the recording.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The number of poses differs from the number of bodies.
    #[error("poses at control step {step}: found {found}; valid is {expected}, one per body")]
    Poses {
        /// Control steps taken.
        step: u32,
        /// Number of bodies of the scene.
        expected: usize,
        /// Number of poses given.
        found: usize,
    },
    /// No viewer accepts the recording.
    #[error("{}: {reason}; valid is a viewer of Rerun 0.36 (pip install rerun-sdk=={RERUN})", place(target))]
    Viewer {
        /// The viewer.
        target: Target,
        /// Rerun's error.
        reason: String,
    },
    /// A control period of a record cannot be read.
    #[error("period {period}: {reason}")]
    Record {
        /// Number of the period in the file.
        period: u64,
        /// What is wrong with the period.
        reason: String,
    },
    /// Rerun refused the data.
    #[error("cannot log to Rerun: {0}")]
    Log(Box<rerun::RecordingStreamError>),
    /// Rerun could not encode its own messages.
    #[error("cannot encode the recording: {0}")]
    Encode(String),
}

impl RecorderError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

fn place(target: &Target) -> String {
    match target {
        Target::File(path) => path.display().to_string(),
        Target::Spawn => "cannot start the viewer `rerun`".into(),
        Target::Connect(url) => format!("no viewer at {url}"),
    }
}

impl From<rerun::RecordingStreamError> for RecorderError {
    fn from(error: rerun::RecordingStreamError) -> Self {
        Self::Log(Box::new(error))
    }
}

/// Collector of one episode, which is then drawn as a Rerun recording.
///
/// There are two timelines: `control_step` counts the control steps taken (0 is the start; the effect of an action appears
/// one step later), and `plant_time` is the plant's clock in seconds.
///
/// The whole episode stays in memory, which suits an offline replay. A control loop would have to be decoupled from the
/// collector.
#[derive(Debug)]
pub struct EpisodeRecording {
    episode: Episode,
}

impl EpisodeRecording {
    /// Makes an empty recording. `bodies` are the bodies of the 3D view; without bodies the view shows paths only.
    pub fn new(info: EpisodeInfo, bodies: Vec<Body>) -> Self {
        Self { episode: Episode { info, bodies, ..Episode::default() } }
    }

    /// Records the world poses of the bodies after `step` control steps, in the order of the bodies. Calls may come in any
    /// order.
    ///
    /// `plant_time` is in seconds.
    pub fn poses(&mut self, step: u32, plant_time: f64, poses: &[Pose]) {
        self.episode.times.insert(step, plant_time);
        self.episode.poses.insert(step, poses.to_vec());
    }

    /// Records the camera pictures after `step` control steps.
    pub fn pictures(&mut self, step: u32, pictures: &[Frame]) {
        if !pictures.is_empty() {
            self.episode.pictures.insert(step, pictures.to_vec());
        }
    }

    /// Makes the viewer loop over these control steps.
    #[must_use]
    pub fn looped(mut self, steps: RangeInclusive<u32>) -> Self {
        self.episode.looped = Some(steps);
        self
    }

    /// Draws the episode. `twin`, the same start driven by the weak policy alone, is shown beside the episode on the same
    /// time axis. Both must have the same bodies.
    ///
    /// # Errors
    /// [`RecorderError::Poses`] when poses and bodies differ in number; otherwise what Rerun or the file system reports. No
    /// file is left behind after an error.
    pub fn draw(&self, twin: Option<&Self>, sink: Sink) -> Result<(), RecorderError> {
        let (episode, twin) = (&self.episode, twin.map(|twin| &twin.episode));
        sink.draw(&episode.info.title, |stream| {
            layout::send_episode(stream, episode, twin.is_some())?;
            scene::log(stream, episode)?;
            signals::log(stream, episode, twin)?;
            twin.map_or(Ok(()), |twin| scene::log_twin(stream, twin))
        })
    }
}

impl Recorder for EpisodeRecording {
    fn chunk(&mut self, record: &ChunkRecord) {
        self.episode.chunks.push(record.clone());
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        let taken = record.step + 1;
        self.episode.times.insert(taken, record.observation.plant_time);
        self.episode.steps.push(Step {
            taken,
            driver: record.driver,
            end_effector: record.observation.end_effector().unwrap_or([f64::NAN; 3]),
            success: record.success,
        });
    }
}
