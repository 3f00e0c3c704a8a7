//! `aegis report`: the paired analysis of episodes that another evaluator ran. Parses arguments and prints; files are read and
//! figures computed by the harness.

use std::path::PathBuf;

use aegis_experiments::paired::analysis::analyse;
use aegis_experiments::paired::pairs::sets;
use aegis_experiments::paired::read::read;
use aegis_experiments::paired::view::markdown;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::digest;

/// Arguments of `aegis report`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis report --episodes results.csv\n  aegis report --episodes base=a/eval_info.json \
                  mine=b/eval_info.json --json\n\nA table (CSV, also packed by gzip, or Parquet) has the columns task, seed or \
                  initial_state, arm, and success. docs/reference/episodes.md has the details."
)]
pub struct ReportArguments {
    /// Episode results: a CSV or Parquet table, LeRobot's eval_info.json or an aggregate of vla-eval; an arm's name goes before a
    /// file that names none
    #[arg(long, value_name = "[ARM=]FILE", required = true, num_args = 1.., value_parser = named)]
    episodes: Vec<Named>,
    /// Arm that the others are compared with; the first one when left out
    #[arg(long, value_name = "ARM")]
    control: Option<String>,
    /// Leave out starts that not every arm has, instead of refusing the file
    #[arg(long)]
    leave_out_unpaired: bool,
    /// Seed of the bootstrap
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

/// A file, and the arm that all its episodes are of.
#[derive(Clone, Debug)]
struct Named {
    arm: Option<String>,
    file: PathBuf,
}

/// Parses `FILE` or `ARM=FILE`. A path with an equals sign behind its first folder is no name.
fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((arm, file)) if !arm.contains('/') && !arm.trim().is_empty() && !file.is_empty() => {
            Ok(Named { arm: Some(arm.trim().to_owned()), file: file.into() })
        }
        Some((arm, _)) if !arm.contains('/') => Err("valid is FILE or ARM=FILE".into()),
        _ => Ok(Named { arm: None, file: text.into() }),
    }
}

/// Runs `aegis report`.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    let (mut episodes, mut notes) = (Vec::new(), Vec::new());
    let mut digests: Vec<(String, String)> = Vec::new();
    for Named { arm, file } in &arguments.episodes {
        // A pipe can be read only once.
        if file.is_file() {
            let (digest, name) = (digest(file)?, file.display().to_string());
            if let Some((_, other)) = digests.iter().find(|(known, _)| *known == digest) {
                notes.push(format!("**{name} is {other}, byte for byte**, so their arms cannot differ."));
            }
            digests.push((digest, name));
        }
        let found = read(file, arm.as_deref()).or_exit(Exit::Input)?;
        episodes.extend(found.episodes);
        notes.extend(found.notes);
    }
    let paired = sets(&episodes, arguments.control.as_deref(), arguments.leave_out_unpaired);
    let paired = paired.map_err(|error| {
        // Errors about single rows name their file.
        let [Named { file, .. }] = &arguments.episodes[..] else { return failure(Exit::Input, error) };
        let (text, file) = (error.to_string(), file.display().to_string());
        let is_named = text.starts_with(&file) || text.starts_with("--");
        failure(Exit::Input, if is_named { text } else { format!("{file}: {text}") })
    })?;
    let report = analyse(&paired, notes, arguments.seed).or_exit(Exit::Failed)?;
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&report).or_exit(Exit::Failed)?);
    } else {
        say!("{}", markdown(&report).trim_end());
    }
    Ok(())
}
