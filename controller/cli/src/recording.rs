//! Makes the recording of one episode: chooses it from the results, runs it again, and checks the new result against the
//! old. A replay whose result differs by one bit is an error; no recording is made of it.

use std::sync::{Arc, Mutex};

use aegis_core::EpisodeKey;
use aegis_core::scene::Scene;
use aegis_core::{Disturbance, Frame, Heads, Observation, Plant, PlantError, Pose, Start, Transition};
use aegis_experiments::episode::arm::WEAK;
use aegis_experiments::episode::context::EpisodeSettings;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::report::{Instructive, instructive};
use aegis_experiments::run::runner;
use aegis_experiments::{Arm, run_episode};
use aegis_recorder::{EpisodeInfo, EpisodeRecording};
use aegis_sim::LiberoPlant;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::study_loader::Study;

/// Returns the result of the weak arm for the same key.
pub fn weak_twin(results: &[EpisodeResult], key: EpisodeKey) -> Option<&EpisodeResult> {
    results.iter().find(|result| result.arm == *WEAK && result.key == key)
}

/// Returns the first instructive episode in which the gate fired.
pub fn most_instructive(results: &[EpisodeResult]) -> Option<Instructive> {
    instructive(results).into_iter().find(|one| one.fires > 0)
}

/// Runs an episode again and records the poses of all bodies at every control step. `is_same` says whether the new result
/// is the stored one.
pub fn film(
    study: &Study,
    probe: &Heads,
    arm: &Arm,
    settings: &EpisodeSettings,
    key: EpisodeKey,
    is_same: &dyn Fn(&EpisodeResult) -> Result<bool, Failure>,
) -> Result<EpisodeRecording, Failure> {
    let suite = study.native_suite("a recording of every body's pose")?;
    let mut plant = study.simulator(suite).map_err(|error| failure(Exit::Setup, error.to_string()))?;
    let start = plant.reset(key.start).or_exit(Exit::Failed)?;
    let bodies = plant.bodies();
    let shots: Shots = Arc::default();
    let mut context = study
        .parties_around(Box::new(Filmed { plant, shots: Arc::clone(&shots) }), probe)
        .map_err(|error| failure(Exit::Failed, error))?;

    let info = EpisodeInfo {
        task: key.start.task,
        instruction: start.instruction.to_string(),
        title: runner::describe(key, arm.name.as_str()),
        chunk_steps: settings.gate.chunk_steps,
        guard_steps: settings.gate.guard_steps(),
        disturbance: settings.disturbance(key),
    };
    let title = info.title.clone();
    let mut film = EpisodeRecording::new(info, bodies);
    let (result, _) = run_episode(&mut context, arm, key, settings, &mut film).or_exit(Exit::Failed)?;
    if !is_same(&result)? {
        return Err(failure(Exit::Failed, format!("{title}: the replay differs from its result")));
    }
    let shots = shots.lock().map_err(|_| failure(Exit::Failed, "the film of the episode was lost"))?;
    // The first shot is of the reset. The episode begins `settle_steps` control steps later, when the objects have come to
    // rest.
    for (step, shot) in shots.iter().skip(settings.settle_steps as usize).enumerate() {
        film.poses(step as u32, shot.plant_time, &shot.poses);
        film.pictures(step as u32, &shot.pictures);
    }
    Ok(film)
}

/// The state of the plant after a control step.
struct Shot {
    plant_time: f64,
    poses: Vec<Pose>,
    /// Pictures of the cameras, where a policy asked for them.
    pictures: Vec<Frame>,
}

type Shots = Arc<Mutex<Vec<Shot>>>;

/// A plant that records the poses of its bodies at the reset and after every control step, and the pictures that a policy
/// asked for.
struct Filmed {
    plant: LiberoPlant,
    shots: Shots,
}

impl Filmed {
    /// Begins the film of an episode anew.
    fn begin(&self, observation: &Observation) {
        if let Ok(mut shots) = self.shots.lock() {
            shots.clear();
        }
        self.film(observation.plant_time);
    }

    fn film(&self, plant_time: f64) {
        let mut poses = Vec::new();
        self.plant.poses(&mut poses);
        if let Ok(mut shots) = self.shots.lock() {
            shots.push(Shot { plant_time, poses, pictures: Vec::new() });
        }
    }
}

impl Plant for Filmed {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.reset_disturbed(start, None)
    }

    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        let observation = self.plant.reset_disturbed(start, disturbance)?;
        self.begin(&observation);
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
        let pictures = self.plant.frames()?;
        if let Ok(mut shots) = self.shots.lock()
            && let Some(shot) = shots.last_mut()
        {
            shot.pictures.clone_from(&pictures);
        }
        Ok(pictures)
    }
}
