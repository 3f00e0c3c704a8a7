//! The verbs: one file for each, with a folder where it has verbs of its own.

#[cfg(feature = "robot")]
mod bench;
mod collect;
mod demo;
mod demonstrate;
mod demonstrations;
mod doctor;
pub mod experiment;
mod export;
mod forks;
#[cfg(feature = "robot")]
mod keys;
mod manual;
mod model;
#[cfg(feature = "robot")]
mod operate;
#[cfg(feature = "robot")]
mod person;
pub mod plan;
mod probe;
pub mod replay;
mod report;
#[cfg(feature = "robot")]
mod ros2;
#[cfg(feature = "robot")]
mod run;
#[cfg(feature = "robot")]
mod serve_policy;
pub mod sim;
pub mod stats;
#[cfg(feature = "robot")]
mod trial;
#[cfg(feature = "robot")]
mod watchdog;

use clap::Subcommand;

use crate::exit::Failure;
#[cfg(not(feature = "robot"))]
use crate::remote;

/// A verb with its arguments.
#[derive(Subcommand)]
pub enum Verb {
    /// Run weak, aegis and strong on the same episodes and record the most instructive recovery.
    Demo(demo::DemoArguments),
    /// Make demonstrations of the scripted expert, with disturbances that it corrects.
    Demonstrate(demonstrate::DemonstrateArguments),
    /// Read demonstrations that others recorded
    #[command(subcommand)]
    Demonstrations(demonstrations::DemonstrationsVerb),
    /// Roll the weak policy out and keep its activations, both policies' chunks and the outcomes.
    Collect(collect::CollectArguments),
    /// Show what help at each boundary of weak episodes would have changed.
    #[command(subcommand)]
    Forks(forks::ForksVerb),
    /// Fit the probe and set its thresholds, judge one, or show one.
    #[command(subcommand)]
    Probe(probe::ProbeVerb),
    /// Write, size, register, amend and check the plan of a study.
    #[command(subcommand)]
    Plan(plan::PlanVerb),
    /// Run a registered study, put its parts together, report it, verify it.
    #[command(subcommand)]
    Experiment(experiment::ExperimentVerb),
    /// Compare the arms of episodes that another evaluator ran, pair by pair.
    Report(report::ReportArguments),
    /// Register, run, report and verify a trial of all arms on a robot, blind and in drawn order.
    #[cfg(feature = "robot")]
    #[command(subcommand)]
    Trial(trial::TrialVerb),
    /// Drive a robot, or a simulator served as one, in real time.
    #[cfg(feature = "robot")]
    Run(run::RunArguments),
    /// Drive a ROS 2 robot.
    #[cfg(feature = "robot")]
    #[command(subcommand)]
    Ros2(ros2::Ros2Verb),
    /// Serve a plant's strong policy from this machine.
    #[cfg(feature = "robot")]
    ServePolicy(serve_policy::ServePolicyArguments),
    /// Send start, stop, e-stop or reset to the controller of a plant.
    #[cfg(feature = "robot")]
    Operate(operate::OperateArguments),
    /// Stop a plant whose commands cease, jump or leave the bounds of a file, from a process of its own.
    #[cfg(feature = "robot")]
    Watchdog(watchdog::WatchdogArguments),
    /// Feed a recorded run back through its controller and compare every decision.
    Replay(replay::ReplayArguments),
    /// Write runs and stored episodes as a data set, for programs that train policies.
    #[command(subcommand)]
    Export(export::ExportVerb),
    /// Measure the control loop on this machine.
    #[cfg(feature = "robot")]
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// List the tensors of an ONNX model, write a first card for it, check it against a plant, or tap a tensor.
    #[command(subcommand)]
    Model(model::ModelVerb),
    /// Say which libraries, scenes, models and GPUs are here, and what to do about what is missing.
    Doctor(doctor::DoctorArguments),
    /// Run the simulator without any policy.
    #[command(subcommand)]
    Sim(sim::SimVerb),
    /// Make a development authority, and a key and certificate for each party of a link.
    #[cfg(feature = "robot")]
    Keys(keys::KeysArguments),
    /// Exact tests, intervals, AUROC and power on your own numbers.
    #[command(subcommand)]
    Stats(stats::StatsVerb),
    /// Print a script with which a shell completes this command line.
    Completions(manual::CompletionsArguments),
    /// Write a manual page for each verb.
    Manual(manual::ManualArguments),
    /// A verb that this program was built without, or one that does not exist.
    #[cfg(not(feature = "robot"))]
    #[command(external_subcommand)]
    Absent(Vec<String>),
}

impl Verb {
    /// Runs the verb. `command` is the whole command line, for completions and manual pages.
    pub fn run(&self, command: clap::Command) -> Result<(), Failure> {
        match self {
            Self::Demo(arguments) => demo::run(arguments),
            Self::Demonstrate(arguments) => demonstrate::run(arguments),
            Self::Demonstrations(verb) => demonstrations::run(verb),
            Self::Collect(arguments) => collect::run(arguments),
            Self::Forks(verb) => forks::run(verb),
            Self::Probe(verb) => probe::run(verb),
            Self::Plan(verb) => plan::run(verb),
            Self::Experiment(verb) => experiment::run(verb),
            Self::Report(arguments) => report::run(arguments),
            #[cfg(feature = "robot")]
            Self::Trial(verb) => trial::run(verb),
            #[cfg(feature = "robot")]
            Self::Run(arguments) => run::run(arguments),
            #[cfg(feature = "robot")]
            Self::Ros2(verb) => ros2::run(verb),
            #[cfg(feature = "robot")]
            Self::ServePolicy(arguments) => serve_policy::run(arguments),
            #[cfg(feature = "robot")]
            Self::Operate(arguments) => operate::run(arguments),
            #[cfg(feature = "robot")]
            Self::Watchdog(arguments) => watchdog::run(arguments),
            Self::Replay(arguments) => replay::run(arguments),
            Self::Export(verb) => export::run(verb),
            #[cfg(feature = "robot")]
            Self::Bench(verb) => bench::run(verb),
            Self::Model(verb) => model::run(verb),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Sim(verb) => sim::run(verb),
            #[cfg(feature = "robot")]
            Self::Keys(arguments) => keys::run(arguments),
            Self::Stats(verb) => stats::run(verb),
            Self::Completions(arguments) => manual::completions(arguments, command),
            Self::Manual(arguments) => manual::manual(arguments, command),
            #[cfg(not(feature = "robot"))]
            Self::Absent(words) => remote::absent("", words),
        }
    }
}
