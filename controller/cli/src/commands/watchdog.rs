//! `aegis watchdog`: reads what is sent to a plant and what the plant executes, and stops the plant when that leaves the bounds of
//! the watchdog's own file. It runs beside the plant, in a process of its own, with no policy and no inference library.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aegis_link::Principal;
use aegis_watchdog::{Bounds, BoundsError, Report, WatchError, watch};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, OrExit, end_signal, failure, say, tell};
use crate::remote::PlantArguments;

/// The line on standard input that resets a latched trip.
const RESET: &[u8] = b"reset";
/// Length at which a line of standard input is cut, bytes; such a line is no reset.
const LINE: usize = 64;

/// Arguments of `aegis watchdog`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis watchdog --plant arm --bounds bounds.toml\n  \
                        aegis watchdog --plant arm --connect tls/localhost:7447 --keys keys/watchdog \\\n    \
                        --bounds bounds.toml --json\n\n\
                        Start it on the robot's machine before any controller. A trip is latched, and the plant is asked to stop \
                        until an operator types `reset` and Enter here, or starts the watchdog anew.\n\n\
                        Exit codes: 0 ended by a signal with no trip latched; 4 ended by a signal with one; 1 the link failed; \
                        2 the file of bounds is not valid or not for this plant.\n\n\
                        This is a program, not a safety function: a robot needs its own emergency stop as well.")]
pub struct WatchdogArguments {
    #[command(flatten)]
    plant: PlantArguments,
    /// File of the bounds: rate_hz, silence_ms, and a name, low, high and step for each channel
    #[arg(long, value_name = "FILE")]
    bounds: PathBuf,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis watchdog`.
pub fn run(arguments: &WatchdogArguments) -> Result<(), Failure> {
    let bounds = Bounds::load(&arguments.bounds).or_exit(Exit::Input)?;
    if let Some(remark) = bounds.remark() {
        tell!("warning: {}: {remark}", arguments.bounds.display());
    }
    let guarded = arguments.plant.guard(Principal::Watchdog)?;
    let end = end_signal()?;
    let session = arguments.plant.open(&guarded)?;
    let (name, path) = (&arguments.plant.plant, arguments.bounds.clone());
    let unfit = |reason| BoundsError::Invalid { path, reason };
    let silence_ms = bounds.silence_ms;
    let report = |report: &Report| match arguments.json {
        true => say!("{}", as_json(report)),
        false => say!("{name}: {}", in_words(report, silence_ms)),
    };
    let latched = watch(&session, name, bounds, (&end, &operator_resets()), unfit, report);
    match latched {
        Ok(None) => Ok(()),
        Ok(Some(trip)) => {
            let after = "the plant is not asked to stop any more";
            Err(failure(Exit::Stopped, format!("{name}: ended with a trip latched, {trip}; {after}")))
        }
        Err(error @ WatchError::Bounds(_)) => Err(error).or_exit(Exit::Input),
        Err(error @ WatchError::Link(_)) => Err(error).or_exit(Exit::Failed),
    }
}

/// Counts the operator's resets: lines `reset` on standard input, read by a thread that ends with the input or the process.
fn operator_resets() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let read = move || {
        let mut line = Vec::with_capacity(LINE);
        for byte in std::io::stdin().lock().bytes() {
            match byte {
                Ok(b'\n') => {
                    if line.len() < LINE && line.trim_ascii() == RESET {
                        counted.fetch_add(1, Ordering::AcqRel);
                    }
                    line.clear();
                }
                Ok(byte) if line.len() < LINE => line.push(byte),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    // Without the thread a trip ends with the process.
    drop(std::thread::Builder::new().name("aegis-terminal".into()).spawn(read));
    count
}

fn in_words(report: &Report, silence_ms: u64) -> String {
    match report {
        Report::Watching(attached) => {
            let timeout_ms = attached.command_timeout_ns / 1_000_000;
            let first = match silence_ms < timeout_ms {
                true => String::new(),
                false => format!(
                    "; without commands the plant stops by itself after {timeout_ms} ms, before silence_ms, {silence_ms}"
                ),
            };
            let period_ms = attached.period_ns as f64 / 1e6;
            format!("watching {} channels, a command every {period_ms} ms{first}", attached.action_width)
        }
        Report::Tripped(trip) => {
            format!("TRIPPED, {trip}; asking the plant to stop; type `reset` and Enter to end this")
        }
        Report::Answered(_) => "the plant has stopped, and is held".into(),
        Report::Unanswered(reason) => {
            format!("THE PLANT HAS NOT SAID THAT IT STOPS: {reason}; asking again; use its emergency stop")
        }
        Report::Reset => "reset by the operator; watching".into(),
    }
}

fn as_json(report: &Report) -> Value {
    match report {
        Report::Watching(attached) => json!({ "event": "watching", "channels": attached.action_width }),
        Report::Tripped(trip) => json!({ "event": "tripped", "trip": trip }),
        Report::Answered(status) => json!({ "event": "stopped", "phase": status.phase }),
        Report::Unanswered(reason) => json!({ "event": "unanswered", "reason": reason }),
        Report::Reset => json!({ "event": "reset" }),
    }
}
