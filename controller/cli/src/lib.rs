//! The command line as a library: parses raw arguments to validated values and calls a verb, that is, a subcommand; each verb
//! has a file of its own in `commands`.
//!
//! ```no_run
//! let says = aegis::run(["aegis", "stats", "mcnemar", "--b", "9", "--c", "1"]);
//! assert_eq!(says, std::process::ExitCode::SUCCESS);
//! ```

// `println!` and `eprintln!` panic where their stream cannot be written; `say!` and `tell!` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arms;
mod arrays;
mod commands;
mod exit;
mod files;
mod host;
mod library;
mod occupied;
mod origins;
mod outlet;
mod paths;
mod progress;
mod recording;
#[cfg_attr(not(feature = "robot"), path = "remote_absent.rs")]
mod remote;
mod scene_digests;
mod scene_resolver;
#[cfg_attr(not(feature = "robot"), path = "served_absent.rs")]
mod served;
#[cfg(feature = "robot")]
mod standing_plant;
mod study_loader;
mod suites;
#[path = "../../../xtask/src/system.rs"]
mod system;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use commands::Verb;

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
fn command(asks_version: bool) -> clap::Command {
    let command = with_negative_numbers(Arguments::command());
    if asks_version { command.long_version(&*version().leak()) } else { command }
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

/// Runs the command line `words`, the program's name first, and prints what it says. Returns the exit code of the process.
pub fn run(words: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let asks_version = words.get(1).is_some_and(|first| first == "--version");
    let matches = command(asks_version).try_get_matches_from(words);
    match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => exit::report(arguments.verb.run(Arguments::command())),
        Err(said) => exit::usage(&said),
    }
}
