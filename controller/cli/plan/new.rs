//! `aegis plan new`: the shipped template where it is wanted.
//! Paths to the shipped models are made to fit the new place.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::write;
use crate::place::shipped;

/// The template, whose model paths fit its own folder.
const TEMPLATE: &str = include_str!("../../../experiments/template.toml");
/// Those paths' beginning.
const MODELS: &str = "../policies/models/";

/// Arguments of `aegis plan new`.
#[derive(Args)]
#[command(after_help = "Example: aegis plan new --out experiments/study.toml")]
pub struct NewArguments {
    /// Where the plan goes; a file that is there already is kept
    #[arg(long, value_name = "FILE", default_value = "study.toml")]
    out: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &NewArguments) -> Result<(), Failure> {
    let out = &arguments.out;
    if out.exists() {
        let message = format!("{}: found a file; valid is none yet, so choose another --out", out.display());
        return Err(failure(Exit::Input, message));
    }
    let place = std::path::absolute(out).or_exit(Exit::Input)?;
    let models = relative(place.parent().unwrap_or(Path::new("/")), &shipped("policies/models"));
    write(out, TEMPLATE.replace(MODELS, &format!("{}/", models.display())).as_bytes())?;
    say!("{}: settle its numbers, then `aegis plan register {}`", out.display(), out.display());
    Ok(())
}

/// The way from one folder to another, both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    up.chain(to.components().skip(shared).map(|part| Path::new(part.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_plan_to_the_models() {
        let way = |from, to| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/a/experiments", "/a/policies/models"), "../policies/models");
        assert_eq!(way("/a", "/a/policies/models"), "policies/models");
        assert_eq!(way("/b/c", "/a/models"), "../../a/models");
        assert_eq!(TEMPLATE.matches(MODELS).count(), 3);
    }
}
