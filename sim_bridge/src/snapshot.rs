//! Snapshots: the complete state of an episode, to go on from later or in another plant of the same suite.
//! Going on from one is bitwise equal to never having stopped.

use std::sync::Arc;

use aegis_core::Observation;
use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel};

use crate::binding::Memory;
use crate::camera::Seen;
use crate::plant::{LiberoPlant, backend};

/// An episode in mid-course: MuJoCo's data with the solver's warm start and everything derived from the state, and
/// the controller's memory.
#[derive(Debug)]
pub struct Snapshot {
    task: usize,
    data: MjData<Arc<MjModel>>,
    memory: Memory,
    start_time: f64,
    step: u32,
    seen: Seen,
}

impl LiberoPlant {
    /// Copies the episode as it stands.
    ///
    /// # Errors
    /// [`PlantError::NotReset`] before the first reset.
    pub fn snapshot(&self) -> Result<Snapshot, PlantError> {
        let episode = self.episode().ok_or(PlantError::NotReset)?;
        Ok(Snapshot {
            task: episode.task,
            data: episode.data.clone(),
            memory: episode.memory.clone(),
            start_time: episode.start_time,
            step: episode.step,
            seen: episode.seen.clone(),
        })
    }

    /// Takes the episode of a snapshot up again, whatever this plant did before.
    ///
    /// # Errors
    /// What compiling the scene reports, where this plant's suite has not compiled it yet.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<Observation, PlantError> {
        let episode = self.environment(snapshot.task)?;
        snapshot.data.copy_to(&mut episode.data).map_err(backend)?;
        episode.memory = snapshot.memory.clone();
        episode.start_time = snapshot.start_time;
        episode.step = snapshot.step;
        episode.seen = snapshot.seen.clone();
        Ok(episode.observation())
    }
}
