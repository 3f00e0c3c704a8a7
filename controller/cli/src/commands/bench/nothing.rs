//! A plant and policies that do nothing, and the settings of the controller between them.
//! The time that a control period takes with them is the cost of the control loop itself.

use aegis_core::control::{
    Channel, ChannelKind, ControlSettings, ControllerConfig, LimitScope, OutOfBounds, Overlap, StrongLoss,
};
use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{Rule, Thresholds};
use aegis_core::{
    GateLimits, ObjectPose, Observation, Plant, PlantError, PolicyError, Pose, Proprioception, Start,
    Transition,
};
use aegis_runtime::{InferenceOutput, Inferencer};

/// Shape of a chunk, `[actions, channels]`, as the shipped policies have it.
pub const CHUNK: [usize; 2] = [10, 7];
/// Number of objects that the plant reports, as many as a LIBERO scene has.
const OBJECTS: usize = 7;

/// Returns the settings of a controller for [`Nothing`] that tolerates short stalls of the machine.
pub fn recipe(rate_hz: f64) -> ControllerConfig {
    let channel = Channel {
        kind: ChannelKind::Rate,
        low: -1.0,
        high: 1.0,
        velocity: 1.0,
        acceleration: 0.2,
        jerk: 0.1,
    };
    ControllerConfig {
        settings: ControlSettings {
            rate_hz,
            lead_steps: 1,
            overlap: Overlap::Replace,
            // A measurement must not end because a busy machine was slow for a moment.
            weak_misses: 1000,
            strong_patience_steps: 1000,
            on_strong_loss: StrongLoss::Stop,
            max_age_ms: 1000.0,
            stale_steps: 1000,
            frozen_ms: 0.0,
            plant_timeout_ms: 5000.0,
            out_of_bounds: OutOfBounds::Reject,
            limits: LimitScope::Always,
            start_within: f64::INFINITY,
            follow_within: f64::INFINITY,
            channels: vec![channel; CHUNK[1]],
        },
        limits: GateLimits {
            return_chunks: 1,
            guard_fraction: 0.0,
            budget_fraction: 0.0,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 0.0,
            hold_chunks: 1,
            whole_holds: false,
            horizon_steps: u32::MAX,
            chunk_steps: 8,
        },
        rule: Rule::Conformal(Thresholds { fire: 0.9, hand_back: 0.3 }),
        horizons: [CHUNK[0]; 2],
        rest: vec![0.0; CHUNK[1]],
        ask_strong: false,
    }
}

/// A policy that does nothing.
pub struct Idle;

impl Inferencer for Idle {
    fn begin(&mut self) {}

    fn warm_up(&mut self, _: &Observation) {}

    fn think(&mut self, _: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError> {
        thought.width = CHUNK[1];
        thought.values.clear();
        thought.values.resize(CHUNK[0] * CHUNK[1], 0.0);
        thought.score = 0.0;
        Ok(())
    }
}

/// A plant that does nothing. Its observations are as large as those of a LIBERO scene.
#[derive(Default)]
pub struct Nothing {
    step: u32,
}

impl Nothing {
    fn observation(&self) -> Observation {
        let object =
            |index: usize| ObjectPose { name: format!("object_{index}").into(), pose: Pose::IDENTITY };
        Observation {
            step: self.step,
            plant_time: f64::from(self.step),
            task: 0,
            instruction: "pick up the black bowl and place it on the plate".into(),
            proprioception: Proprioception {
                joint_positions: vec![0.1; 7],
                end_effector: Pose::IDENTITY,
                gripper: vec![0.02, -0.02],
            },
            objects: (0..OBJECTS).map(object).collect(),
            frames: [].into(),
        }
    }
}

impl Plant for Nothing {
    fn reset(&mut self, _: Start) -> Result<Observation, PlantError> {
        self.step = 0;
        Ok(self.observation())
    }

    fn step(&mut self, _: &[f32]) -> Result<Transition, PlantError> {
        self.step += 1;
        Ok(Transition { observation: self.observation(), success: false })
    }

    fn state(&self, _: &mut Vec<f64>) {}
}
