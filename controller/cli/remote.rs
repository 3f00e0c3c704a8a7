//! Plants of another process, claimed over Zenoh: one for each worker.
//! Which process serves them, native or upstream or a robot, makes no difference here.

use aegis_core::Plant;
use aegis_experiments::runner::SetupError;
use aegis_link::wire::Mode;
use aegis_link::{Endpoint, Patience, Role, ZenohPlant};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit};

/// Arguments of every verb that can drive plants of another process.
#[derive(Args)]
pub struct RemoteArguments {
    /// Drive plants that another process serves, at this Zenoh endpoint, instead of simulating here
    #[arg(long, value_name = "tcp/HOST:PORT", requires = "plant")]
    connect: Option<Endpoint>,
    /// Name of a served plant; given several times, each gets a worker
    #[arg(long, value_name = "NAME", requires = "connect")]
    plant: Vec<String>,
    /// Allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant
    #[arg(long, requires = "connect")]
    allow_plaintext_network: bool,
}

/// Plants of another process.
pub struct Remote {
    session: zenoh::Session,
    plants: Vec<String>,
}

impl RemoteArguments {
    /// Connects, where that is asked for.
    pub fn open(&self) -> Result<Option<Remote>, Failure> {
        let Some(endpoint) = &self.connect else { return Ok(None) };
        endpoint.guard(self.allow_plaintext_network).or_exit(Exit::Input)?;
        let session = aegis_link::open(Role::Drive, endpoint).or_exit(Exit::Failed)?;
        Ok(Some(Remote { session, plants: self.plant.clone() }))
    }
}

impl Remote {
    /// How many plants there are.
    pub fn count(&self) -> usize {
        self.plants.len()
    }

    /// Claims the plant of one worker.
    pub fn claim(&self, worker: usize) -> Result<Box<dyn Plant>, SetupError> {
        let name = &self.plants[worker % self.plants.len()];
        let controller = format!("aegis, process {}", std::process::id());
        let plant = ZenohPlant::claim(&self.session, name, &controller, Mode::LockStep, Patience::default())?;
        Ok(Box::new(plant))
    }
}
