//! Observations of a plant for `aegis model`: from the native simulator, or from a plant of another process, which is claimed, reset
//! and never sent a command.

use aegis_core::control::LARGEST;
use aegis_core::{Observation, Plant, Schema, Start};
use aegis_policies::ModelCard;
use aegis_sim::camera::USUAL_CAMERAS;
use aegis_sim::{Cameras, LiberoPlant};
use clap::Args;
use std::sync::Arc;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::remote::{Remote, RemoteArguments};
use crate::study_loader::plant_for;
use crate::suites::load_suite;

/// Width and height in pixels of a simulator's pictures where no card sets the size.
const PICTURE: u32 = 128;
/// Number of initial states that are observed.
const STARTS: usize = 4;

/// Arguments that name a plant.
#[derive(Args)]
pub struct PlantChoice {
    /// Suite of the native simulator
    #[arg(long, value_name = "NAME", default_value = "libero_spatial", conflicts_with = "connect")]
    suite: String,
    /// Task of the suite, or of the plant
    #[arg(long, value_name = "N", default_value_t = 0)]
    task: usize,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// A plant, with its first observations.
pub struct Observed {
    /// The plant; one of another process takes no command.
    pub plant: Box<dyn Plant>,
    /// Whether the plant is the native simulator, which may be stepped.
    pub is_simulated: bool,
    /// The connection to the plant's process; without it the plant is lost.
    _remote: Option<Remote>,
    /// Name and number of tasks of the native simulator's suite.
    pub suite: Option<(String, usize)>,
    /// First observations of some initial states, with pictures where the card reads any.
    pub observations: Vec<Observation>,
}

/// Refuses an observation that a controller refuses, because that is a fault of the plant and not of the policy.
fn check_values(observation: &Observation) -> Result<(), String> {
    for (feature, range) in observation.schema.ranges() {
        let values = observation.values.get(range).unwrap_or_default();
        if let Some(index) = values.iter().position(|value| value.is_nan() || value.abs() > LARGEST) {
            let (name, found) = (&feature.name, values[index]);
            return Err(format!("{name}[{index}]: found {found}; valid are numbers up to {LARGEST:e}"));
        }
    }
    Ok(())
}

impl PlantChoice {
    /// Returns the plant with the cameras that a card reads, and its first observations.
    pub fn observe(&self, card: &ModelCard) -> Result<Observed, Failure> {
        let has_pictures = card.images().next().is_some();
        let remote = self.remote.open()?;
        let (mut plant, suite): (Box<dyn Plant>, _) = match &remote {
            Some(remote) => (remote.claim_standing()?, None),
            None => {
                let suite = load_suite(&self.suite, None)?;
                let plant = plant_for(&suite, std::slice::from_ref(card));
                let plant = plant.map_err(|reason| failure(Exit::Input, reason))?;
                (Box::new(plant), Some((suite.name().to_owned(), suite.task_count())))
            }
        };
        let is_simulated = suite.is_some();
        let starts = if is_simulated { STARTS } else { 1 };
        let mut observations = Vec::new();
        for initial_state in 0..starts {
            let start = Start { task: self.task, initial_state };
            let mut observation = plant.reset(start).or_exit(Exit::Input)?;
            if has_pictures {
                observation.frames = plant.frames().or_exit(Exit::Failed)?.into();
            }
            check_values(&observation)
                .map_err(|reason| failure(Exit::Input, format!("{}: {reason}", self.name())))?;
            observations.push(observation);
        }
        Ok(Observed { plant, is_simulated, suite, _remote: remote, observations })
    }

    /// Returns the plant's schema, with every camera.
    pub fn schema(&self) -> Result<Arc<Schema>, Failure> {
        let start = Start { task: self.task, initial_state: 0 };
        if let Some(remote) = self.remote.open()? {
            return Ok(remote.claim_standing()?.reset(start).or_exit(Exit::Input)?.schema);
        }
        let cameras = Cameras::new(&USUAL_CAMERAS, PICTURE, PICTURE).or_exit(Exit::Failed)?;
        let mut plant = LiberoPlant::with_cameras(load_suite(&self.suite, None)?, cameras);
        Ok(plant.reset(start).or_exit(Exit::Input)?.schema)
    }

    /// Returns the plant's name for messages.
    pub fn name(&self) -> String {
        self.remote.named().unwrap_or_else(|| format!("{}, task {}", self.suite, self.task))
    }
}
