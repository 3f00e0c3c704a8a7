//! The three parties of the loop as traits: a policy proposes, a plant moves, and both can fail.
//! Chunks and activations are plain values with their shapes beside them.

use std::any::Any;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Frame, Observation};

/// A sequence of actions proposed by one inference, row-major `[horizon, width]`.
///
/// For an OSC_POSE arm the width is 7: Cartesian position delta (±1 is ±0.05 m a control step), axis-angle delta
/// (±1 is ±0.5 rad), both in the world frame, and the gripper (−1 opens, +1 closes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    width: usize,
    values: Vec<f32>,
}

impl Chunk {
    /// Builds a chunk, refusing values that do not form whole actions or are not finite.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self, PolicyError> {
        if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
            return Err(PolicyError::Shape {
                what: "action chunk".into(),
                expected: format!("a positive multiple of {width} values"),
                found: format!("{} values", values.len()),
            });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(PolicyError::NotFinite { what: "action chunk".into(), index });
        }
        Ok(Self { width, values })
    }

    /// Number of control steps.
    pub fn horizon(&self) -> usize {
        self.values.len() / self.width
    }

    /// Values per action.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All actions in order, row-major `[horizon, width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The action for one step of the chunk, or `None` past its end.
    pub fn action(&self, step: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.width).nth(step)
    }
}

/// A policy's internal tensor at one inference, row-major `[tokens, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    width: usize,
    values: Vec<f32>,
}

impl Activation {
    /// Builds an activation, refusing values that do not form whole tokens. NaN passes: it is evidence of risk.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self, PolicyError> {
        if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
            return Err(PolicyError::Shape {
                what: "activation".into(),
                expected: format!("a positive multiple of {width} values"),
                found: format!("{} values", values.len()),
            });
        }
        Ok(Self { width, values })
    }

    /// Values per token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Mean over the tokens, shape `[width]`.
    pub fn mean_pool(&self) -> Vec<f64> {
        let tokens = self.values.len() / self.width;
        let mut pooled = vec![0.0; self.width];
        for token in self.values.chunks_exact(self.width) {
            for (sum, value) in pooled.iter_mut().zip(token) {
                *sum += f64::from(*value);
            }
        }
        pooled.iter_mut().for_each(|sum| *sum /= tokens as f64);
        pooled
    }
}

/// What one inference returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// The proposed actions.
    pub chunk: Chunk,
    /// The tapped tensor, for a policy that is watched.
    pub activation: Option<Activation>,
}

/// A frozen policy.
pub trait Policy {
    /// Proposes the next chunk from one observation.
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError>;

    /// Whether it reads [`Observation::frames`], which somebody then has to ask the plant for.
    fn reads_frames(&self) -> bool {
        false
    }
}

/// Where an episode starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Start {
    /// Index of the task within its suite.
    pub task: usize,
    /// Index into the task's initial states.
    pub initial_state: usize,
}

/// What one control step leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The state after the step.
    pub observation: Observation,
    /// Whether the task's goal holds now.
    pub success: bool,
}

/// An episode that a plant can take up again; only plants of its kind know what is in it.
pub struct Saved(Box<dyn Any + Send + Sync>);

impl Saved {
    /// Wraps what a plant has to keep.
    pub fn new(kept: impl Any + Send + Sync) -> Self {
        Self(Box::new(kept))
    }

    /// What was kept, for the plant that kept it.
    ///
    /// # Errors
    /// [`PlantError::Backend`] where another kind of plant did.
    pub fn kept<T: Any>(&self) -> Result<&T, PlantError> {
        let other = || PlantError::Backend("the saved episode is of another kind of plant".into());
        self.0.downcast_ref().ok_or_else(other)
    }
}

/// A robot or a simulator, driven one control step at a time.
pub trait Plant {
    /// Starts an episode. Two resets to the same start give bitwise equal states, whatever ran between them.
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError>;

    /// Applies one action for one control period.
    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError>;

    /// Appends the complete physical state, for comparing twins bit by bit.
    fn state(&self, out: &mut Vec<f64>);

    /// The episode as it stands, to be [resumed](Plant::resume) later, also on another plant of the same kind; `None`
    /// for a plant that cannot, as a robot.
    fn save(&self) -> Result<Option<Saved>, PlantError> {
        Ok(None)
    }

    /// Takes up an episode where it was saved, bit for bit, whatever this plant did since.
    fn resume(&mut self, _saved: &Saved) -> Result<Observation, PlantError> {
        Err(PlantError::Backend("this plant cannot take up a saved episode".into()))
    }

    /// What the cameras see now, one picture each in the plant's order; none for a plant without cameras.
    ///
    /// Drawing costs more than stepping, so it happens only where somebody asks: once per chunk, not once per step.
    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        Ok(Vec::new())
    }
}

/// Why a policy gave no usable chunk.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A tensor has another shape than the loop needs.
    #[error("{what}: found {found}; valid is {expected}")]
    Shape {
        /// Which tensor.
        what: String,
        /// The valid shape.
        expected: String,
        /// The shape met.
        found: String,
    },
    /// A NaN or an infinity where a number is needed.
    #[error("{what}: value {index} is not finite")]
    NotFinite {
        /// Which tensor.
        what: String,
        /// Flat index of the first such value.
        index: usize,
    },
    /// The policy cannot read this observation.
    #[error("observation: {0}")]
    Observation(String),
    /// The answer did not come in time. What came later was thrown away.
    #[error("inference took {:.3} ms, its deadline is {:.3} ms", elapsed.as_secs_f64() * 1e3, limit.as_secs_f64() * 1e3)]
    Deadline {
        /// How long it might have taken.
        limit: Duration,
        /// When it had ended, counted from its beginning.
        elapsed: Duration,
    },
    /// The inference engine failed.
    #[error("inference failed: {0}")]
    Backend(String),
}

/// Why a plant did not move.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// The suite has no such task.
    #[error("unknown task {found}; valid is 0 to {last}")]
    UnknownTask {
        /// The index asked for.
        found: usize,
        /// The last valid index.
        last: usize,
    },
    /// The task has no such initial state.
    #[error(
        "task {task}: unknown initial state {found}; valid is 0 to {last}, and more only with a sample seed (--sample-seed)"
    )]
    UnknownInitialState {
        /// The task.
        task: usize,
        /// The index asked for.
        found: usize,
        /// The last valid index.
        last: usize,
    },
    /// The action does not fit the plant.
    #[error("action: found {found}; valid is {expected} finite values")]
    Action {
        /// Values per action.
        expected: usize,
        /// What came.
        found: String,
    },
    /// The state to start from does not fit the task.
    #[error("state: found {found}; valid is {expected} finite values")]
    State {
        /// Values per state.
        expected: usize,
        /// What came.
        found: String,
    },
    /// A step came before any reset.
    #[error("the plant was stepped before its first reset")]
    NotReset,
    /// The physics left the finite numbers.
    #[error("the simulation diverged at control step {step}")]
    Diverged {
        /// Control step within the episode.
        step: u32,
    },
    /// The plant can no longer be reached, or is no longer the one that the episode began on. The episode did not
    /// happen: it says nothing about any policy.
    #[error("the plant was lost: {0}")]
    Lost(String),
    /// Anything the plant itself reports.
    #[error("plant: {0}")]
    Backend(String),
}
