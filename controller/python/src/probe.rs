//! Fitting a probe on rollouts that another program recorded, and judging it, from files as docs/reference/rollouts.md describes them.

use std::path::{Path, PathBuf};

use aegis_core::GateLimits;
use aegis_probe::calibration::{Scored, calibrate};
use aegis_probe::file::{Data, ProbeFile, UNKNOWN};
use aegis_probe::fit::{FitSettings, fit};
use aegis_probe::foreign::{ForeignRecord, ForeignRollouts, Split, StepGrid, Tasks, read, split};
use aegis_probe::rollout::Rollout;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;

use crate::errors::value_error;
use crate::interrupt::interruptible;

/// Plan that `aegis plan new` copies, from which the defaults come.
const TEMPLATE: &str = include_str!("../../../experiments/template.toml");

/// Returns the tables `[gate]`, `[rule]` and `[fit]` of the template of a plan, as JSON.
#[pyfunction]
pub fn defaults() -> PyResult<String> {
    let plan: toml::Table = toml::from_str(TEMPLATE).map_err(value_error)?;
    let tables: toml::Table =
        plan.into_iter().filter(|(name, _)| ["gate", "rule", "fit"].contains(&name.as_str())).collect();
    serde_json::to_string(&tables).map_err(value_error)
}

pub(crate) fn table<T: DeserializeOwned>(name: &str, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| {
        // The place is one in a text that the caller never saw.
        let reason = error.to_string();
        value_error(format!("{name}: {}", reason.split(" at line ").next().unwrap_or(&reason)))
    })
}

/// Fits a probe on one share of a file's starts, sets its thresholds on the others, and writes the probe file `out`. `limits` and `fit`
/// are the tables `[gate]` and `[fit]` of a plan, as JSON. Returns the probe file's text.
#[pyfunction]
pub fn fit_probe(
    py: Python<'_>,
    rollouts: PathBuf,
    out: PathBuf,
    limits: &str,
    settings: &str,
    calibration_share: f64,
    seed: u64,
) -> PyResult<String> {
    let (limits, settings): (GateLimits, FitSettings) = (table("limits", limits)?, table("fit", settings)?);
    limits.validate().map_err(value_error)?;
    let refused = |(field, reason)| value_error(format!("{field}: {reason}"));
    settings.check_bounds().and_then(|()| settings.validate()).map_err(refused)?;
    if !(calibration_share > 0.0 && calibration_share < 1.0) {
        let message = format!("calibration_share: found {calibration_share}; valid is above 0, below 1");
        return Err(value_error(message));
    }
    let chosen = Split { calibration_share, seed };
    let file = interruptible(py, move || -> Result<ProbeFile, String> {
        let grid = StepGrid { horizon_steps: limits.horizon_steps, chunk_steps: limits.chunk_steps };
        let ForeignRollouts { rollouts: all, tasks, .. } =
            read(&rollouts, grid, None).map_err(|error| error.to_string())?;
        let files_sha256 = vec![Data::of(&all).sha256];
        let (discovery, calibration) = split(all, chosen);
        let named =
            |part: &str, error: &dyn std::fmt::Display| format!("{}: {part}: {error}", rollouts.display());
        let fitted = fit(&discovery, &settings, grid.horizon_steps, &|| ())
            .map_err(|error| named("episodes to fit on", &error))?;
        let thresholds = calibrate(&fitted.probe, &calibration, &limits, &settings)
            .map_err(|error| named("episodes to set thresholds on", &error))?;
        let record = ForeignRecord {
            files_sha256,
            task_names: match tasks {
                Tasks::Names(names) => names,
                Tasks::Numbers => Vec::new(),
            },
            split: Some(chosen),
            horizon_steps: grid.horizon_steps,
            guard_fraction: limits.guard_fraction,
        };
        let data = (Data::of(&discovery), Data::of(&calibration));
        let belongs = (UNKNOWN.to_owned(), UNKNOWN.to_owned());
        Ok(ProbeFile::new(belongs, data, settings, fitted, thresholds).of_foreign(record, grid.chunk_steps))
    })?;
    written(file, &out)
}

/// Sets the thresholds of a fitted probe anew, on rollouts that it was not made from, and writes the probe file `out`. `limits` is the
/// table `[gate]` of a plan, as JSON; `alpha` is the share of false alarms, by default the probe's. Returns the probe file's text.
#[pyfunction]
pub fn calibrate_probe(
    py: Python<'_>,
    probe: PathBuf,
    rollouts: PathBuf,
    out: PathBuf,
    limits: &str,
    alpha: Option<f64>,
) -> PyResult<String> {
    let limits: GateLimits = table("limits", limits)?;
    limits.validate().map_err(value_error)?;
    let file = interruptible(py, move || -> Result<ProbeFile, String> {
        let (mut file, mut record, grid, all) = fitted_and_unseen(&probe, &rollouts)?;
        file.settings.alpha = alpha.unwrap_or(file.settings.alpha);
        file.settings.validate().map_err(|(field, reason)| format!("{field}: {reason}"))?;
        file.calibration = calibrate(&file.probe, &all, &limits, &file.settings)
            .map_err(|error| format!("{}: {error}", rollouts.display()))?;
        file.calibrated_on = Data::of(&all);
        record.files_sha256.push(file.calibrated_on.sha256.clone());
        record.guard_fraction = limits.guard_fraction;
        Ok(file.of_foreign(record, grid.chunk_steps))
    })?;
    written(file, &out)
}

/// Writes a probe file; returns its text.
fn written(file: Result<ProbeFile, String>, out: &Path) -> PyResult<String> {
    let file = file.map_err(value_error)?;
    file.save(out).map_err(value_error)?;
    serde_json::to_string(&file).map_err(value_error)
}

/// Reads a probe file and rollouts of the tasks that it knows; refuses rollouts that the probe was made from.
fn fitted_and_unseen(
    probe: &Path,
    rollouts: &Path,
) -> Result<(ProbeFile, ForeignRecord, StepGrid, Vec<Rollout>), String> {
    let (file, record, chunk_steps) = ProbeFile::load_foreign(probe).map_err(|error| error.to_string())?;
    let grid = StepGrid { horizon_steps: record.horizon_steps, chunk_steps };
    let all = read(rollouts, grid, Some(&record.tasks())).map_err(|error| error.to_string())?.rollouts;
    if record.files_sha256.contains(&Data::of(&all).sha256) {
        return Err(format!(
            "{}: found the rollouts that {} was made from; valid are others",
            rollouts.display(),
            probe.display()
        ));
    }
    Ok((file, record, grid, all))
}

/// Columns of one table, and the horizon.
type Scores = (Vec<usize>, Vec<usize>, Vec<u32>, Vec<f64>, Vec<bool>, Vec<usize>, u32);

/// Scores every boundary of a file of rollouts with a probe. Returns for each boundary, in order of task, episode and step, the task, the
/// start, the step, the score, whether the episode failed, and the number of the episode; then the horizon in control steps.
#[pyfunction]
pub fn scores(py: Python<'_>, probe: PathBuf, rollouts: PathBuf) -> PyResult<Scores> {
    let found = interruptible(py, move || -> Result<_, String> {
        let (file, _, grid, all) = fitted_and_unseen(&probe, &rollouts)?;
        let mut columns: Scores =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), grid.horizon_steps);
        for (number, rollout) in all.iter().enumerate() {
            let scored = Scored::of(&file.probe, rollout).map_err(|error| error.to_string())?;
            for (step, score) in scored.steps.iter().zip(&scored.scores) {
                columns.0.push(rollout.key.start.task);
                columns.1.push(rollout.key.start.initial_state);
                columns.2.push(*step);
                columns.3.push(if score.is_flagged() { f64::NAN } else { score.risk() });
                columns.4.push(scored.failed);
                columns.5.push(number);
            }
        }
        Ok(columns)
    })?;
    found.map_err(value_error)
}
