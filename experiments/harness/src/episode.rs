//! One episode of one arm: who takes part, what it comes to, and what can go wrong.
//! The loop itself is in `course.rs`.

use std::time::Duration;

use aegis_core::probe::ProbeError;
use aegis_core::trigger::DrawError;
use aegis_core::{Driver, GateLimits, Plant, PlantError, Policy, PolicyError, Probe, Recorder, Start};
use serde::{Deserialize, Serialize};

use crate::arm::{Arm, ArmName};
use crate::episode_state::{BoundaryHook, EpisodeState};
use crate::key::EpisodeKey;
use crate::sensor::SensorNoise;
use crate::streams::Streams;
use crate::twins::TwinError;

/// Everything about an episode that is not its key or its arm.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeSettings {
    /// Limits of every gate; their horizon and chunk length hold for arms without one too.
    pub gate: GateLimits,
    /// Whether the strong policy is asked at every boundary, obeyed or not.
    pub ask_strong: bool,
    /// What policies see.
    pub sensor: SensorNoise,
    /// Control steps of the null action before the episode counts, as upstream evaluations do.
    pub settle_steps: u32,
    /// The null action.
    pub null_action: Vec<f32>,
    /// Random streams.
    pub streams: Streams,
    /// Whether twins go on from the weak arm's snapshots instead of running its steps again.
    pub fork: bool,
}

/// The parties of the loop. Each worker owns its own.
pub struct EpisodeContext {
    /// The robot or simulator.
    pub plant: Box<dyn Plant>,
    /// The policy that drives by default; its activation is watched.
    pub weak: Box<dyn Policy>,
    /// The backup.
    pub strong: Box<dyn Policy>,
    /// Reads the weak policy's activations.
    pub probe: Probe,
}

/// What an episode came to. Holds no times of the machine, so equal seeds give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeResult {
    /// In which arm.
    pub arm: ArmName,
    /// What the twins share.
    pub key: EpisodeKey,
    /// Whether the goal held within the horizon.
    pub success: bool,
    /// Control steps taken.
    pub steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// Gate activations.
    pub fires: u32,
    /// Control steps that the strong policy drove.
    pub strong_steps: u32,
    /// Control steps at which the driver changed.
    pub hand_overs: Vec<u32>,
    /// Score at each chunk boundary; `null` where it was not a number.
    pub scores: Vec<Option<f64>>,
    /// Digest of the state path up to each chunk boundary, for comparing twins.
    pub prefixes: Vec<String>,
    /// Digest of the whole state path.
    pub path: String,
}

/// Wall time of the inferences of an episode, apart from its result.
#[derive(Clone, Debug, Default)]
pub struct EpisodeTiming {
    /// The weak policy's.
    pub weak: Vec<Duration>,
    /// The strong policy's.
    pub strong: Vec<Duration>,
}

/// Why an episode could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum EpisodeError {
    /// The gate's settings are no settings.
    #[error(transparent)]
    Gate(#[from] aegis_core::gate::GateError),
    /// The plant failed.
    #[error(transparent)]
    Plant(#[from] PlantError),
    /// A policy failed.
    #[error("{driver:?} policy: {source}")]
    Policy {
        /// Which of the two.
        driver: Driver,
        /// What it reported.
        source: PolicyError,
    },
    /// The expert, the learner or the encoder of a collection failed.
    #[error("demonstration: {0}")]
    Demonstrator(#[source] PolicyError),
    /// An episode that went on from its twin's snapshot did not stand where the twin stood.
    #[error("the fork at control step {step} is not the state that the weak twin was in, bit for bit")]
    Fork {
        /// Control step of the fork.
        step: u32,
    },
    /// An arm parted from the weak one before it handed over.
    #[error(transparent)]
    Twins(#[from] TwinError),
    /// The placebo's boundaries cannot be drawn.
    #[error("placebo: {0}")]
    Draw(#[from] DrawError),
    /// The probe does not fit the policy.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The weak policy exposes nothing to read.
    #[error("the weak policy's model has no activation output; its card needs an [activation] table")]
    NoActivation,
    /// A chunk is shorter or longer than the gate's.
    #[error("{driver} policy: chunk: found {found} control steps; valid is {expected}, the gate's")]
    Horizon {
        /// Which of the two.
        driver: Driver,
        /// Steps per chunk in the settings.
        expected: u32,
        /// Steps proposed.
        found: usize,
    },
}

/// Runs one episode of one arm from its beginning.
pub fn run_episode(
    parties: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
) -> Result<(EpisodeResult, EpisodeTiming), EpisodeError> {
    run_watched(parties, arm, key, settings, recorder, &mut |_, _| Ok(()))
}

/// The same, with somebody who looks on at every boundary.
pub(crate) fn run_watched(
    parties: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
    at_boundary: &mut BoundaryHook<'_>,
) -> Result<(EpisodeResult, EpisodeTiming), EpisodeError> {
    let arbiter = arm.arbiter(&settings.gate)?;
    let mut timing = EpisodeTiming::default();
    let course = EpisodeState::begin(parties, arm.name.clone(), key, settings)?;
    let result = course.finish(parties, arbiter, settings, recorder, &mut timing, at_boundary)?;
    Ok((result, timing))
}

/// Resets the plant and lets it come to rest.
pub(crate) fn settle_objects(
    plant: &mut dyn Plant,
    start: Start,
    settings: &EpisodeSettings,
) -> Result<aegis_core::Observation, PlantError> {
    let mut observation = plant.reset(start)?;
    for _ in 0..settings.settle_steps {
        observation = plant.step(&settings.null_action)?.observation;
    }
    Ok(observation)
}
