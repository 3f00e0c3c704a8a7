//! A one-dimensional plant, two policies that walk on it, and the settings of their episodes.
//! Every outcome can be computed by hand: from odd starts the weak policy walks the wrong way.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::gate::BudgetUnit;
use aegis_core::probe::{Head, Linear};
use aegis_core::{
    Activation, Chunk, GateLimits, Inference, Observation, Plant, PlantError, Policy, PolicyError, Probe,
    Rule, Saved, Start, Thresholds, Transition,
};
use aegis_experiments::{Arm, EpisodeContext, EpisodeSettings, Streams};
use aegis_probe::StateRange;
use aegis_probe::origin::Starts;
use aegis_probe::rollout_file::{self, Provenance};
use aegis_probe::sensor::SensorNoise;

#[derive(Clone, Default)]
pub struct Line {
    start: usize,
    pub position: f64,
}

impl Line {
    fn observation(&self) -> Observation {
        let features = [("position", &[self.position][..]), ("eef_position", &[self.position, 0.0, 0.0])];
        let instruction = "reach five".into();
        Observation { task: self.start % 2, instruction, ..Observation::of(&features).unwrap() }
    }
}

impl Plant for Line {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        *self = Self { start: start.initial_state, position: 0.0 };
        Ok(self.observation())
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.position += f64::from(action[0]);
        Ok(Transition { success: self.position >= 5.0, observation: self.observation() })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.push(self.position);
    }

    fn save(&self) -> Result<Option<Saved>, PlantError> {
        Ok(Some(Saved::new(self.clone())))
    }

    fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
        *self = saved.kept::<Self>()?.clone();
        Ok(self.observation())
    }
}

pub struct Walker {
    lost_on_odd: bool,
}

impl Policy for Walker {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let odd = observation.task == 1;
        let pace = if self.lost_on_odd && odd { -0.5 } else { 0.5 };
        let mark = if odd { 1.0 } else { -1.0 };
        // A small term from the position, so that activations differ from step to step, as real ones do.
        let drift = observation.feature("position").unwrap()[0] as f32 * 0.01;
        Ok(Inference {
            chunk: Chunk::new(1, vec![pace; 2])?,
            activation: Some(Activation::new(2, vec![mark + drift, 0.5, mark - drift, 0.5])?),
        })
    }
}

pub fn probe() -> Probe {
    let head = Head::Linear(Linear { weights: vec![4.0, 0.0], bias: 0.0 });
    Probe { mean: vec![0.0; 2], scale: vec![1.0; 2], head }
}

pub fn open() -> EpisodeContext {
    EpisodeContext {
        plant: Box::<Line>::default(),
        weak: Box::new(Walker { lost_on_odd: true }),
        strong: Box::new(Walker { lost_on_odd: false }),
        probe: probe().into(),
    }
}

pub fn settings() -> EpisodeSettings {
    EpisodeSettings {
        gate: GateLimits {
            return_chunks: 2,
            guard_fraction: 0.1,
            budget_fraction: 0.1,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 1.0,
            hold_chunks: 3,
            whole_holds: false,
            horizon_steps: 40,
            chunk_steps: 2,
        },
        ask_strong: false,
        sensor: SensorNoise { object_position_sd: 0.0 },
        settle_steps: 0,
        disturbances: None,
        null_action: vec![0.0],
        streams: Streams::new(1),
        fork: false,
    }
}

pub fn gated() -> Arm {
    Arm::aegis(Rule::Conformal(Thresholds { fire: 0.5, hand_back: 0.4 }))
}

/// Provenance of rollouts of the line from [`KEYS`].
pub fn provenance() -> Provenance {
    Provenance {
        schema: rollout_file::SCHEMA,
        suite: "line".into(),
        suite_sha256: None,
        master_seed: 1,
        sample_seed: None,
        range: "discovery".into(),
        starts: Some(Starts::of(KEYS.keys(0..1))),
        weak_sha256: "weak".into(),
        strong_sha256: "strong".into(),
        tensor: "tokens".into(),
        horizon_steps: 40,
        chunk_steps: 2,
        action_width: 1,
        sensor: None,
        settle_steps: None,
        disturbances: None,
    }
}

pub const KEYS: StateRange = StateRange { first: 0, end: 20, replicates: 1 };

/// A line whose reset fails after a given number of resets.
pub struct Breaking {
    line: Line,
    left: usize,
    why: fn() -> PlantError,
}

impl Breaking {
    pub fn after(resets: usize, why: fn() -> PlantError) -> Self {
        Self { line: Line::default(), left: resets, why }
    }
}

impl Plant for Breaking {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.left = self.left.checked_sub(1).ok_or_else(self.why)?;
        self.line.reset(start)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.line.step(action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.line.state(out);
    }

    fn save(&self) -> Result<Option<Saved>, PlantError> {
        self.line.save()
    }

    fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
        self.line.resume(saved)
    }
}
