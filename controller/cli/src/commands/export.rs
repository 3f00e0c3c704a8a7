//! `aegis export`: makes data sets for training of runs and of stored episodes. One file per layout.

mod lerobot;
mod stored_rows;

use aegis_dataset::DatasetError;
use clap::Subcommand;

use crate::exit::{Exit, Failure, failure};

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

/// Converts an error of a data set to a failure: the system's where writing failed, a signal's where one ended the export, else the
/// caller's.
fn of_dataset(error: DatasetError) -> Failure {
    let exit = match &error {
        DatasetError::Told => Exit::Signal,
        error if error.is_of_the_system() => Exit::Failed,
        _ => Exit::Input,
    };
    failure(exit, error)
}
