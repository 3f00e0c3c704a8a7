//! Policies and plants as traits, with the values that they exchange and their errors.
//! Chunks and activations are plain values that carry their shapes.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Disturbance, Frame, Observation, Schema};

/// Sequence of actions proposed by one inference, row-major `[horizon, width]`.
///
/// For an OSC_POSE arm the width is 7: Cartesian position delta (±1 is ±0.05 m a control step), axis-angle delta
/// (±1 is ±0.5 rad), both in the world frame, and the gripper (−1 opens, +1 closes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    width: usize,
    values: Vec<f32>,
}

impl Chunk {
    /// Builds a chunk from `values`, row-major `[horizon, width]`.
    ///
    /// # Errors
    /// [`PolicyError`] for values that do not form whole actions or are not finite.
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

    /// Returns the first `steps` actions, or all where there are not more.
    #[must_use]
    pub fn first(mut self, steps: usize) -> Self {
        self.values.truncate(steps.max(1) * self.width);
        self
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

/// Internal tensor of a policy at one inference, row-major `[tokens, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    width: usize,
    values: Vec<f32>,
}

impl Activation {
    /// Builds an activation from `values`, row-major `[tokens, width]`. NaN is accepted: it is evidence of risk.
    ///
    /// # Errors
    /// [`PolicyError`] for values that do not form whole tokens.
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

    /// All values, row-major `[tokens, width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the mean over the tokens, shape `[width]`.
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

/// Result of one inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// The proposed actions.
    pub chunk: Chunk,
    /// The tapped activation, for a policy whose activations are scored.
    pub activation: Option<Activation>,
}

/// Which of a policy's chunks the plant executes while the policy infers the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executing {
    /// Inferences that succeeded after that of the executed chunk; 0 where the executed chunk is the newest.
    pub back: usize,
    /// Control steps from the chunk's first action to the first action of the next chunk.
    pub steps: u32,
}

/// Frozen policy.
pub trait Policy {
    /// Checks that the policy can read what a plant announces. An inference on an observation with another schema binds
    /// anew.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] with what the policy reads and what the plant offers.
    fn bind(&mut self, _schema: &Arc<Schema>) -> Result<(), PolicyError> {
        Ok(())
    }

    /// Begins an episode: forgets what was remembered of the last one. `seed` is that of the episode's noise, for a policy
    /// that draws some.
    fn begin(&mut self, _seed: u64) {}

    /// Returns whether an inference depends on earlier inferences of the episode, as that of a recurrent policy does.
    fn remembers(&self) -> bool {
        false
    }

    /// States which of the policy's chunks the plant executes during the next inferences: `None`, as after [`begin`](Self::begin),
    /// where it executes none, because the episode begins or another policy drives. Only a policy that reads its earlier chunk needs this.
    fn set_executing(&mut self, _executing: Option<Executing>) {}

    /// Proposes the next chunk from one observation.
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError>;

    /// Returns whether the policy reads [`Observation::frames`]; the caller then has to request frames from the plant.
    fn reads_frames(&self) -> bool {
        false
    }
}

/// Asks a policy twice for the same inference, each time as the first of an episode, and returns whether both answers are the same,
/// bit for bit. The next inference needs [`Policy::begin`].
///
/// # Errors
/// As [`Policy::infer`].
pub fn repeats(policy: &mut dyn Policy, observation: &Observation, seed: u64) -> Result<bool, PolicyError> {
    let mut bits = || {
        policy.begin(seed);
        let Inference { chunk, activation } = policy.infer(observation)?;
        let activation = activation.iter().flat_map(|activation| activation.values());
        Ok(chunk.values().iter().chain(activation).map(|value| value.to_bits()).collect::<Vec<_>>())
    };
    Ok(bits()? == bits()?)
}

/// Start of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Start {
    /// Index of the task within its suite.
    pub task: usize,
    /// Index into the task's initial states.
    pub initial_state: usize,
}

/// Result of one control step.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The state after the step.
    pub observation: Observation,
    /// Whether the task's goal holds now.
    pub success: bool,
}

/// Saved episode that a plant can resume. The content is known only to plants of the same kind.
pub struct Saved(Box<dyn Any + Send + Sync>);

impl Saved {
    /// Wraps the state that a plant saves.
    pub fn new(kept: impl Any + Send + Sync) -> Self {
        Self(Box::new(kept))
    }

    /// Returns the saved state, for a plant of the kind that saved it.
    ///
    /// # Errors
    /// [`PlantError::Backend`] where another kind of plant saved the state.
    pub fn kept<T: Any>(&self) -> Result<&T, PlantError> {
        let other = || PlantError::Backend("the saved episode is of another kind of plant".into());
        self.0.downcast_ref().ok_or_else(other)
    }
}

/// Why a plant stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// No command has come yet in this episode: the plant keeps its pose and is only observed.
    Waiting,
    /// Commands have ceased or must not be executed any more: the plant comes to rest by its own means.
    Stopping,
}

/// Robot or simulator, driven one control step at a time.
pub trait Plant {
    /// Starts an episode. Two resets to the same start give bitwise equal states, whatever ran between them.
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError>;

    /// Starts an episode as [`reset`](Self::reset) does, in which the plant applies the disturbance, if there is one, by itself. The step
    /// of the disturbance counts the plant's control steps since the reset. A saved episode includes the disturbance.
    ///
    /// # Errors
    /// Those of a reset, and [`PlantError::Undisturbed`] for a plant, or a task, that cannot do it.
    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        match disturbance {
            None => self.reset(start),
            Some(_) => Err(PlantError::Undisturbed("the plant has no disturbances of its own".into())),
        }
    }

    /// Applies one action for one control period.
    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError>;

    /// Stands still for one control period without a controller's action. A robot that is [waiting](Standstill::Waiting) sends
    /// nothing; one that is [stopping](Standstill::Stopping) returns an error until it has come to rest. Returns `None` for a plant
    /// that stands still by an action, which its server knows.
    fn stand(&mut self, _standstill: Standstill) -> Option<Result<Transition, PlantError>> {
        None
    }

    /// Returns how old the readings of the newest observation were when the call that returned it began; zero for a plant that
    /// measures during the call.
    fn age(&self) -> Duration {
        Duration::ZERO
    }

    /// Appends the complete physical state to `out`, for comparing twins bit for bit.
    fn state(&self, out: &mut Vec<f64>);

    /// Saves the episode in its current state, to be [resumed](Plant::resume) later, on this plant or on another plant
    /// of the same kind. Returns `None` for a plant that cannot save, for example a robot.
    fn save(&self) -> Result<Option<Saved>, PlantError> {
        Ok(None)
    }

    /// Resumes an episode at the saved state, bit for bit, whatever this plant did since.
    fn resume(&mut self, _saved: &Saved) -> Result<Observation, PlantError> {
        Err(PlantError::Backend("this plant cannot take up a saved episode".into()))
    }

    /// Returns the current picture of each camera, in the plant's order; empty for a plant without cameras.
    ///
    /// Drawing costs more than stepping, so pictures are drawn only on request: once per chunk, not once per control step.
    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        Ok(Vec::new())
    }
}

/// Error of a policy that gave no usable chunk.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A tensor has another shape than the caller needs.
    #[error("{what}: found {found}; valid is {expected}")]
    Shape {
        /// Which tensor.
        what: String,
        /// The valid shape.
        expected: String,
        /// The shape that was found.
        found: String,
    },
    /// A value is NaN or infinite where a finite number is needed.
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
    /// The inference missed its deadline. Its late result was dropped.
    #[error("inference took {:.3} ms, its deadline is {:.3} ms", elapsed.as_secs_f64() * 1e3, limit.as_secs_f64() * 1e3)]
    Deadline {
        /// Deadline, counted from the beginning of the inference.
        limit: Duration,
        /// Time from the beginning of the inference to its end.
        elapsed: Duration,
    },
    /// The inference engine failed.
    #[error("inference failed: {0}")]
    Backend(String),
}

/// Error of a plant.
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
        /// What was found.
        found: String,
    },
    /// The state to start from does not fit the task.
    #[error("state: found {found}; valid is {expected} finite values")]
    State {
        /// Values per state.
        expected: usize,
        /// What was found.
        found: String,
    },
    /// The plant cannot apply a disturbance.
    #[error("disturbance: {0}; valid is a plan without [disturbances], or a plant that can apply them")]
    Undisturbed(String),
    /// A step was requested before the first reset.
    #[error("the plant was stepped before its first reset")]
    NotReset,
    /// The simulated state is no longer finite.
    #[error("the simulation diverged at control step {step}")]
    Diverged {
        /// Control step within the episode.
        step: u32,
    },
    /// The plant can no longer be reached, or another plant process has replaced the one on which the episode began.
    /// The episode is void: it is no evidence about any policy.
    #[error("the plant was lost: {0}")]
    Lost(String),
    /// Any other failure that the plant reports.
    #[error("plant: {0}")]
    Backend(String),
}
