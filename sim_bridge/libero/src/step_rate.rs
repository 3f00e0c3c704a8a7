//! Speed of plain MuJoCo steps in a LIBERO scene on this machine: the figure by which machines are compared.

use std::time::Instant;

use aegis_core::policy::{Plant, PlantError, Start};

use crate::plant::LiberoPlant;
use crate::suite::Suite;

/// Number of timed blocks, each from the restored start. The first block warms up and is left out.
const BLOCKS: usize = 6;
/// Number of physics steps in a block: twelve control steps.
const STEPS: u32 = 300;

/// Measures physics steps per second of wall time by `mj_step` alone, in the scene of `task`, from the task's first
/// recorded initial state and with the actuator commands of the reset. Returns the median of five blocks of 300 steps.
///
/// # Errors
/// An unknown task, and errors of compiling its scene.
pub fn mj_steps_per_second(suite: &Suite, task: usize) -> Result<f64, PlantError> {
    let mut plant = LiberoPlant::new(suite.clone());
    let mut rates = Vec::with_capacity(BLOCKS);
    for _ in 0..BLOCKS {
        plant.reset(Start { task, initial_state: 0 })?;
        let episode = plant.environment(task)?;
        let begin = Instant::now();
        for _ in 0..STEPS {
            episode.data.step();
        }
        rates.push(f64::from(STEPS) / begin.elapsed().as_secs_f64());
    }
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}
