//! `aegis trial`: a registered trial on a robot whose starts a person sets up: writes its plan, registers and amends it, runs its
//! episodes, reports and verifies it. One file per verb; `aegis_experiments::field` decides what comes next and what it shows.

mod amend;
mod files;
mod new;
mod outcome;
mod report;
mod run;
mod verify;

use clap::Subcommand;

use crate::exit::Failure;

/// Verbs of `aegis trial`.
#[derive(Subcommand)]
pub enum TrialVerb {
    /// Write a plan to begin from, every setting with its comment
    New(new::NewArguments),
    /// Freeze a plan, its robot file, and the policies and the probe in a lock file
    Register(amend::RegisterArguments),
    /// Record the plan and its files as they are now in the lock, with the reason
    Amend(amend::AmendArguments),
    /// Run the episodes that have no outcome yet, each by an arm that the person at the robot is not told
    Run(run::RunArguments),
    /// Test the registered contrasts on the outcomes
    Report(report::ReportArguments),
    /// Replay every record, and check every outcome, the order of the arms and the report against them
    Verify(verify::VerifyArguments),
}

/// Runs a verb of `aegis trial`.
pub fn run(verb: &TrialVerb) -> Result<(), Failure> {
    match verb {
        TrialVerb::New(arguments) => new::run(arguments),
        TrialVerb::Register(arguments) => amend::register(arguments),
        TrialVerb::Amend(arguments) => amend::amend(arguments),
        TrialVerb::Run(arguments) => run::run(arguments),
        TrialVerb::Report(arguments) => report::run(arguments),
        TrialVerb::Verify(arguments) => verify::run(arguments),
    }
}
