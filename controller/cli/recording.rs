//! One episode to be seen: chosen from the results, run again, and held against them.
//! A replay that differs from its result by one bit is an error, not a picture.

use std::sync::{Arc, Mutex};

use aegis_core::scene::Scene;
use aegis_core::{Frame, Plant, PlantError, Pose, Probe, Start, Transition};
use aegis_experiments::arm::WEAK;
use aegis_experiments::episode::{EpisodeResult, EpisodeSettings};
use aegis_experiments::report::{Instructive, instructive};
use aegis_experiments::{Arm, EpisodeKey, run_episode, runner};
use aegis_recorder::{EpisodeInfo, Film};
use aegis_sim::LiberoPlant;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::study::Study;

/// What the weak policy alone came to from the same start.
pub fn weak_twin(results: &[EpisodeResult], key: EpisodeKey) -> Option<&EpisodeResult> {
    results.iter().find(|result| result.arm == *WEAK && result.key == key)
}

/// The first episode worth looking at in which the gate fired.
pub fn most_instructive(results: &[EpisodeResult]) -> Option<Instructive> {
    instructive(results).into_iter().find(|one| one.fires > 0)
}

/// Runs an episode again and films it; `is_same` says whether it came to the same result.
pub fn film(
    study: &Study,
    probe: &Probe,
    arm: &Arm,
    settings: &EpisodeSettings,
    key: EpisodeKey,
    is_same: &dyn Fn(&EpisodeResult) -> Result<bool, Failure>,
) -> Result<Film, Failure> {
    let mut plant = study.plant().map_err(|error| failure(Exit::Setup, error.to_string()))?;
    let start = plant.reset(key.start).or_exit(Exit::Failed)?;
    let bodies = plant.bodies();
    let poses: Poses = Arc::default();
    let mut parties = study
        .parties_around(Box::new(Filmed { plant, poses: Arc::clone(&poses) }), probe)
        .map_err(|error| failure(Exit::Failed, error))?;

    let info = EpisodeInfo {
        task: key.start.task,
        instruction: start.instruction.to_string(),
        title: runner::describe(key, arm.name.as_str()),
        chunk_steps: settings.gate.chunk_steps,
        guard_steps: settings.gate.guard_steps(),
    };
    let title = info.title.clone();
    let mut film = Film::new(info, bodies);
    let (result, _) = run_episode(&mut parties, arm, key, settings, &mut film).or_exit(Exit::Failed)?;
    if !is_same(&result)? {
        return Err(failure(Exit::Failed, format!("{title}: the replay differs from its result")));
    }
    let poses = poses.lock().map_err(|_| failure(Exit::Failed, "the film of the episode was lost"))?;
    // The film starts at the reset; the episode starts when the objects have come to rest.
    for (step, (plant_time, poses)) in poses.iter().skip(settings.settle_steps as usize).enumerate() {
        film.poses(step as u32, *plant_time, poses);
    }
    Ok(film)
}

type Poses = Arc<Mutex<Vec<(f64, Vec<Pose>)>>>;

/// A plant that notes where its bodies are after every control step.
struct Filmed {
    plant: LiberoPlant,
    poses: Poses,
}

impl Filmed {
    fn film(&self, plant_time: f64) {
        let mut frame = Vec::new();
        self.plant.poses(&mut frame);
        if let Ok(mut poses) = self.poses.lock() {
            poses.push((plant_time, frame));
        }
    }
}

impl Plant for Filmed {
    fn reset(&mut self, start: Start) -> Result<aegis_core::Observation, PlantError> {
        let observation = self.plant.reset(start)?;
        if let Ok(mut poses) = self.poses.lock() {
            poses.clear();
        }
        self.film(observation.plant_time);
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let transition = self.plant.step(action)?;
        self.film(transition.observation.plant_time);
        Ok(transition)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        self.plant.frames()
    }
}
