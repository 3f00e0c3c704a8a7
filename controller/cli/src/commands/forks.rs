//! `aegis forks`: reads files of forks, which `aegis collect RANGE --forks` writes. Parses arguments and prints; every figure comes from
//! the harness.

mod control;
mod price;
mod readings;

use std::path::PathBuf;

use aegis_experiments::forks::analyse;
use aegis_experiments::forks::view::markdown;
use aegis_probe::fork_file::read;
use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure, OrExit, say};

/// Verbs of `aegis forks`.
#[derive(Subcommand)]
pub enum ForksVerb {
    /// Print where help still wins an episode, when it begins to, what a hold buys, and what an oracle would choose
    Show(ShowArguments),
    /// Set the price of the rule `benefit` on a tuning range, and compare rules at equal duty
    Price(price::PriceArguments),
    /// Set the threshold of the rule `risk_control`, which keeps breakage or duty at or below a level
    Control(control::ControlArguments),
}

/// Arguments of `aegis forks show`.
#[derive(Args)]
#[command(after_help = "Example: aegis forks show runs/discovery.forks.parquet --budget 0.15")]
pub struct ShowArguments {
    /// File of forks, by `aegis collect RANGE --forks`
    file: PathBuf,
    /// Budget of the oracle: strong steps of all episodes together, as a share of their horizons; what it needs to recover all that it
    /// can when left out
    #[arg(long, value_name = "DUTY", value_parser = duty)]
    budget: Option<f64>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

/// Parses a share above 0 and at most 1.
pub fn duty(text: &str) -> Result<f64, String> {
    let found = text.parse().ok().filter(|duty: &f64| *duty > 0.0 && *duty <= 1.0);
    found.ok_or_else(|| "valid is a number above 0 and at most 1".to_owned())
}

/// Runs a verb of `aegis forks`.
pub fn run(verb: &ForksVerb) -> Result<(), Failure> {
    match verb {
        ForksVerb::Show(arguments) => show(arguments),
        ForksVerb::Price(arguments) => price::run(arguments),
        ForksVerb::Control(arguments) => control::run(arguments),
    }
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let (provenance, episodes) = read(&arguments.file).or_exit(Exit::Input)?;
    let report = analyse(&provenance, &episodes, arguments.budget);
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&report).or_exit(Exit::Failed)?);
    } else {
        say!("{}", markdown(&report).trim_end());
    }
    Ok(())
}
