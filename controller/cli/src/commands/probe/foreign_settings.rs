//! Settings of a fit on rollouts of another program: those of a plan, or those of the template of a plan.

use std::path::Path;

use aegis_core::GateLimits;
use aegis_experiments::plan::Plan;
use aegis_probe::file::{Data, ProbeFile};
use aegis_probe::foreign::{ForeignRollouts, StepGrid, Tasks, read};

use crate::commands::plan::TEMPLATE;
use crate::exit::{Exit, Failure, OrExit, failure};

/// Loads the plan, or the template without its tasks and models where no plan is given. Only its tables `fit` and `gate` and its
/// seed are used.
pub fn settings(plan: Option<&Path>) -> Result<Plan, Failure> {
    match plan {
        Some(path) => Plan::load(path).or_exit(Exit::Input),
        None => toml::from_str(TEMPLATE).or_exit(Exit::Failed),
    }
}

/// Returns the gate's limits for episodes on this grid.
pub fn limits(plan: &Plan, grid: StepGrid) -> Result<GateLimits, Failure> {
    let StepGrid { horizon_steps, chunk_steps } = grid;
    let limits = GateLimits { horizon_steps, chunk_steps, ..plan.gate.clone() };
    limits.validate().map_err(|error| {
        let name = error
            .key()
            .replace("gate.horizon_steps", "--horizon")
            .replace("gate.chunk_steps", "--chunk-steps");
        failure(Exit::Input, format!("{name}: found {}; valid is {}", error.found, error.valid))
    })?;
    Ok(limits)
}

/// Reads a file of rollouts. `known` has the tasks of a file that was read before.
pub fn rollouts(path: &Path, grid: StepGrid, known: Option<&Tasks>) -> Result<ForeignRollouts, Failure> {
    read(path, grid, known).or_exit(Exit::Input)
}

/// Refuses rollouts whose activations have another width than the probe reads.
pub fn check_width(
    path: &Path,
    found: &ForeignRollouts,
    (probe, file): (&Path, &ProbeFile),
) -> Result<(), Failure> {
    let (width, valid) = (width(found), file.probe.width());
    if width == valid {
        return Ok(());
    }
    let message = format!(
        "{}: activation: found {width} values; valid is {valid}, which {} reads",
        path.display(),
        probe.display()
    );
    Err(failure(Exit::Input, message))
}

/// Returns the width of the activations, the same in every row.
pub fn width(found: &ForeignRollouts) -> usize {
    let first = found.rollouts.first().and_then(|rollout| rollout.boundaries.first());
    first.map_or(0, |boundary| boundary.features.len())
}

/// Refuses a file that the probe was made from.
pub fn check_fresh(
    path: &Path,
    found: &ForeignRollouts,
    (probe, file): (&Path, &ProbeFile),
) -> Result<(), Failure> {
    let sha256 = Data::of(&found.rollouts).sha256;
    let seen = file.foreign.iter().flat_map(|record| &record.files_sha256).any(|known| *known == sha256);
    if !seen {
        return Ok(());
    }
    let message = format!(
        "--rollouts: {}: found the episodes that {} was made from; valid are others, because a probe is judged on new episodes",
        path.display(),
        probe.display()
    );
    Err(failure(Exit::Input, message))
}
