//! Saving a plant's episode as a snapshot, and resuming an episode from one.

use aegis_core::Observation;
use aegis_core::policy::PlantError;

use crate::integration::Integration;
use crate::plant::{Episode, LiberoPlant};
use crate::snapshot::Snapshot;

impl LiberoPlant {
    /// Takes a snapshot of the present episode.
    ///
    /// # Errors
    /// [`PlantError::NotReset`] before the first reset, and [`PlantError::Diverged`] where the simulation has diverged.
    pub fn snapshot(&self) -> Result<Snapshot, PlantError> {
        let episode = self.episode().ok_or(PlantError::NotReset)?;
        if episode.diverged() {
            return Err(PlantError::Diverged { step: episode.step });
        }
        Ok(Snapshot {
            task: episode.task,
            last_pass: episode.last_pass.clone(),
            state: Integration::of(&episode.data),
            memory: episode.memory.clone(),
            start_time: episode.start_time,
            step: episode.step,
            disturbance: episode.disturbance,
            seen: episode.seen.clone(),
        })
    }

    /// Continues the episode of a snapshot, independent of this plant's earlier episodes.
    ///
    /// # Errors
    /// Errors of compiling the scene, where this plant's suite has not compiled it yet, and [`PlantError::Backend`] for a
    /// snapshot of another suite's scene.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<Observation, PlantError> {
        let episode = self.environment(snapshot.task)?;
        let (found, valid) = (snapshot.state.len(), episode.last_pass.len());
        if found != valid {
            let message = format!("snapshot: found a state of {found} values, this scene has {valid}");
            return Err(PlantError::Backend(message));
        }
        let Episode { data, last_pass, .. } = episode;
        data.reset();
        snapshot.last_pass.write(data)?;
        data.forward();
        snapshot.state.write(data)?;
        last_pass.clone_from(&snapshot.last_pass);
        episode.memory = snapshot.memory.clone();
        episode.start_time = snapshot.start_time;
        episode.step = snapshot.step;
        episode.disturbance = snapshot.disturbance;
        episode.seen = snapshot.seen.clone();
        Ok(episode.observation())
    }
}
