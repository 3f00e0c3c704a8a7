//! `aegis plan`: the plan of a study, from an empty one to one that is registered and held.
//! One file per verb; what a lock is and how it is compared is `aegis_experiments::registration`.

pub mod discovery;
mod new;
mod noted;
mod pilot;
mod power;
mod register;
mod trial;
mod usage;

use clap::Subcommand;

pub use noted::{note, take_over};
pub use register::verify_registration;

use crate::exit::Failure;

/// Verbs of `aegis plan`.
#[derive(Subcommand)]
pub enum PlanVerb {
    /// Write a plan to begin from, every setting with its comment
    New(new::NewArguments),
    /// Say how many episodes an effect needs, for one contrast and for the whole family
    Power(power::PowerArguments),
    /// Run every arm on the tuning range and say whether budgets will match
    Pilot(pilot::PilotArguments),
    /// Freeze a plan, and all that a run of it reads, in a lock file
    Register(register::RegisterArguments),
    /// Take what is found now into the lock, with the reason
    Amend(register::AmendArguments),
    /// Hold what is found against the lock
    Check(register::CheckArguments),
}

/// Runs the verb.
pub fn run(verb: &PlanVerb) -> Result<(), Failure> {
    match verb {
        PlanVerb::New(arguments) => new::run(arguments),
        PlanVerb::Power(arguments) => power::run(arguments),
        PlanVerb::Pilot(arguments) => pilot::run(arguments),
        PlanVerb::Register(arguments) => register::register(arguments),
        PlanVerb::Amend(arguments) => register::amend(arguments),
        PlanVerb::Check(arguments) => register::check(arguments),
    }
}
