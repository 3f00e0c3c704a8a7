//! Snapshots: the complete state of an episode, to go on from later, in another plant of the same suite or on another
//! thread. Going on from one is bitwise equal to never having stopped.

use aegis_core::Observation;
use aegis_core::policy::PlantError;

use crate::binding::Memory;
use crate::camera::DrawnState;
use crate::integration::Integration;
use crate::plant::{Episode, LiberoPlant};

/// An episode in mid-course: what MuJoCo integrates from, and the controller's memory.
///
/// A few kilobytes, so one can be kept of every chunk boundary. Shared or sent between threads, it starts as many
/// episodes as there are plants.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    task: usize,
    /// What the last forward pass was made from. Poses and contacts follow from it, one physics step behind `state`.
    last_pass: Integration,
    state: Integration,
    memory: Memory,
    start_time: f64,
    step: u32,
    seen: DrawnState,
}

impl Snapshot {
    /// Control steps that the episode had made.
    pub fn step(&self) -> u32 {
        self.step
    }
}

impl LiberoPlant {
    /// Copies the episode as it stands.
    ///
    /// # Errors
    /// [`PlantError::NotReset`] before the first reset, and [`PlantError::Diverged`] where nothing is left to go on from.
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
            seen: episode.seen.clone(),
        })
    }

    /// Takes the episode of a snapshot up again, whatever this plant did before.
    ///
    /// # Errors
    /// What compiling the scene reports, where this plant's suite has not compiled it yet, and
    /// [`PlantError::Backend`] for a snapshot of another suite's scene.
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
        episode.seen = snapshot.seen.clone();
        Ok(episode.observation())
    }
}
