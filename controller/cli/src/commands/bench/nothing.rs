//! A plant and policies that do nothing, and the settings of the controller between them.
//! The time that a control period takes with them is the cost of the control loop itself.

use aegis_core::control::{
    Channel, ChannelKind, ChunkChecks, ControlSettings, ControllerConfig, LimitScope, Overlap, StrongLoss,
    Treatment,
};
use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{Rule, Thresholds};
use aegis_core::{Executing, GateLimits, Observation, Plant, PlantError, PolicyError, Start, Transition};
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
            out_of_bounds: Treatment::Reject,
            chunk: ChunkChecks::default(),
            limits: LimitScope::Always,
            start_within: f64::INFINITY,
            follow_within: f64::INFINITY,
            channels: vec![channel; CHUNK[1]],
            cameras: Vec::new(),
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
        take_over: None,
        operator: None,
    }
}

/// A policy that does nothing.
pub struct Idle;

impl Inferencer for Idle {
    fn begin(&mut self) {}

    fn warm_up(&mut self, _: &Observation) {}

    fn set_executing(&mut self, _: Option<Executing>) {}

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
    first: Option<Observation>,
}

impl Nothing {
    fn observation(&mut self) -> Observation {
        let step = self.step;
        let first = self.first.get_or_insert_with(|| {
            let names: Vec<[String; 2]> = (0..OBJECTS)
                .map(|index| ["position", "quaternion"].map(|part| format!("object/object_{index}/{part}")))
                .collect();
            let objects =
                names.iter().flatten().zip([&[0.0, 0.0, 0.0][..], &[0.0, 0.0, 0.0, 1.0]].into_iter().cycle());
            let mut features: Vec<(&str, &[f64])> = vec![
                ("joint_positions", &[0.1; 7]),
                ("eef_position", &[0.0; 3]),
                ("eef_site_quaternion", &[0.0, 0.0, 0.0, 1.0]),
                ("gripper_positions", &[0.02, -0.02]),
            ];
            features.extend(objects.map(|(name, values)| (name.as_str(), values)));
            let instruction = "pick up the black bowl and place it on the plate".into();
            // These features are valid; without them there would be nothing to measure.
            Observation { instruction, ..Observation::of(&features).unwrap_or_else(|_| unreachable!()) }
        });
        Observation { step, plant_time: f64::from(step), ..first.clone() }
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
