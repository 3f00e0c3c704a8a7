//! Plants that another process serves, claimed over Zenoh, one for each worker. This module does not depend on what serves
//! them: the native simulator, an upstream simulator, or a robot.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_core::Plant;
use aegis_experiments::run::runner::SetupError;
use aegis_link::wire::Mode;
use aegis_link::{Carrier, Credentials, Endpoint, Guarded, Principal, Role, Timeouts, ZenohPlant};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, tell};
use crate::standing_plant::StandingPlant;

/// Arguments of every command that can drive plants of another process.
#[derive(Args, Clone, Debug, Default)]
pub struct RemoteArguments {
    /// Drive plants that another process serves, at this Zenoh endpoint, instead of simulating here
    #[arg(long, value_name = "tcp|tls/HOST:PORT", requires = "plant")]
    connect: Option<Endpoint>,
    /// Name of a served plant; given several times, each gets a worker
    #[arg(long, value_name = "NAME", requires = "connect")]
    plant: Vec<String>,
    /// Folder of the controller's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER", requires = "connect")]
    keys: Option<PathBuf>,
    /// Allow an endpoint on the network over plain TCP, through which anyone can read and move the plant
    #[arg(long, requires = "connect")]
    allow_plaintext_network: bool,
}

/// Arguments of the commands that connect to the process serving one plant in order to reach that plant's controller:
/// `aegis operate` and `aegis serve-policy`.
#[derive(Args)]
pub struct PlantArguments {
    /// Name of the plant
    #[arg(long, value_name = "NAME")]
    pub plant: String,
    /// Zenoh endpoint of the process that serves the plant
    #[arg(long, value_name = "tcp|tls/HOST:PORT", default_value = "tcp/127.0.0.1:7447")]
    connect: Endpoint,
    /// Folder of this program's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Allow an endpoint on the network over plain TCP
    #[arg(long)]
    allow_plaintext_network: bool,
}

impl PlantArguments {
    /// Checks the endpoint and its keys, which must belong to `party`.
    pub fn guard(&self, party: Principal) -> Result<Guarded, Failure> {
        let plants = std::slice::from_ref(&self.plant);
        guard(&self.connect, self.keys.as_deref(), self.allow_plaintext_network, (party, plants))
    }

    /// Connects to the endpoint.
    pub fn open(&self, guarded: &Guarded) -> Result<zenoh::Session, Failure> {
        let plants = std::slice::from_ref(&self.plant);
        aegis_link::open_guarded(Role::Drive, guarded, plants).or_exit(Exit::Failed)
    }
}

/// Checks an endpoint of the command line and its keys, which must belong to `party` and cover `plants`, before anything is
/// loaded or opened. Prints the warnings about the keys. For TLS, may start the program anew; see
/// `read_and_write_on_one_thread`.
pub fn guard(
    endpoint: &Endpoint,
    keys: Option<&Path>,
    allow_plaintext_network: bool,
    (party, plants): (Principal, &[String]),
) -> Result<Guarded, Failure> {
    if endpoint.carrier() == Carrier::Tls {
        read_and_write_on_one_thread()?;
    }
    let keys = keys.map(Credentials::open).transpose().or_exit(Exit::Input)?;
    keys.iter().try_for_each(|keys| keys.are_of(party, plants)).or_exit(Exit::Input)?;
    for warning in keys.iter().flat_map(Credentials::warnings) {
        tell!("warning: {warning}");
    }
    endpoint.clone().guard(allow_plaintext_network, keys).or_exit(Exit::Input)
}

/// Environment variable that configures Zenoh's threads.
const THREADS: &str = "ZENOH_RUNTIME";
/// Configuration in which Zenoh receives on the thread that sends.
const ONE_THREAD: &str = "(rx: (handover: tx))";

/// Makes Zenoh read and write on one thread. Zenoh reads this setting from the environment only, so the program is executed
/// anew with the variable set, as the same process (same PID). The reason: Zenoh 1.10 reads and writes one TLS connection
/// on two threads without a lock. A thread that writes while the other is within a message reads an inconsistent state, and
/// the process ends by SIGSEGV.
fn read_and_write_on_one_thread() -> Result<(), Failure> {
    if std::env::var_os(THREADS).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().or_exit(Exit::Failed)?;
    let error = Command::new(program).args(std::env::args_os().skip(1)).env(THREADS, ONE_THREAD).exec();
    let what = format!("cannot begin anew for TLS: {error}; set {THREADS}='{ONE_THREAD}' yourself");
    Err(failure(Exit::Failed, what))
}

/// What a plant says of itself when it is claimed.
pub struct Described {
    /// Number of tasks.
    pub tasks: usize,
    /// Control period, nanoseconds.
    pub period_ns: u64,
}

/// Where another process serves plants, checked and not yet connected to.
pub struct Place {
    guarded: Guarded,
    name: String,
    plants: Vec<String>,
}

/// A session with the plants of another process.
pub struct Remote {
    session: zenoh::Session,
    plants: Vec<String>,
}

impl RemoteArguments {
    /// Returns the first plant and its endpoint in words; `None` where `--connect` was not given.
    pub fn named(&self) -> Option<String> {
        Some(format!("{} at {}", self.plant.first()?, self.connect.as_ref()?))
    }

    /// Checks the endpoint and its keys, and opens nothing; returns `None` where `--connect` was not given.
    pub fn checked(&self) -> Result<Option<Place>, Failure> {
        let (Some(endpoint), Some(name)) = (&self.connect, self.named()) else { return Ok(None) };
        let whose = (Principal::Controller, &self.plant[..]);
        let guarded = guard(endpoint, self.keys.as_deref(), self.allow_plaintext_network, whose)?;
        Ok(Some(Place { guarded, name, plants: self.plant.clone() }))
    }

    /// Connects to the endpoint; returns `None` where `--connect` was not given.
    pub fn open(&self) -> Result<Option<Remote>, Failure> {
        self.checked()?.map(|place| place.open()).transpose()
    }
}

impl Place {
    /// Returns the first plant and its endpoint in words.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of plants.
    pub fn count(&self) -> usize {
        self.plants.len()
    }

    /// Connects to the endpoint.
    pub fn open(&self) -> Result<Remote, Failure> {
        let session =
            aegis_link::open_guarded(Role::Drive, &self.guarded, &self.plants).or_exit(Exit::Failed)?;
        Ok(Remote { session, plants: self.plants.clone() })
    }
}

impl Remote {
    /// Claims the plant of one worker, in lock-step.
    pub fn claim(&self, worker: usize) -> Result<Box<dyn Plant>, SetupError> {
        Ok(Box::new(self.claim_as(&self.plants[worker % self.plants.len()], Mode::LockStep)?))
    }

    /// Claims the only plant at its own rate, in which it stands still without commands.
    ///
    /// # Errors
    /// There is more than one plant, or it cannot be claimed.
    pub fn claim_standing(&self) -> Result<Box<dyn Plant>, Failure> {
        let controller = format!("aegis, process {}", std::process::id());
        let claimed = StandingPlant::claim(&self.session, self.only()?, &controller);
        Ok(Box::new(claimed.map_err(|error| failure(Exit::Failed, error.to_string()))?))
    }

    /// Claims the only plant, in lock-step, and returns what it says of itself.
    ///
    /// # Errors
    /// As [`Self::claim_standing`].
    pub fn claim_described(&self) -> Result<(Box<dyn Plant>, Described), Failure> {
        let claimed = self.claim_as(self.only()?, Mode::LockStep);
        let plant = claimed.map_err(|error| failure(Exit::Failed, error.to_string()))?;
        let said = plant.claimed();
        let described = Described { tasks: said.tasks as usize, period_ns: said.period_ns };
        Ok((Box::new(plant), described))
    }

    fn only(&self) -> Result<&str, Failure> {
        let [name] = &self.plants[..] else {
            let found = self.plants.join(", ");
            return Err(failure(
                Exit::Input,
                format!("--plant: found {found}; this verb looks at one plant; name one"),
            ));
        };
        Ok(name)
    }

    fn claim_as(&self, name: &str, mode: Mode) -> Result<ZenohPlant, SetupError> {
        let controller = format!("aegis, process {}", std::process::id());
        Ok(ZenohPlant::claim(&self.session, name, &controller, mode, Timeouts::default())?)
    }
}
