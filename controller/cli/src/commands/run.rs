//! `aegis run`: drives a robot, or a simulator that is served like one, over Zenoh in real time. Parses the arguments, shows
//! the run to people and prints its summary; the session itself is `aegis_robot`.

mod bell;
pub mod logging;
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_link::{Principal, Role};
use aegis_robot::{Ended, Robot, Run, RunOptions, Viewer, Watchers};
use clap::Args;

use crate::commands::person::stopping_for;
use crate::exit::{Exit, Failure, OrExit, end_signal, say, suspend_signal};
use crate::outlet;
use crate::remote::guard;
use crate::scene_resolver::Libero;
use crate::study_loader::onnx_runtime;
use bell::Bell;
use logging::LogSink;
use view::Live;

/// Arguments of `aegis run`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis sim serve --name libero --sample-seed 20261125 &\n  \
                        aegis run controller/libero.toml --auto-start\n  \
                        aegis run robot.toml --view\n  \
                        aegis run robot.toml --dry-run\n  \
                        aegis run robot.toml --exit-on-stop --json\n\n\
                        An episode begins with `aegis operate start`. A stop is latched: `aegis operate reset` opens it, and \
                        the next start moves on. Exit code 1: the record ended early, for example on a full disk; 4: a \
                        safe stop or an e-stop ended the run or its last episode; 5: a signal ended the run, after a safe \
                        stop. docs/guide/robot.md is the safety checklist.")]
pub struct RunArguments {
    /// The robot file
    #[arg(value_name = "FILE")]
    robot: PathBuf,
    /// Allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant
    #[arg(long)]
    allow_plaintext_network: bool,
    /// End after a stop instead of waiting for a reset
    #[arg(long)]
    exit_on_stop: bool,
    /// Begin each episode without waiting for `aegis operate start`: for simulators
    #[arg(long)]
    auto_start: bool,
    /// Claim, observe, infer and decide, but send no command; say at the end what would have been sent
    #[arg(long, conflicts_with = "json")]
    dry_run: bool,
    /// Where this run is recorded; without it, a folder named by the time in the robot file's `record`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Watch and operate the run in this terminal: e e-stop, s stop, r reset, g start, q or Ctrl-C end
    #[arg(long, conflicts_with = "json")]
    view: bool,
    /// Show the run in the Rerun viewer at this address, as rerun+http://127.0.0.1:9876/proxy
    #[arg(long, value_name = "URL")]
    rerun: Option<String>,
    /// Print the run's summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis run`.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    if arguments.view {
        view::check_terminal()?;
    }
    outlet::begin().or_exit(Exit::Failed)?;
    let robot = Robot::load(&arguments.robot)?;
    let runtime = onnx_runtime()?;
    let (signal, suspended) = (end_signal()?, suspend_signal()?);
    let session = open_link(&robot, arguments.allow_plaintext_network)?;
    let live = Arc::new(Mutex::new(Live::default()));
    let sink = match (arguments.view, arguments.json) {
        (true, _) => LogSink::View(Arc::clone(&live)),
        (false, true) => LogSink::Errors,
        (false, false) => LogSink::Output,
    };
    let (shown, mut bell) = (arguments.view.then(|| Arc::clone(&live)), Bell::default());
    let watchers = Watchers {
        periods: Box::new(move |tick| {
            if bell.rings(tick) {
                outlet::ring();
            }
            if let Some(shown) = &shown {
                shown.lock().unwrap_or_else(PoisonError::into_inner).take(tick);
            }
        }),
        begin_log: Box::new(|folder| logging::begin(sink, folder)),
        viewer: arguments.rerun.clone().map(|url| Viewer { url, scenes: Box::new(Libero::default()) }),
    };
    let options = RunOptions {
        program: crate::VERSION.into(),
        out: arguments.out.clone(),
        dry_run: arguments.dry_run,
        auto_start: arguments.auto_start,
        exit_on_stop: arguments.exit_on_stop,
        first_start: 0,
    };
    let mut run = Run::open(&robot, &runtime, session, signal, options, watchers)?;
    let (listener, told) = (run.listener(), run.told());
    let obeying = Arc::clone(&listener);
    let view = || view::show(live, move |command| obeying.obey(command), told);
    let view = arguments.view.then(view).transpose().or_exit(Exit::Failed)?;
    let outcome = stopping_for(&suspended, &listener, || run.episodes());
    let ended = run.end(outcome)?;
    // The view gives the terminal back before anything is printed.
    drop(view);
    print(&ended, arguments.json)?;
    ended.verdict
}

/// Opens the session of a robot file's plant.
pub fn open_link(robot: &Robot, allow_plaintext_network: bool) -> Result<zenoh::Session, Failure> {
    let (endpoint, keys) = (&robot.file.connect, robot.file.keys.as_deref());
    let plants = [robot.file.plant.clone()];
    let whose = (Principal::Controller, &plants[..]);
    let guarded = guard(endpoint, keys, allow_plaintext_network, whose)
        .map_err(|error| error.prefixed(format_args!("{}: connect", robot.path.display())))?;
    aegis_link::open_guarded(Role::Drive, &guarded, &plants).or_exit(Exit::Failed)
}

/// Prints the summary of a run that is over, and what a dry run would have sent.
fn print(Ended { folder, summary, unsent, .. }: &Ended, as_json: bool) -> Result<(), Failure> {
    let Some((summary, episodes)) = summary else { return Ok(()) };
    if as_json {
        say!("{}", serde_json::to_string_pretty(summary).or_exit(Exit::Failed)?);
    } else {
        say!("{episodes} episodes; record in {}", folder.display());
    }
    if let Some(unsent) = unsent {
        let ranges: Vec<String> =
            unsent.ranges.iter().map(|[least, most]| format!("{least} to {most}")).collect();
        say!(
            "dry run: sent nothing, and would have sent {} commands; by channel: {}",
            unsent.commands,
            ranges.join(", ")
        );
    }
    Ok(())
}
