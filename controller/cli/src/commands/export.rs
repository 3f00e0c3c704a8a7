//! `aegis export`: makes data sets for training of runs and of stored episodes. One file per layout.

mod lerobot;
mod stored_rows;

use clap::Subcommand;

use crate::exit::Failure;

/// Verbs of `aegis export`.
#[derive(Subcommand)]
pub enum ExportVerb {
    /// Write runs of a robot and stored episodes of a study as a LeRobotDataset
    Lerobot(lerobot::LerobotArguments),
}

/// Runs a verb of `aegis export`.
pub fn run(verb: &ExportVerb) -> Result<(), Failure> {
    match verb {
        ExportVerb::Lerobot(arguments) => lerobot::run(arguments),
    }
}
