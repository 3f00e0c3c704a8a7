//! `aegis plan new`: writes the shipped template as a new plan.
//! Paths to the shipped models are made relative to the folder of the new plan.

use std::path::{Path, PathBuf};

use aegis_experiments::plan::served_suite::ServedSuite;
use aegis_sim::published;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::{check_new, make_folder, write};
use crate::paths::shipped;
use crate::suites::load_suite;

/// The template. Its model paths are relative to its own folder in the repository.
pub const TEMPLATE: &str = include_str!("../../../../../experiments/template.toml");
/// Beginning of the template's model paths.
const MODELS: &str = "../policies/models/";
/// Suite, horizon and steps per chunk of the template.
const SUITE: &str = "libero_spatial";
const HORIZON_STEPS: u32 = 220;
const CHUNK_STEPS: u32 = 10;

/// Arguments of `aegis plan new`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis plan new --out mine/study.toml\n  aegis plan new --suite libero_goal --out goal.toml\n  \
                  aegis plan new --plant-file arm.toml --out study.toml"
)]
pub struct NewArguments {
    /// File of the plan; an existing file is not replaced
    #[arg(long, value_name = "FILE", default_value = "study.toml")]
    out: PathBuf,
    /// Suite of the plan, with the horizon of public evaluations. The shipped models fit only libero_spatial
    #[arg(long, value_name = "NAME", default_value = SUITE, conflicts_with = "plant_file")]
    suite: String,
    /// Plant file of a suite whose plants another process serves, which `aegis plan plant` writes
    #[arg(long, value_name = "FILE")]
    plant_file: Option<PathBuf>,
}

/// Runs `aegis plan new`.
pub fn run(arguments: &NewArguments) -> Result<(), Failure> {
    let out = &arguments.out;
    check_new(out)?;
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder)?;
    // Both paths without symbolic links, because the system resolves `..` against the target of a link, not against the
    // folder that contains the link.
    let real = |path: &Path| {
        let named = |error| failure(Exit::Failed, format!("{}: cannot resolve: {error}", path.display()));
        path.canonicalize().map_err(named)
    };
    let text = match &arguments.plant_file {
        Some(plant) => {
            let suite = ServedSuite::load(plant).or_exit(Exit::Input)?;
            let file = plant.file_name().map(Path::new).unwrap_or(plant);
            let at = relative(
                &real(folder)?,
                &real(plant.parent().filter(|at| *at != Path::new("")).unwrap_or(Path::new(".")))?,
            );
            of_plant(&suite, &at.join(file))?
        }
        None => {
            let models = relative(&real(folder)?, &real(&shipped("policies/models"))?);
            let text = TEMPLATE.replace(MODELS, &format!("{}/", models.display()));
            of_suite(&text, &arguments.suite)?
        }
    };
    write(out, text.as_bytes())?;
    say!("{}: set its numbers, then run `aegis plan register {}`", out.display(), out.display());
    Ok(())
}

/// Shares of a plant's initial states, in hundredths, at which the ranges of the plan end: training, discovery, calibration, tuning,
/// confirmation.
const SHARES: [usize; 5] = [15, 45, 60, 70, 100];
/// Smallest number of initial states at which no range is empty.
const FEWEST: usize = 20;

/// Returns the template for a suite whose plants another process serves. `file` is the plant file, relative to the plan's folder.
fn of_plant(suite: &ServedSuite, file: &Path) -> Result<String, Failure> {
    let count = suite.initial_states;
    if count < FEWEST {
        let message = format!("{}: initial_states: found {count}; valid is {FEWEST} or more", file.display());
        return Err(failure(Exit::Input, message));
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = TEMPLATE.replace(
        &format!("suite = \"{SUITE}\""),
        &format!(
            "suite = {}\n# What the plant of another process announces; `aegis plan plant` wrote it.\nplant = {}",
            quoted(&suite.suite),
            quoted(&file.display().to_string())
        ),
    );
    text = text.replace(MODELS, "");
    let mut first = 0;
    let names = ["training", "discovery", "calibration", "tuning", "confirmation"];
    let mut lines = Vec::new();
    for line in text.lines() {
        let range = names.iter().position(|name| line.starts_with(&format!("{name} = {{")));
        if let Some(range) = range {
            let end = count * SHARES[range] / 100;
            lines.push(format!("{} = {{ first = {first}, end = {end}, replicates = 1 }}", names[range]));
            first = end;
        } else if line.starts_with("settle_steps") {
            lines.push("settle_steps = 0".into());
        } else if line.starts_with("object_position_sd") {
            lines.push("object_position_sd = 0.0".into());
        } else if !line.starts_with("sample_seed")
            && !SAID_OF_LIBERO.iter().any(|said| line.starts_with(said))
        {
            lines.push(line.to_owned());
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Beginnings of the template's comments that apply only to LIBERO.
const SAID_OF_LIBERO: [&str; 2] =
    ["# Initial states from 50 on are sampled", "# Upstream evaluations let the objects"];

/// Returns the template for a suite that is on this machine.
fn of_suite(text: &str, suite: &str) -> Result<String, Failure> {
    if suite == SUITE {
        return Ok(text.to_owned());
    }
    let found = load_suite(suite, None)?;
    let suite = toml::Value::String(found.name().to_owned());
    let text = text.replace(&format!("suite = \"{SUITE}\""), &format!("suite = {suite}"));
    let Some(steps) = published::usual_horizon(found.name()) else { return Ok(text) };
    let chunks = steps.div_ceil(CHUNK_STEPS);
    let fires = (0.05 * f64::from(chunks)).ceil();
    Ok(text
        .replace(&format!("horizon_steps = {HORIZON_STEPS}"), &format!("horizon_steps = {steps}"))
        .replace(
            "ceil(0.05 · 22 chunks) = 2 fires",
            &format!("ceil(0.05 · {chunks} chunks) = {fires} fires"),
        ))
}

/// Returns the relative path from one folder to another. Both paths are absolute and without links.
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
        assert_eq!(TEMPLATE.matches(&format!("suite = \"{SUITE}\"")).count(), 1);
        assert_eq!(TEMPLATE.matches(&format!("horizon_steps = {HORIZON_STEPS}")).count(), 1);
        assert_eq!(TEMPLATE.matches("ceil(0.05 · 22 chunks) = 2 fires").count(), 1);
    }
}
