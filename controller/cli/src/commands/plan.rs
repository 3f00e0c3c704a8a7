//! `aegis plan`: writes, sizes, pilots, registers, amends and checks the plan of a study.
//! One file per verb. `aegis_experiments::plan::registration` defines the lock and its comparison.

pub mod discovery;
mod new;
mod noted;
mod pilot;
mod plant;
mod power;
mod register;
mod trial;
mod usage;

use clap::Subcommand;

pub use new::TEMPLATE;
#[cfg(feature = "robot")]
pub use noted::now;
pub use noted::{note, take_over};
pub use register::verify_registration;

use crate::exit::Failure;

/// Verbs of `aegis plan`.
#[derive(Subcommand)]
pub enum PlanVerb {
    /// Write a template of a plan, with a comment on every setting
    New(new::NewArguments),
    /// Write the plant file of a plant in another process, for plans of studies on it
    Plant(plant::DescribeArguments),
    /// Compute how many episodes an effect needs, for one contrast and for the whole family
    Power(power::PowerArguments),
    /// Run every arm on the tuning range and predict whether budgets will match
    Pilot(pilot::PilotArguments),
    /// Freeze a plan and all files that a run of it reads in a lock file
    Register(register::RegisterArguments),
    /// Record the present plan and files in the lock, with the reason for the change
    Amend(register::AmendArguments),
    /// Check the plan and all files that a run of it reads against the lock
    Check(register::CheckArguments),
}

/// Runs a verb of `aegis plan`.
pub fn run(verb: &PlanVerb) -> Result<(), Failure> {
    match verb {
        PlanVerb::New(arguments) => new::run(arguments),
        PlanVerb::Plant(arguments) => plant::run(arguments),
        PlanVerb::Power(arguments) => power::run(arguments),
        PlanVerb::Pilot(arguments) => pilot::run(arguments),
        PlanVerb::Register(arguments) => register::register(arguments),
        PlanVerb::Amend(arguments) => register::amend(arguments),
        PlanVerb::Check(arguments) => register::check(arguments),
    }
}
