//! `aegis ros2`: a ROS 2 robot as a plant.

mod serve;

use clap::Subcommand;

use crate::exit::Failure;

/// Verbs of `aegis ros2`.
#[derive(Subcommand)]
pub enum Ros2Verb {
    /// Serve a ROS 2 robot as a plant, until interrupted
    Serve(serve::ServeArguments),
}

/// Runs a verb of `aegis ros2`.
pub fn run(verb: &Ros2Verb) -> Result<(), Failure> {
    match verb {
        Ros2Verb::Serve(arguments) => serve::run(arguments),
    }
}
