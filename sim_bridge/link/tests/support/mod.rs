//! A one-dimensional plant that counts how often it was moved. Its state after a step depends on every earlier action,
//! so a step that is executed twice or not at all is detected.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::{Disturbance, Frame, Observation, Plant, PlantError, Start, Transition};
use aegis_link::{Host, HostLimits, PlantInfo};

#[derive(Debug, Default)]
pub struct Toy {
    pub resets: u32,
    pub steps: u32,
    pub actions: Vec<Vec<f32>>,
    /// Whether a step returns an error after it has moved the plant.
    pub stuck: bool,
    /// Whether the plant accepts disturbances.
    pub is_disturbable: bool,
    /// Disturbance of the episode.
    pub disturbance: Option<Disturbance>,
    step: u32,
    value: f64,
}

impl Toy {
    fn observation(&self) -> Observation {
        let features: [(&str, &[f64]); 6] = [
            ("joint_positions", &[self.value, f64::MIN_POSITIVE]),
            ("eef_position", &[self.value, -0.0, 1.0 / 3.0]),
            ("eef_site_quaternion", &[0.0, 0.0, 0.0, 1.0]),
            ("gripper_positions", &[0.04, -0.04]),
            ("object/plate_1/position", &[0.0; 3]),
            ("object/plate_1/quaternion", &[0.0, 0.0, 0.0, 1.0]),
        ];
        let (step, plant_time) = (self.step, f64::from(self.step) * 0.05);
        let instruction = Arc::from("hold the line");
        Observation { step, plant_time, task: 1, instruction, ..Observation::of(&features).unwrap() }
    }
}

impl Plant for Toy {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        if start.task > 2 {
            return Err(PlantError::UnknownTask { found: start.task, last: 2 });
        }
        self.resets += 1;
        self.step = 0;
        self.value = start.initial_state as f64;
        self.disturbance = None;
        Ok(self.observation())
    }

    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        if disturbance.is_some() && !self.is_disturbable {
            return Err(PlantError::Undisturbed("the plant has no disturbances of its own".into()));
        }
        let observation = self.reset(start)?;
        self.disturbance = disturbance.copied();
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.steps += 1;
        self.step += 1;
        self.actions.push(action.to_vec());
        self.value = self.value * 1.000_1 + f64::from(action[0]).sin();
        if self.stuck {
            return Err(PlantError::Diverged { step: self.step });
        }
        Ok(Transition { observation: self.observation(), success: self.step >= 5 })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.extend([self.value, f64::from(self.step)]);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        let rgb = (0..64 * 64 * 3).map(|i| (i as u32 + self.step) as u8).collect();
        Ok(vec![Frame { camera: Arc::from("agentview"), width: 64, height: 64, rgb }])
    }
}

pub const INFO: PlantInfo =
    PlantInfo { action_width: 1, tasks: 3, period: Duration::from_millis(50), stand_still: Vec::new() };

pub fn info() -> PlantInfo {
    PlantInfo { stand_still: vec![0.0], ..INFO }
}

pub fn host() -> Host {
    Host::new(1000, info(), HostLimits::default())
}
