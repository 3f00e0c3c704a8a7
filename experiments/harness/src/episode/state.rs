//! The control loop of an episode, in lock-step with the plant, from any boundary on. For each chunk: observation →
//! weak inference → score → gate decision → actions → record.

use std::time::{Duration, Instant};

use aegis_core::probe::HeadsMemory;
use aegis_core::trigger::chunk_disagreement;
use aegis_core::{
    Arbiter, ChunkRecord, Driver, Executing, Inference, Observation, Plant, Policy, Readings, Recorder,
    StepRecord,
};
use rand::RngExt;
use sha2::{Digest, Sha256};

use crate::episode::arm::ArmName;
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings, EpisodeTiming, settle_objects};
use crate::episode::outcome::EpisodeResult;
use aegis_core::EpisodeKey;
use aegis_files::hex;

/// State of an episode at a boundary, without the plant's own state. The loop can be continued from here.
#[derive(Clone)]
pub(crate) struct EpisodeState {
    pub(crate) observation: Observation,
    pub(crate) memory: HeadsMemory,
    pub(crate) path: StatePath,
    /// Policy whose chunk was executed last; `None` at the first boundary.
    pub(crate) executed: Option<Driver>,
    /// Result up to this boundary.
    pub(crate) result: EpisodeResult,
}

/// Callback that is called at every boundary, before any inference, with the episode's state.
pub(crate) type BoundaryHook<'a> = dyn FnMut(&EpisodeState, &EpisodeContext) -> Result<(), EpisodeError> + 'a;

/// Random stream of the noise that policies draw. Twins share it, and so do both policies: each input has a stream of its own.
const NOISE: &str = "policy noise";

impl EpisodeState {
    /// Resets the plant, lets objects come to rest, and returns the state at the first boundary.
    pub(crate) fn begin(
        context: &mut EpisodeContext,
        arm: ArmName,
        key: EpisodeKey,
        settings: &EpisodeSettings,
    ) -> Result<Self, EpisodeError> {
        let disturbance = settings.disturbance(key);
        let observation = settle_objects(context.plant.as_mut(), key.start, disturbance, settings)?;
        let seed = settings.streams.at(key, NOISE, 0).random();
        context.weak.begin(seed);
        context.strong.begin(seed);
        let mut path = StatePath::default();
        path.push(context.plant.as_ref());
        let result = EpisodeResult {
            arm,
            key,
            disturbance,
            success: false,
            steps: 0,
            chunk_steps: settings.gate.chunk_steps,
            fires: 0,
            strong_steps: 0,
            hand_overs: Vec::new(),
            scores: Vec::new(),
            prefixes: Vec::new(),
            path: String::new(),
        };
        Ok(Self { observation, memory: context.probe.memory(), path, executed: None, result })
    }

    /// Runs the control loop until success or the horizon.
    pub(crate) fn finish(
        mut self,
        context: &mut EpisodeContext,
        mut arbiter: Arbiter,
        settings: &EpisodeSettings,
        recorder: &mut dyn Recorder,
        timing: &mut EpisodeTiming,
        at_boundary: &mut BoundaryHook<'_>,
    ) -> Result<EpisodeResult, EpisodeError> {
        while self.result.steps < settings.gate.horizon_steps && !self.result.success {
            at_boundary(&self, context)?;
            let record = self.decide(context, &mut arbiter, settings, timing)?;
            recorder.state_path(self.path.bytes());
            recorder.chunk(&record);
            self.execute(context.plant.as_mut(), &record, settings, recorder)?;
        }
        self.result.path = self.path.digest();
        Ok(self.result)
    }

    /// Decides one boundary: runs the inferences, scores the activation and lets the arbiter choose the driver.
    fn decide(
        &mut self,
        context: &mut EpisodeContext,
        arbiter: &mut Arbiter,
        settings: &EpisodeSettings,
        timing: &mut EpisodeTiming,
    ) -> Result<ChunkRecord, EpisodeError> {
        let (key, step, chunk_steps) = (self.result.key, self.result.steps, settings.gate.chunk_steps);
        let mut seen = self.observation.clone();
        settings.sensor.apply(&mut seen, &mut settings.streams.at(key, "sensor", step));
        if context.weak.reads_frames() || context.strong.reads_frames() {
            seen.frames = context.plant.frames()?.into();
        }

        let continued = |driver| {
            // In lock-step the newest chunk of the policy that drove is the executed one, and its next begins where the executed
            // actions end.
            (self.executed == Some(driver)).then_some(Executing { back: 0, steps: chunk_steps })
        };
        context.weak.set_executing(continued(Driver::Weak));
        context.strong.set_executing(continued(Driver::Strong));
        let (weak, elapsed) = infer(context.weak.as_mut(), Driver::Weak, &seen, chunk_steps)?;
        timing.weak.push(elapsed);
        let pooled = weak.activation.ok_or(EpisodeError::NoActivation)?.mean_pool();
        let (score, benefit) = context.probe.read(&mut self.memory, &pooled)?;
        let mut ask = || {
            let (strong, elapsed) = infer(context.strong.as_mut(), Driver::Strong, &seen, chunk_steps)?;
            timing.strong.push(elapsed);
            Ok::<_, EpisodeError>(strong.chunk)
        };
        let asked = settings.ask_strong || arbiter.needs_disagreement();
        let mut strong = if asked { Some(ask()?) } else { None };
        let distance = strong.as_ref().map(|strong| chunk_disagreement(&weak.chunk, strong)).transpose();
        let distance = distance.map_err(|source| EpisodeError::Policy { driver: Driver::Strong, source })?;
        let decision = arbiter.boundary(step, Readings { score, benefit, disagreement: distance });
        if strong.is_none() && decision.driver == Driver::Strong {
            strong = Some(ask()?);
        }

        let result = &mut self.result;
        result.fires += u32::from(decision.fired);
        if decision.handed_over {
            result.hand_overs.push(step);
        }
        result.scores.push((!score.is_flagged()).then(|| score.risk()));
        result.prefixes.push(self.path.digest());
        Ok(ChunkRecord { step, decision, benefit, pooled, weak: weak.chunk, strong })
    }

    /// Executes the chosen chunk, at most until success or the horizon.
    fn execute(
        &mut self,
        plant: &mut dyn Plant,
        record: &ChunkRecord,
        settings: &EpisodeSettings,
        recorder: &mut dyn Recorder,
    ) -> Result<(), EpisodeError> {
        let driver = record.decision.driver;
        // The strong policy may have been asked only to compute its disagreement with the weak one.
        let obeyed = record.strong.as_ref().filter(|_| driver == Driver::Strong);
        let chunk = obeyed.unwrap_or(&record.weak);
        self.executed = Some(driver);
        let left = settings.gate.horizon_steps - self.result.steps;
        for index in 0..settings.gate.chunk_steps.min(left) as usize {
            let Some(action) = chunk.action(index) else { break };
            let transition = plant.step(action)?;
            self.path.push(plant);
            self.observation = transition.observation;
            recorder.state_path(self.path.bytes());
            recorder.step(&StepRecord {
                step: self.result.steps,
                driver,
                action,
                observation: &self.observation,
                success: transition.success,
            });
            self.result.steps += 1;
            self.result.strong_steps += u32::from(driver == Driver::Strong);
            if transition.success {
                self.result.success = true;
                break;
            }
        }
        Ok(())
    }
}

fn infer(
    policy: &mut dyn Policy,
    driver: Driver,
    observation: &Observation,
    chunk_steps: u32,
) -> Result<(Inference, Duration), EpisodeError> {
    let begin = Instant::now();
    let inference = policy.infer(observation).map_err(|source| EpisodeError::Policy { driver, source })?;
    let elapsed = begin.elapsed();
    let found = inference.chunk.horizon();
    if found < chunk_steps as usize {
        return Err(EpisodeError::Horizon { driver, expected: chunk_steps, found });
    }
    // Of a longer chunk, only the executed actions are recorded and compared.
    let chunk = inference.chunk.first(chunk_steps as usize);
    Ok((Inference { chunk, ..inference }, elapsed))
}

/// Running digest over every bit of the plant's state after every control step.
#[derive(Clone, Default)]
pub(crate) struct StatePath {
    hasher: Sha256,
    state: Vec<f64>,
}

impl StatePath {
    pub(crate) fn push(&mut self, plant: &dyn Plant) {
        self.state.clear();
        plant.state(&mut self.state);
        for value in &self.state {
            self.hasher.update(value.to_bits().to_le_bytes());
        }
    }

    /// Returns whether the last states of both paths are equal, bit for bit.
    pub(crate) fn stands_where(&self, other: &Self) -> bool {
        let bits = |path: &Self| path.state.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        bits(self) == bits(other)
    }

    pub(crate) fn digest(&self) -> String {
        hex(&self.bytes())
    }

    /// Returns the first 16 bytes of the SHA-256 over all states so far.
    fn bytes(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.hasher.clone().finalize()[..16]);
        half
    }
}
