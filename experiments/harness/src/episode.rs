//! One episode: the loop of the method, in lock-step with a plant.
//! Observation → weak inference → score → decision → action → record, one chunk after another.

use std::time::{Duration, Instant};

use aegis_core::{
    Arbiter, Authority, ChunkRecord, Driver, GateLimits, Plant, PlantError, Policy, PolicyError, Probe,
    Recorder, Start, StepRecord,
    probe::ProbeError,
    trigger::{Rule, chunk_disagreement},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::key::EpisodeKey;
use crate::sensor::SensorNoise;
use crate::streams::Streams;

/// Which policy may drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The weak policy alone.
    Weak,
    /// The weak policy, backed up by the strong one when the gate fires.
    Aegis,
    /// The strong policy alone.
    Strong,
}

impl Arm {
    /// The arm's name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Aegis => "aegis",
            Self::Strong => "strong",
        }
    }
}

/// Everything about an episode that is not its key or its arm.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeSettings {
    /// Limits of the `aegis` arm's gate; their horizon and chunk length hold for all arms.
    pub gate: GateLimits,
    /// The rule that the `aegis` arm's gate obeys.
    pub rule: Rule,
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
}

/// The parties of the loop. Each worker owns its own.
pub struct Parties {
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
    /// Which policies could drive.
    pub arm: Arm,
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
    /// The probe does not fit the policy.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The weak policy exposes nothing to read.
    #[error("the weak policy's model has no activation output; its card needs an [activation] table")]
    NoActivation,
    /// A chunk is shorter or longer than the gate's.
    #[error("{driver:?} policy: chunk of {found} control steps, the gate is set to {expected}")]
    Horizon {
        /// Which of the two.
        driver: Driver,
        /// Steps per chunk in the settings.
        expected: u32,
        /// Steps proposed.
        found: usize,
    },
}

/// Runs one episode of one arm.
pub fn run_episode(
    parties: &mut Parties,
    arm: Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
) -> Result<(EpisodeResult, EpisodeTiming), EpisodeError> {
    let chunk_steps = settings.gate.chunk_steps;
    let mut arbiter = Arbiter::new(match arm {
        Arm::Weak => Authority::WeakOnly,
        Arm::Strong => Authority::StrongOnly,
        Arm::Aegis => Authority::from_rule(&settings.rule, &settings.gate, false)?,
    });
    let ask_strong = settings.ask_strong || arbiter.needs_disagreement();
    let mut memory = parties.probe.memory();
    let mut path = StatePath::default();
    let mut timing = EpisodeTiming::default();
    let mut result = EpisodeResult {
        arm,
        key,
        success: false,
        steps: 0,
        chunk_steps,
        fires: 0,
        strong_steps: 0,
        hand_overs: Vec::new(),
        scores: Vec::new(),
        prefixes: Vec::new(),
        path: String::new(),
    };

    let mut observation = settle(parties.plant.as_mut(), key.start, settings)?;
    path.push(parties.plant.as_ref());
    'episode: while result.steps < settings.gate.horizon_steps {
        let step = result.steps;
        let mut seen = observation.clone();
        settings.sensor.apply(&mut seen, &mut settings.streams.at(key, "sensor", step));
        if parties.weak.reads_frames() || parties.strong.reads_frames() {
            seen.frames = parties.plant.frames()?.into();
        }

        let (weak, elapsed) = infer(parties.weak.as_mut(), Driver::Weak, &seen, chunk_steps)?;
        timing.weak.push(elapsed);
        let pooled = weak.activation.ok_or(EpisodeError::NoActivation)?.mean_pool();
        let score = parties.probe.score(&mut memory, &pooled)?;
        let mut ask = || {
            let (strong, elapsed) = infer(parties.strong.as_mut(), Driver::Strong, &seen, chunk_steps)?;
            timing.strong.push(elapsed);
            Ok::<_, EpisodeError>(strong.chunk)
        };
        let mut strong = if ask_strong { Some(ask()?) } else { None };
        let distance = strong.as_ref().map(|strong| chunk_disagreement(&weak.chunk, strong)).transpose();
        let distance = distance.map_err(|source| EpisodeError::Policy { driver: Driver::Strong, source })?;
        let decision = arbiter.boundary(step, score, distance);
        if strong.is_none() && decision.driver == Driver::Strong {
            strong = Some(ask()?);
        }

        let driver = decision.driver;
        result.fires += u32::from(decision.fired);
        if decision.handed_over {
            result.hand_overs.push(step);
        }
        result.scores.push((!score.is_flagged()).then(|| score.risk()));
        result.prefixes.push(path.digest());
        let record = ChunkRecord { step, decision, pooled, weak: weak.chunk, strong };
        recorder.chunk(&record);

        // The strong policy may have been asked only for its opinion.
        let obeyed = record.strong.as_ref().filter(|_| driver == Driver::Strong);
        let chunk = obeyed.unwrap_or(&record.weak);
        for action in (0..chunk_steps as usize).map_while(|index| chunk.action(index)) {
            if result.steps == settings.gate.horizon_steps {
                break 'episode;
            }
            let transition = parties.plant.step(action)?;
            path.push(parties.plant.as_ref());
            observation = transition.observation;
            recorder.step(&StepRecord {
                step: result.steps,
                driver,
                action,
                observation: &observation,
                success: transition.success,
            });
            result.steps += 1;
            result.strong_steps += u32::from(driver == Driver::Strong);
            if transition.success {
                result.success = true;
                break 'episode;
            }
        }
    }
    result.path = path.digest();
    Ok((result, timing))
}

/// Resets the plant and lets it come to rest.
pub(crate) fn settle(
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

fn infer(
    policy: &mut dyn Policy,
    driver: Driver,
    observation: &aegis_core::Observation,
    chunk_steps: u32,
) -> Result<(aegis_core::Inference, Duration), EpisodeError> {
    let begin = Instant::now();
    let inference = policy.infer(observation).map_err(|source| EpisodeError::Policy { driver, source })?;
    let elapsed = begin.elapsed();
    let found = inference.chunk.horizon();
    if found != chunk_steps as usize {
        return Err(EpisodeError::Horizon { driver, expected: chunk_steps, found });
    }
    Ok((inference, elapsed))
}

/// A running digest over every bit of the plant's state after every control step.
#[derive(Default)]
struct StatePath {
    hasher: Sha256,
    state: Vec<f64>,
}

impl StatePath {
    fn push(&mut self, plant: &dyn Plant) {
        self.state.clear();
        plant.state(&mut self.state);
        for value in &self.state {
            self.hasher.update(value.to_bits().to_le_bytes());
        }
    }

    fn digest(&self) -> String {
        self.hasher.clone().finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
