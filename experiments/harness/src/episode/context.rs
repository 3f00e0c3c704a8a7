//! Settings, context, timing and errors of an episode.

use std::time::Duration;

use aegis_core::probe::ProbeError;
use aegis_core::trigger::DrawError;
use aegis_core::{
    Disturbance, Driver, EpisodeKey, GateLimits, Heads, Plant, PlantError, Policy, PolicyError, Start,
};

use crate::episode::streams::Streams;
use crate::episode::twins::TwinError;
use aegis_probe::disturbances::DisturbanceSettings;
use aegis_probe::sensor::SensorNoise;

/// Settings of an episode, apart from its key and its arm.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeSettings {
    /// Limits of every gate. Their horizon and chunk length also apply to arms without a gate.
    pub gate: GateLimits,
    /// Whether the strong policy infers at every boundary, also while the weak policy drives.
    pub ask_strong: bool,
    /// Sensor noise on the observation that policies receive.
    pub sensor: SensorNoise,
    /// Control steps of the null action after a reset, before the first counted control step, as upstream evaluations
    /// do.
    pub settle_steps: u32,
    /// Disturbances that the plant applies; `None` for none.
    pub disturbances: Option<DisturbanceSettings>,
    /// Null action, `[action width]`.
    pub null_action: Vec<f32>,
    /// Random streams of the episode.
    pub streams: Streams,
    /// Whether twins resume from the weak arm's saved plant states instead of running the shared control steps again.
    pub fork: bool,
}

impl EpisodeSettings {
    /// Returns the disturbance of an episode, which is the same in every arm.
    pub fn disturbance(&self, key: EpisodeKey) -> Option<Disturbance> {
        self.streams.disturbance(key, self.disturbances.as_ref(), self.gate.horizon_steps)
    }
}

/// Plant, policies and probe of the control loop. Each worker owns one context.
pub struct EpisodeContext {
    /// Plant: the robot or simulator.
    pub plant: Box<dyn Plant>,
    /// Weak policy: drives by default; the probe reads its activations.
    pub weak: Box<dyn Policy>,
    /// Strong policy: drives after a hand-over.
    pub strong: Box<dyn Policy>,
    /// Heads of the probe that read the weak policy's activations.
    pub probe: Heads,
}

/// Wall time of the inferences of an episode. It is kept apart from the result, which has to be reproducible.
#[derive(Clone, Debug, Default)]
pub struct EpisodeTiming {
    /// Inference times of the weak policy, one for each inference.
    pub weak: Vec<Duration>,
    /// Inference times of the strong policy, one for each inference.
    pub strong: Vec<Duration>,
}

/// Error that ends an episode early.
#[derive(Debug, thiserror::Error)]
pub enum EpisodeError {
    /// The gate's settings are invalid.
    #[error(transparent)]
    Gate(#[from] aegis_core::gate::GateError),
    /// The plant failed.
    #[error(transparent)]
    Plant(#[from] PlantError),
    /// A policy failed.
    #[error("{driver:?} policy: {source}")]
    Policy {
        /// Which policy.
        driver: Driver,
        /// Error of the policy.
        source: PolicyError,
    },
    /// The expert, the learner or the encoder of a demonstration failed.
    #[error("demonstration: {0}")]
    Demonstrator(#[source] PolicyError),
    /// The plant's state after it resumed from the weak twin's saved state differs from the state of the weak twin.
    #[error(
        "fork: found a state at control step {step} that differs from the weak twin's, bit for bit; valid is a plant that resumes exactly"
    )]
    Fork {
        /// Control step of the fork.
        step: u32,
    },
    /// The plant or a policy cannot go back to an earlier boundary, so no branch can begin there.
    #[error(
        "{0}, so no episode can be continued from a boundary in another way; valid is a plant that saves its state bit for bit, as the \
         native simulator does, and policies that keep no state from one inference to the next"
    )]
    NoSnapshots(&'static str),
    /// The gate's limits allow no fire at any boundary.
    #[error(
        "gate: found limits under which no gate may fire at any boundary; valid is a guard_fraction before the end of the horizon, a \
         budget_fraction above 0, and a duty_cap with room for hold_chunks"
    )]
    NeverFires,
    /// An arm's trajectory differs from the weak arm's before the arm's first hand-over.
    #[error(transparent)]
    Twins(#[from] TwinError),
    /// The boundaries of the yoked placebo cannot be drawn.
    #[error("placebo: {0}")]
    Draw(#[from] DrawError),
    /// The probe does not fit the policy.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The weak policy's model has no activation output.
    #[error("the weak policy's model has no activation output; its card needs an [activation] table")]
    NoActivation,
    /// A chunk has fewer control steps than the gate's chunk length.
    #[error(
        "{driver} policy: chunk: found {found} control steps; valid is at least {expected}, the gate's chunk_steps"
    )]
    Horizon {
        /// Which policy.
        driver: Driver,
        /// Control steps per chunk in the settings.
        expected: u32,
        /// Control steps in the chunk that the policy returned.
        found: usize,
    },
}

/// Resets the plant and executes [`EpisodeSettings::settle_steps`] null actions, so that objects come to rest. The
/// disturbance counts from the control step after these.
pub(crate) fn settle_objects(
    plant: &mut dyn Plant,
    start: Start,
    disturbance: Option<Disturbance>,
    settings: &EpisodeSettings,
) -> Result<aegis_core::Observation, PlantError> {
    let disturbance = disturbance.map(|disturbance| disturbance.delayed_by(settings.settle_steps));
    let mut observation = plant.reset_disturbed(start, disturbance.as_ref())?;
    for _ in 0..settings.settle_steps {
        observation = plant.step(&settings.null_action)?.observation;
    }
    Ok(observation)
}
