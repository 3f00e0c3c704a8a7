//! `aegis operate`: sends an operator command (stop, e-stop, reset or start) to the controller of a plant. The command is a
//! message on the same link as all other messages; it is not a safety-rated emergency stop.

use aegis_link::Principal;
use aegis_link::wire::{Operate, OperatorCommand};
use clap::{Args, ValueEnum};

use crate::exit::{Exit, Failure, OrExit};
use crate::remote::PlantArguments;

/// Arguments of `aegis operate`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis operate e-stop --plant libero\n  \
                        aegis operate start --plant libero\n  \
                        aegis operate reset --plant arm --connect tls/robot.local:7447 --keys keys/operator\n\n\
                        This is a message, not an emergency stop in the sense of ISO 13850: a robot needs one of \
                        those as well.")]
pub struct OperateArguments {
    /// The operator command
    #[arg(value_enum)]
    wish: What,
    #[command(flatten)]
    plant: PlantArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Bring commands to rest within their limits, and latch
    Stop,
    /// Set commands to rest from the next control period on, and latch
    EStop,
    /// End a latched stop; nothing moves before a start
    Reset,
    /// Begin the episode that the controller waits for
    Start,
}

/// Runs `aegis operate`.
pub fn run(arguments: &OperateArguments) -> Result<(), Failure> {
    let session = arguments.plant.open(&arguments.plant.guard(Principal::Operator)?)?;
    let wish = match arguments.wish {
        What::Stop => OperatorCommand::Stop,
        What::EStop => OperatorCommand::EStop,
        What::Reset => OperatorCommand::Reset,
        What::Start => OperatorCommand::Start,
    };
    aegis_link::free_running::operate(&session, &arguments.plant.plant, Operate { wish })
        .or_exit(Exit::Failed)
}
