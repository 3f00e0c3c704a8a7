//! What episodes and runs leave behind, and Rerun recordings of both that explain themselves when they are opened.
//! A film listens while an episode runs and is drawn at the end; a run is drawn from its record, or while it goes on.

pub mod black_box;
mod episode;
mod frames;
mod layout;
mod mesh;
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
use aegis_core::{ChunkRecord, Frame, Pose, Recorder, StepRecord};

use crate::episode::{Episode, Step};
pub use crate::run_scene::SceneResolver;
pub use crate::sink::{Sink, Target};

/// Version of Rerun: of recordings, and of the viewer that opens them.
pub const RERUN: &str = "0.36.3";
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
    #[error("poses at control step {step}: found {found}; valid is {expected}, one per body")]
    Poses {
        /// Control steps taken.
        step: u32,
        /// Bodies of the scene.
        expected: usize,
        /// Poses given.
        found: usize,
    },
    /// No viewer takes it.
    #[error("{}: {reason}; valid is a viewer of Rerun 0.36 (pip install rerun-sdk=={RERUN})", place(target))]
    Viewer {
        /// Which one.
        target: Target,
        /// What Rerun said.
        reason: String,
    },
    /// A control period of a record that is none.
    #[error("period {period}: {reason}")]
    Record {
        /// Which one.
        period: u64,
        /// What is wrong.
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

/// Collects one episode, to be drawn as a Rerun recording.
///
/// Two timelines: `control_step` counts the control steps taken (0 is the start, an action's effect shows one later),
/// `plant_time` is the plant's clock in seconds.
///
/// Everything stays in memory, which is what an offline replay wants; a control loop would have to be decoupled from
/// it.
#[derive(Debug)]
pub struct EpisodeRecording {
    episode: Episode,
}

impl EpisodeRecording {
    /// Nothing filmed yet. `bodies` are what the 3D view shows; without any it shows paths only.
    pub fn new(info: EpisodeInfo, bodies: Vec<Body>) -> Self {
        Self { episode: Episode { info, bodies, ..Episode::default() } }
    }

    /// Notes where the bodies are after `step` control steps, in the order of the bodies. Calls may come in any order.
    ///
    /// `plant_time` is in seconds.
    pub fn poses(&mut self, step: u32, plant_time: f64, poses: &[Pose]) {
        self.episode.times.insert(step, plant_time);
        self.episode.poses.insert(step, poses.to_vec());
    }

    /// Notes what the cameras saw after `step` control steps.
    pub fn pictures(&mut self, step: u32, pictures: &[Frame]) {
        if !pictures.is_empty() {
            self.episode.pictures.insert(step, pictures.to_vec());
        }
    }

    /// Has the viewer open on these control steps and go round over them.
    #[must_use]
    pub fn looped(mut self, steps: RangeInclusive<u32>) -> Self {
        self.episode.looped = Some(steps);
        self
    }

    /// Draws the episode. `twin`, the same start driven by the weak policy alone, is shown beside it on the same time
    /// axis; both have the same bodies.
    ///
    /// # Errors
    /// [`RecorderError::Poses`] when poses and bodies differ in number; otherwise what Rerun or the file system
    /// reports. No file is left behind then.
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
            end_effector: record.observation.proprioception.end_effector.position,
            success: record.success,
        });
    }
}
