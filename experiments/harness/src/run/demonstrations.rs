//! Demonstrations: an expert drives, disturbances push the robot off the expert's path, and the expert recovers. A disturbance is a burst of
//! noise, the switches of the action (channels that are no motion) held at one of their ends, or a learner that drives for a while.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::{Frame, Observation, Plant, Policy, PolicyError};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use safetensors::tensor::{Dtype, TensorView};

use crate::episode::context::{EpisodeError, EpisodeSettings, settle_objects};
use crate::run::runner::{Progress, RunError, SetupError, describe, parallel};
use aegis_core::EpisodeKey;

/// Settings of the disturbances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// Probability per control step that a burst begins while the expert drives undisturbed.
    pub rate: f64,
    /// Standard deviation of the noise on a disturbed action, in action units.
    pub noise_sd: f64,
    /// Probability that the learner, where there is one, drives from the start of an episode.
    pub learner_start: f64,
}

/// Scripted policy on the exact state: returns one action for one observation.
pub type Expert = dyn Fn(&Observation) -> Result<Vec<f32>, PolicyError> + Send + Sync;
/// Encoder from the noisy observation to the vector that a policy reads.
pub type Encoder = dyn Fn(&Observation) -> Result<Vec<f32>, PolicyError> + Sync;

/// Settings of the recording of observations.
pub struct Keeping<'a> {
    /// Encodes the observation as one vector, which is recorded at every control step.
    pub encode: &'a Encoder,
    /// Control steps between two pictures of each camera; `None` records no pictures.
    pub frames_every: Option<NonZeroU32>,
}

/// Plant, expert and learner of a collection. Each worker owns one set.
pub struct Collectors {
    /// Plant: the robot or simulator.
    pub plant: Box<dyn Plant>,
    /// Expert, which drives and labels; receives the exact state.
    pub expert: Box<Expert>,
    /// Learner, which drives at times, so that the data contains the states that it reaches.
    pub learner: Option<Box<dyn Policy>>,
}

/// One control step of a demonstration.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    observation: Vec<f32>,
    action: Vec<f32>,
    clean: bool,
}

/// Recorded episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    rows: Vec<Row>,
    /// Pictures with the row that they belong to; the pictures of all cameras of a row are adjacent.
    frames: Vec<(usize, Frame)>,
    /// Whether the goal was reached within the horizon.
    pub success: bool,
}

impl Demonstration {
    /// Makes a demonstration of a successful episode that was recorded elsewhere. `steps` has the vector and the action of each control
    /// step, `frames` the pictures, each with the step before which it was taken.
    pub fn recorded(steps: Vec<(Vec<f32>, Vec<f32>)>, frames: Vec<(usize, Frame)>) -> Self {
        let row = |(observation, action)| Row { observation, action, clean: true };
        Self { rows: steps.into_iter().map(row).collect(), frames, success: true }
    }
}

/// Collects one demonstration per key.
pub fn collect(
    keys: &[EpisodeKey],
    workers: usize,
    settings: &EpisodeSettings,
    disturbance: Disturbance,
    keeping: &Keeping<'_>,
    open: &(dyn Fn(usize) -> Result<Collectors, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Demonstration>, RunError> {
    parallel(keys, workers, open, progress, |collectors, key| {
        let result = demonstrate(collectors, *key, settings, disturbance, keeping);
        result.map_err(|source| RunError::Job { what: describe(*key, "demonstration"), source })
    })
}

fn demonstrate(
    collectors: &mut Collectors,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    disturbance: Disturbance,
    keeping: &Keeping<'_>,
) -> Result<Demonstration, EpisodeError> {
    let failed = EpisodeError::Demonstrator;
    let mut generator = settings.streams.at(key, "disturbance", 0);
    let mut demonstration = Demonstration { rows: Vec::new(), frames: Vec::new(), success: false };
    let mut burst = Burst::None;
    if collectors.learner.is_some() && generator.random_bool(disturbance.learner_start) {
        burst = Burst::learner(&mut generator, settings.gate.chunk_steps);
    }
    let mut observation = settle_objects(collectors.plant.as_mut(), key.start, None, settings)?;
    let motion = observation.schema.motion();
    for step in 0..settings.gate.horizon_steps {
        let mut seen = observation.clone();
        settings.sensor.apply(&mut seen, &mut settings.streams.at(key, "sensor", step));
        if keeping.frames_every.is_some_and(|every| step.is_multiple_of(every.get())) {
            let taken = collectors.plant.frames()?;
            demonstration.frames.extend(taken.into_iter().map(|frame| (demonstration.rows.len(), frame)));
        }
        let label = (collectors.expert)(&observation).map_err(failed)?;
        let sent = match (&mut burst, &mut collectors.learner) {
            (Burst::Noise { push, .. }, _) => {
                push.disturb(&label, &motion, disturbance.noise_sd, &mut generator)
            }
            (Burst::Held { command, .. }, _) => {
                let mut action = label.clone();
                let switches = action.iter_mut().zip(&motion).filter(|(_, moves)| !**moves);
                switches.for_each(|(value, _)| *value = *command);
                action
            }
            (Burst::Learner { chunk, .. }, Some(learner)) => {
                if chunk.is_empty() {
                    if learner.reads_frames() {
                        seen.frames = collectors.plant.frames()?.into();
                    }
                    let proposed = learner.infer(&seen).map_err(failed)?.chunk;
                    chunk.extend(
                        (0..proposed.horizon())
                            .filter_map(|index| proposed.action(index))
                            .map(<[f32]>::to_vec),
                    );
                }
                chunk.pop_front().unwrap_or_else(|| label.clone())
            }
            (Burst::None | Burst::Learner { .. }, _) => label.clone(),
        };
        let clean = matches!(burst, Burst::None);
        let vector = (keeping.encode)(&seen).map_err(failed)?;
        demonstration.rows.push(Row { observation: vector, action: label, clean });
        let transition = collectors.plant.step(&sent)?;
        observation = transition.observation;
        if transition.success {
            demonstration.success = true;
            break;
        }
        burst.advance();
        if matches!(burst, Burst::None) && generator.random_bool(disturbance.rate) {
            burst = Burst::draw(&mut generator, collectors.learner.is_some(), settings.gate.chunk_steps);
        }
    }
    Ok(demonstration)
}

/// Current disturbance and its remaining control steps.
enum Burst {
    None,
    Noise {
        push: Push,
        left: u32,
    },
    /// The switches of the action held at −1 or 1.
    Held {
        command: f32,
        left: u32,
    },
    Learner {
        chunk: VecDeque<Vec<f32>>,
        left: u32,
    },
}

impl Burst {
    fn draw(generator: &mut impl Rng, learner: bool, chunk_steps: u32) -> Self {
        match generator.random_range(0..if learner { 4 } else { 3 }) {
            0 | 1 => Self::Noise { push: Push::default(), left: generator.random_range(5..=15) },
            2 => Self::Held {
                command: if generator.random_bool(0.5) { -1.0 } else { 1.0 },
                left: generator.random_range(4..=10),
            },
            _ => Self::learner(generator, chunk_steps),
        }
    }

    fn learner(generator: &mut impl Rng, chunk_steps: u32) -> Self {
        Self::Learner { chunk: VecDeque::new(), left: generator.random_range(1..=12) * chunk_steps }
    }

    fn advance(&mut self) {
        let left = match self {
            Self::None => return,
            Self::Noise { left, .. } | Self::Held { left, .. } | Self::Learner { left, .. } => left,
        };
        *left -= 1;
        if *left == 0 {
            *self = Self::None;
        }
    }
}

/// First-order autoregressive noise on every channel of motion.
#[derive(Default)]
struct Push {
    state: Vec<f64>,
}

impl Push {
    /// Fraction of the noise that carries over to the next control step.
    const MEMORY: f64 = 0.8;

    fn disturb(&mut self, action: &[f32], motion: &[bool], sd: f64, generator: &mut impl Rng) -> Vec<f32> {
        self.state.resize(motion.iter().filter(|moves| **moves).count(), 0.0);
        let fresh = (1.0 - Self::MEMORY * Self::MEMORY).sqrt() * sd;
        let mut sent = action.to_vec();
        let moving = sent.iter_mut().zip(motion).filter(|(_, moves)| **moves);
        for ((component, _), push) in moving.zip(&mut self.state) {
            let noise: f64 = StandardNormal.sample(generator);
            *push = Self::MEMORY * *push + fresh * noise;
            *component = (f64::from(*component) + *push).clamp(-1.0, 1.0) as f32;
        }
        sent
    }
}

/// Writes the successful demonstrations, given with their tasks, as safetensors, atomically: `observation` `float32[rows, width]`, `action`
/// `float32[rows, 7]` (the expert's, also where the expert did not drive), `clean` `uint8[rows]` (1 where the expert's
/// action was sent), `episode` and `task` `int64[rows]`. With pictures also `frame_row` `int64[frames]`, the rows
/// before whose control step the pictures were taken, and for each camera `frames.NAME` `uint8[frames, height, width,
/// 3]`. The names of the `components` of `observation` go into the file's metadata, as the JSON list `components`.
pub fn write<'a>(
    path: &Path,
    demonstrations: impl IntoIterator<Item = (usize, &'a Demonstration)>,
    components: Option<&[String]>,
) -> Result<(), WriteError> {
    let failed = |reason: String| WriteError { path: path.to_owned(), reason };
    let mut columns = Columns::default();
    for (episode, (task, demonstration)) in demonstrations.into_iter().enumerate() {
        if demonstration.success {
            columns.extend(episode, task, demonstration).map_err(failed)?;
        }
    }
    let rows = columns.clean.len();
    if rows == 0 {
        return Err(failed("found no demonstration that succeeded; valid is one or more".into()));
    }
    let column = |dtype, shape: Vec<usize>, bytes| {
        TensorView::new(dtype, shape, bytes).map_err(|error| failed(error.to_string()))
    };
    let width = |bytes: &[u8]| bytes.len() / rows / size_of::<f32>();
    let mut tensors = vec![
        ("observation", column(Dtype::F32, vec![rows, width(&columns.observation)], &columns.observation)?),
        ("action", column(Dtype::F32, vec![rows, width(&columns.action)], &columns.action)?),
        ("clean", column(Dtype::U8, vec![rows], &columns.clean)?),
        ("episode", column(Dtype::I64, vec![rows], &columns.episode)?),
        ("task", column(Dtype::I64, vec![rows], &columns.task)?),
    ];
    let frames = columns.frame_row.len() / size_of::<i64>();
    let names: Vec<String> = columns.cameras.keys().map(|name| format!("frames.{name}")).collect();
    for (name, (size, rgb)) in names.iter().zip(columns.cameras.values()) {
        tensors.push((name, column(Dtype::U8, vec![frames, size[0], size[1], 3], rgb)?));
    }
    if frames > 0 {
        tensors.push(("frame_row", column(Dtype::I64, vec![frames], &columns.frame_row)?));
    }
    let named = |names| HashMap::from([("components".to_owned(), serde_json::json!(names).to_string())]);
    let metadata = components.map(named);
    let bytes = safetensors::serialize(tensors, metadata).map_err(|error| failed(error.to_string()))?;
    aegis_files::write_atomically(path, &bytes).map_err(|error| failed(error.to_string()))
}

#[derive(Default)]
struct Columns {
    observation: Vec<u8>,
    action: Vec<u8>,
    clean: Vec<u8>,
    episode: Vec<u8>,
    task: Vec<u8>,
    frame_row: Vec<u8>,
    /// Picture size `[height, width]` in pixels and RGB bytes of all pictures, by camera name.
    cameras: BTreeMap<Arc<str>, ([usize; 2], Vec<u8>)>,
}

impl Columns {
    fn extend(&mut self, episode: usize, task: usize, demonstration: &Demonstration) -> Result<(), String> {
        let first = self.clean.len();
        let mut last = None;
        for (row, frame) in &demonstration.frames {
            if last.replace(*row) != Some(*row) {
                self.frame_row.extend(((first + row) as i64).to_le_bytes());
            }
            let size = [frame.height as usize, frame.width as usize];
            let (known, rgb) =
                self.cameras.entry(Arc::clone(&frame.camera)).or_insert_with(|| (size, Vec::new()));
            if *known != size {
                return Err(format!(
                    "camera {}: found a picture of {size:?} pixels; valid is {known:?}, as before",
                    frame.camera
                ));
            }
            rgb.extend(&frame.rgb);
        }
        for row in &demonstration.rows {
            self.observation.extend(row.observation.iter().flat_map(|value| value.to_le_bytes()));
            self.action.extend(row.action.iter().flat_map(|value| value.to_le_bytes()));
            self.clean.push(u8::from(row.clean));
            self.episode.extend((episode as i64).to_le_bytes());
            self.task.extend((task as i64).to_le_bytes());
        }
        Ok(())
    }
}

/// Error of writing a data set.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot write: {reason}", path = path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Reason.
    pub reason: String,
}
