//! `aegis`: the command line. Parses raw arguments to validated values and calls a verb, that is, a subcommand; each verb
//! has a file of its own. Exit codes are in `exit.rs`, the only place that ends the process.

// `println!` and `eprintln!` panic where their stream cannot be written; `say!` and `tell!` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arms;
mod arrays;
#[cfg(feature = "robot")]
mod bench;
mod collect;
mod demo;
mod demonstrate;
mod doctor;
mod exit;
mod experiment;
mod files;
mod fitting;
mod frames;
mod goals;
mod host;
#[cfg(feature = "robot")]
mod keys;
mod library;
mod manual;
mod model;
mod occupied;
#[cfg(feature = "robot")]
mod operate;
mod origins;
mod outlet;
mod paths;
mod plan;
mod probe;
mod probe_eval_view;
mod progress;
mod recording;
#[cfg_attr(not(feature = "robot"), path = "remote_absent.rs")]
mod remote;
mod replay;
#[cfg(feature = "robot")]
mod run;
mod sample;
mod scene_digests;
mod scene_resolver;
#[cfg(feature = "robot")]
mod serve;
#[cfg(feature = "robot")]
mod serve_policy;
mod sim;
mod stats;
mod study_loader;
#[path = "../../../xtask/src/system.rs"]
mod system;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Version and commit, as `--version` prints them.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("AEGIS_COMMIT"), ")");

/// A backup reflex for robot policies: a weak policy drives, a probe reads its activations, and a strong policy
/// takes over before it fails.
#[derive(Parser)]
#[command(name = "aegis", version = VERSION, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run weak, aegis and strong on the same episodes and record the most instructive recovery.
    Demo(demo::DemoArguments),
    /// Make demonstrations of the scripted expert, with disturbances that it corrects.
    Demonstrate(demonstrate::DemonstrateArguments),
    /// Roll the weak policy out and keep its activations, both policies' chunks and the outcomes.
    Collect(collect::CollectArguments),
    /// Fit the probe and set its thresholds, judge one, or show one.
    #[command(subcommand)]
    Probe(probe::ProbeVerb),
    /// Write, size, register, amend and check the plan of a study.
    #[command(subcommand)]
    Plan(plan::PlanVerb),
    /// Run a registered study, put its parts together, report it, verify it.
    #[command(subcommand)]
    Experiment(experiment::ExperimentVerb),
    /// Drive a robot, or a simulator served as one, in real time.
    #[cfg(feature = "robot")]
    Run(run::RunArguments),
    /// Serve a plant's strong policy from this machine.
    #[cfg(feature = "robot")]
    ServePolicy(serve_policy::ServePolicyArguments),
    /// Send start, stop, e-stop or reset to the controller of a plant.
    #[cfg(feature = "robot")]
    Operate(operate::OperateArguments),
    /// Feed a recorded run back through its controller and compare every decision.
    Replay(replay::ReplayArguments),
    /// Measure the control loop on this machine.
    #[cfg(feature = "robot")]
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// List the tensors of an ONNX model, or make one of them an additional output.
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

/// Returns the full text of `--version`: the commit, and the libraries that this program runs with on this machine.
fn version() -> String {
    let runtime = study_loader::onnx_runtime().map(|runtime| {
        let providers: Vec<_> = runtime.providers().into_iter().map(|provider| provider.name()).collect();
        format!("{} with {}", runtime.path().display(), providers.join(", "))
    });
    let runtime = runtime.unwrap_or_else(|failure| failure.to_string());
    format!("{VERSION}\nONNX Runtime: {runtime}\nRecordings: Rerun {}", aegis_recorder::RERUN)
}

/// Builds the command line. The libraries that only `--version` prints are looked up for that argument alone.
fn command() -> clap::Command {
    let command = with_negative_numbers(Arguments::command());
    if std::env::args_os().nth(1).is_some_and(|first| first == "--version") {
        command.long_version(&*version().leak())
    } else {
        command
    }
}

/// Accepts negative numbers as values of arguments, so that a value out of range is reported with its argument, and not as
/// an unknown option.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action().takes_values() {
            true => argument.allow_negative_numbers(true),
            false => argument,
        })
        .mut_subcommands(with_negative_numbers)
}

fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(said) => return exit::usage(&said),
    };
    let result = match arguments.verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Demonstrate(arguments) => demonstrate::run(&arguments),
        Verb::Collect(arguments) => collect::run(&arguments),
        Verb::Probe(verb) => probe::run(&verb),
        Verb::Plan(verb) => plan::run(&verb),
        Verb::Experiment(verb) => experiment::run(&verb),
        #[cfg(feature = "robot")]
        Verb::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "robot")]
        Verb::ServePolicy(arguments) => serve_policy::run(&arguments),
        #[cfg(feature = "robot")]
        Verb::Operate(arguments) => operate::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        #[cfg(feature = "robot")]
        Verb::Bench(verb) => bench::run(&verb),
        Verb::Model(verb) => model::run(&verb),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Sim(verb) => sim::run(&verb),
        #[cfg(feature = "robot")]
        Verb::Keys(arguments) => keys::run(&arguments),
        Verb::Stats(verb) => stats::run(&verb),
        Verb::Completions(arguments) => manual::completions(&arguments, Arguments::command()),
        Verb::Manual(arguments) => manual::manual(&arguments, Arguments::command()),
        #[cfg(not(feature = "robot"))]
        Verb::Absent(words) => remote::absent("", &words),
    };
    exit::report(result)
}
