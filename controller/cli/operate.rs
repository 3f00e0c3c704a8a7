//! `aegis operate`: says stop, e-stop or reset to whoever controls a plant.
//! A message on the same line as everything else; it is no safety-rated emergency stop.

use std::path::PathBuf;

use aegis_link::wire::{Operate, Wish};
use aegis_link::{Endpoint, Role};
use clap::{Args, ValueEnum};

use crate::exit::{Exit, Failure, OrExit};
use crate::remote::guard;

/// Arguments of `aegis operate`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis operate e-stop --plant libero\n  \
                        aegis operate reset --plant arm --connect tls/robot.local:7447 --keys keys/operator\n\n\
                        This is a message, not an emergency stop in the sense of ISO 13850: a robot needs one of \
                        those as well.")]
pub struct OperateArguments {
    /// What is wanted
    #[arg(value_enum)]
    wish: What,
    /// Name of the plant whose controller is meant
    #[arg(long, value_name = "NAME")]
    plant: String,
    /// Zenoh endpoint of whoever serves the plant
    #[arg(long, value_name = "tcp|tls/HOST:PORT", default_value = "tcp/127.0.0.1:7447")]
    connect: Endpoint,
    /// Folder of the operator's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Allow an endpoint off this machine, over plain TCP
    #[arg(long)]
    allow_plaintext_network: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Commands come to rest within their limits, latched
    Stop,
    /// Commands are at rest from the next control period on, latched
    EStop,
    /// Open a latch
    Reset,
}

/// Runs the verb.
pub fn run(arguments: &OperateArguments) -> Result<(), Failure> {
    let guarded = guard(&arguments.connect, arguments.keys.as_deref(), arguments.allow_plaintext_network)?;
    let plants = [arguments.plant.clone()];
    let session = aegis_link::open_guarded(Role::Drive, &guarded, &plants).or_exit(Exit::Failed)?;
    let wish = match arguments.wish {
        What::Stop => Wish::Stop,
        What::EStop => Wish::EStop,
        What::Reset => Wish::Reset,
    };
    aegis_link::free::operate(&session, &arguments.plant, Operate { wish }).or_exit(Exit::Failed)
}
