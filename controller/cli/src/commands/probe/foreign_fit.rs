//! `aegis probe fit --rollouts`: fits a probe on activations and outcomes that another program recorded. What such rollouts do not
//! have (a strong policy's chunks, the starts of a suite) the probe file does not state.

use std::path::{Path, PathBuf};

use aegis_core::probe::HeadKind;
use aegis_files::Written;
use aegis_policies::card::ModelCard;
use aegis_probe::calibration::calibrate;
use aegis_probe::file::{Data, ProbeFile, UNKNOWN};
use aegis_probe::fit::{fit, fits};
use aegis_probe::foreign::{ForeignRecord, ForeignRollouts, Split, StepGrid, Tasks, split};
use aegis_probe::rollout::Rollout;
use clap::Args;

use super::fitting::Source;
use super::foreign_settings::{limits, rollouts, settings, width};
use super::sealed::check_sealed;
use super::summary::print;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::check_place;
use crate::progress;

/// Default share of the starts whose episodes the thresholds are set on, where these are not in a separate file.
const SHARE: f64 = 0.5;

/// Arguments of a fit on rollouts of another program.
#[derive(Args)]
pub struct ForeignFitArguments {
    /// Activations and outcomes of another program, .npz or Parquet (docs/reference/rollouts.md), instead of rollouts of `aegis
    /// collect`; only the tables fit and gate of a plan are then read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["discovery", "calibration"])]
    pub rollouts: Option<PathBuf>,
    /// The same kind of file with other episodes, to set thresholds on; when left out, a share of the episodes of --rollouts
    #[arg(long, value_name = "FILE", requires = "rollouts")]
    calibration_rollouts: Option<PathBuf>,
    /// Share of the starts of --rollouts to set thresholds on [default: 0.5]
    #[arg(long, value_name = "SHARE", requires = "rollouts", conflicts_with = "calibration_rollouts")]
    calibration_share: Option<f64>,
    /// Seed of the choice of these starts [default: 0]
    #[arg(long, value_name = "SEED", requires = "rollouts", conflicts_with = "calibration_rollouts")]
    split_seed: Option<u64>,
    /// Largest number of control steps of an episode of --rollouts; that of --plan when left out
    #[arg(long, value_name = "STEPS", requires = "rollouts")]
    horizon: Option<u32>,
    /// Control steps from one inference to the next in --rollouts; those of --plan when left out
    #[arg(long, value_name = "STEPS", requires = "rollouts")]
    chunk_steps: Option<u32>,
    /// Card of the policy whose activation --rollouts has. Without a policy, robots and studies refuse the probe
    #[arg(long, value_name = "CARD", requires = "rollouts")]
    model: Option<PathBuf>,
    /// SHA-256 of the policy's ONNX file, where there is no card yet
    #[arg(long, value_name = "DIGEST", requires = "tensor", conflicts_with = "model")]
    model_sha256: Option<String>,
    /// Graph output that gives the activation, with --model-sha256
    #[arg(long, value_name = "NAME", requires = "model_sha256")]
    tensor: Option<String>,
}

/// Fits a probe on the file `rollouts` and writes it to `out`.
pub fn run(
    arguments: &ForeignFitArguments,
    file: &Path,
    plan: Option<&Path>,
    head: Option<HeadKind>,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let missing = |argument: &str, what: &str| {
        let message = format!("{argument}: missing; valid is {what}, with --rollouts");
        failure(Exit::Input, message)
    };
    let out = out.ok_or_else(|| missing("--out", "the probe file to write"))?;
    let inputs: Vec<&Path> =
        [Some(file), arguments.calibration_rollouts.as_deref(), plan, arguments.model.as_deref()]
            .into_iter()
            .flatten()
            .collect();
    check_place("--out", out, Written::Json("schema"), &inputs)?;
    check_sealed(out, out)?;
    if let Some(plan) = plan {
        check_sealed(plan, out)?;
    }
    let study = settings(plan)?;
    let of_plan = |value: u32| plan.map(|_| value);
    let grid = StepGrid {
        horizon_steps: arguments
            .horizon
            .or(of_plan(study.gate.horizon_steps))
            .ok_or_else(|| missing("--horizon", "the largest number of control steps of an episode"))?,
        chunk_steps: arguments.chunk_steps.or(of_plan(study.gate.chunk_steps)).ok_or_else(|| {
            missing("--chunk-steps", "the number of control steps from one inference to the next")
        })?,
    };
    let gate = limits(&study, grid)?;
    let parts = Parts::read(arguments, file, grid)?;
    let belongs = belongs(arguments, parts.width, grid)?;
    let learned = Source::foreign(parts.names[0].clone(), &parts.discovery);
    let held = Source::foreign(parts.names[1].clone(), &parts.calibration);
    learned.warn_of_constants();
    let mut fit_settings = study.fit;
    fit_settings.head = head.unwrap_or(fit_settings.head);
    let bar = progress::bar("fits", fits(&fit_settings));
    let fitted = fit(&parts.discovery, &fit_settings, grid.horizon_steps, &|| bar.inc());
    bar.finish_and_clear();
    let fitted = fitted.map_err(|error| learned.unfit(&error))?;
    let thresholds = calibrate(&fitted.probe, &parts.calibration, &gate, &fit_settings);
    let thresholds = thresholds.map_err(|error| held.uncalibrated(&error))?;
    let (discovery, calibrated_on) = (Data::of(&parts.discovery), Data::of(&parts.calibration));
    let never_fires = thresholds.threshold == f64::INFINITY;
    let record = ForeignRecord {
        files_sha256: parts.files_sha256,
        task_names: match parts.tasks {
            Tasks::Names(names) => names,
            Tasks::Numbers => Vec::new(),
        },
        split: parts.split,
        horizon_steps: grid.horizon_steps,
        guard_fraction: gate.guard_fraction,
    };
    let alpha = fit_settings.alpha;
    let file = ProbeFile::new(belongs, (discovery, calibrated_on), fit_settings, fitted, thresholds)
        .of_foreign(record, grid.chunk_steps);
    file.save(out).or_exit(Exit::Failed)?;
    say!("{}", out.display());
    print(&file);
    warn(&file, never_fires, alpha);
    Ok(())
}

/// Rollouts to fit on and to set thresholds on.
struct Parts {
    discovery: Vec<Rollout>,
    calibration: Vec<Rollout>,
    /// Names of both in errors.
    names: [String; 2],
    tasks: Tasks,
    width: usize,
    split: Option<Split>,
    files_sha256: Vec<String>,
}

impl Parts {
    /// Reads the one file and divides it, or reads both.
    fn read(arguments: &ForeignFitArguments, file: &Path, grid: StepGrid) -> Result<Self, Failure> {
        let found = rollouts(file, grid, None)?;
        let (width, name) = (width(&found), file.display().to_string());
        let mut files_sha256 = vec![Data::of(&found.rollouts).sha256];
        if let Some(other) = &arguments.calibration_rollouts {
            let more = rollouts(other, grid, Some(&found.tasks))?;
            files_sha256.push(Data::of(&more.rollouts).sha256);
            check_apart((file, &found, width), (other, &more), &files_sha256)?;
            return Ok(Self {
                discovery: found.rollouts,
                calibration: more.rollouts,
                names: [name, other.display().to_string()],
                tasks: more.tasks,
                width,
                split: None,
                files_sha256,
            });
        }
        let share = arguments.calibration_share.unwrap_or(SHARE);
        if !(share > 0.0 && share < 1.0) {
            let message = format!("--calibration-share: found {share}; valid is above 0, below 1");
            return Err(failure(Exit::Input, message));
        }
        let chosen = Split { calibration_share: share, seed: arguments.split_seed.unwrap_or(0) };
        let ForeignRollouts { rollouts, tasks, .. } = found;
        let all = rollouts.len();
        let (discovery, calibration) = split(rollouts, chosen);
        let named = |count: usize, what: &str| format!("{name}: {count} of its {all} episodes, {what}");
        Ok(Self {
            names: [named(discovery.len(), "to fit on"), named(calibration.len(), "to set thresholds on")],
            discovery,
            calibration,
            tasks,
            width,
            split: Some(chosen),
            files_sha256,
        })
    }
}

/// Refuses to set thresholds on rollouts that the probe was fitted on, and activations of another width.
fn check_apart(
    (file, fitted, width_of_fit): (&Path, &ForeignRollouts, usize),
    (other, held): (&Path, &ForeignRollouts),
    files_sha256: &[String],
) -> Result<(), Failure> {
    let refused = |field: &str, found: String, valid: &str| {
        Err(failure(Exit::Input, format!("{}: {field}: found {found}; valid is {valid}", other.display())))
    };
    if width(held) != width_of_fit {
        let valid = format!("{width_of_fit}, as in {}", file.display());
        return refused("activation", format!("{} values", width(held)), &valid);
    }
    let apart = "other episodes, because thresholds set on fitted episodes guarantee nothing";
    if files_sha256.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("rows", format!("the episodes of {}", file.display()), apart);
    }
    if !(fitted.has_starts && held.has_starts) {
        return Ok(());
    }
    let starts = || fitted.rollouts.iter().map(|rollout| rollout.key.start);
    let common = held.rollouts.iter().find(|rollout| starts().any(|start| start == rollout.key.start));
    common.map_or(Ok(()), |rollout| {
        let start = rollout.key.start;
        let found =
            format!("start {} of task {}, which {} has too", start.initial_state, start.task, file.display());
        refused("start", found, apart)
    })
}

/// Returns the digest of the policy and the tensor that the probe reads, [`UNKNOWN`] where they were not given.
fn belongs(
    arguments: &ForeignFitArguments,
    width: usize,
    grid: StepGrid,
) -> Result<(String, String), Failure> {
    if let Some(path) = &arguments.model {
        let card = ModelCard::load(path).or_exit(Exit::Input)?;
        let spec = card.probed().or_exit(Exit::Input)?.clone();
        let wrong = |message: String| Err(failure(Exit::Input, message));
        if spec.width != width {
            return wrong(format!(
                "{}: activation.width: found {}; valid is {width}, the width in the rollouts",
                path.display(),
                spec.width
            ));
        }
        if card.chunk.steps() < grid.chunk_steps as usize {
            return wrong(format!(
                "--chunk-steps: found {}; valid is at most {}, the number of actions in a chunk of {}",
                grid.chunk_steps,
                card.chunk.steps(),
                path.display()
            ));
        }
        return Ok((card.model_sha256(), spec.tensor));
    }
    let (Some(sha256), Some(tensor)) = (&arguments.model_sha256, &arguments.tensor) else {
        return Ok((UNKNOWN.into(), UNKNOWN.into()));
    };
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest {
        let message = format!(
            "--model-sha256: found {sha256}; valid is 64 hexadecimal digits, as `sha256sum` prints them"
        );
        return Err(failure(Exit::Input, message));
    }
    Ok((sha256.to_lowercase(), tensor.clone()))
}

/// Warns of a probe that no policy can use yet, and of a threshold that nothing exceeds.
fn warn(file: &ProbeFile, never_fires: bool, alpha: f64) {
    if file.model_sha256 == UNKNOWN {
        tell!(
            "warning: the probe names no policy, so robots and studies refuse it; fit it with --model CARD to name one"
        );
    }
    if never_fires {
        let won = file.calibrated_on.episodes - file.calibrated_on.lost;
        let needed = ((1.0 - alpha) / alpha - 1e-9).ceil();
        tell!(
            "warning: the threshold is infinite, so the gate never fires: {won} successful episodes to set it on; a level of {alpha} \
             needs {needed} or more"
        );
    }
}
