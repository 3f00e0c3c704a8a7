//! `aegis probe eval --rollouts`: judges a probe on fresh activations and outcomes of another program.

use std::path::{Path, PathBuf};

use aegis_probe::evaluation::{Discovery, Evaluation, evaluate};
use aegis_probe::file::{Data, ProbeFile};
use aegis_probe::foreign::{StepGrid, Tasks, split};
use aegis_probe::rollout::Rollout;
use clap::Args;

use super::eval_view;
use super::foreign_settings::{check_fresh, check_width, limits, rollouts, settings};
use crate::exit::{Exit, Failure, OrExit, failure};

/// Arguments of an evaluation on rollouts of another program.
#[derive(Args)]
pub struct ForeignEvalArguments {
    /// Fresh activations and outcomes of another program, .npz or Parquet, for a --probe that was fitted with --rollouts;
    /// --discovery is then the file that it was fitted on
    #[arg(long, value_name = "FILE", requires = "probe", conflicts_with = "episodes")]
    pub rollouts: Option<PathBuf>,
}

/// Judges a probe, and returns the figures and their Markdown tables.
pub fn run(
    file: &Path,
    probe: Option<&Path>,
    fitted_on: Option<&Path>,
    plan: Option<&Path>,
) -> Result<(Evaluation, String), Failure> {
    let probe = probe
        .ok_or_else(|| failure(Exit::Input, "--probe: missing; valid is a probe file, beside --rollouts"))?;
    let (known, record, chunk_steps) = ProbeFile::load_foreign(probe).or_exit(Exit::Input)?;
    let grid = StepGrid { horizon_steps: record.horizon_steps, chunk_steps };
    let study = settings(plan)?;
    let mut gate = limits(&study, grid)?;
    gate.guard_fraction = record.guard_fraction;
    let fresh = rollouts(file, grid, Some(&record.tasks()))?;
    check_width(file, &fresh, (probe, &known))?;
    check_fresh(file, &fresh, (probe, &known))?;
    let discovery = match fitted_on {
        Some(path) => discovery(path, grid, (probe, &known))?,
        None => Vec::new(),
    };
    let found = evaluate(
        &known,
        Discovery { rollouts: &discovery, motion: &[] },
        &fresh.rollouts,
        &gate,
        study.master_seed,
    )
    .map_err(|error| failure(Exit::Input, format!("{}: {error}", file.display())))?;
    let mut markdown = eval_view::markdown(&found, "fresh");
    if let Tasks::Names(names) = &fresh.tasks {
        let named: Vec<String> =
            names.iter().enumerate().map(|(task, name)| format!("{task} = {name}")).collect();
        markdown.push_str(&format!("\nTasks: {}.\n", named.join(", ")));
    }
    Ok((found, markdown))
}

/// Reads the rollouts of the probe's fit, and checks their digest against the probe file.
fn discovery(
    path: &Path,
    grid: StepGrid,
    (probe, known): (&Path, &ProbeFile),
) -> Result<Vec<Rollout>, Failure> {
    let record = known.foreign.clone();
    let tasks = record.as_ref().map(aegis_probe::foreign::ForeignRecord::tasks);
    let found = rollouts(path, grid, tasks.as_ref())?.rollouts;
    let fitted = match record.and_then(|record| record.split) {
        Some(settings) => split(found, settings).0,
        None => found,
    };
    if Data::of(&fitted).sha256 != known.discovery.sha256 {
        let message = format!(
            "--discovery: {}: found other episodes than those that {} was fitted on; valid is the file that was its --rollouts",
            path.display(),
            probe.display()
        );
        return Err(failure(Exit::Input, message));
    }
    Ok(fitted)
}
