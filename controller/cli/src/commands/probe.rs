//! `aegis probe`: fits the head and sets its thresholds, judges a probe on fresh rollouts, or shows a fitted probe.
//! Discovery, calibration and evaluation each have a range of their own.

mod benefit_view;
mod eval_view;
mod fitting;
mod foreign_eval;
mod foreign_fit;
mod foreign_settings;
mod forked;
mod sealed;
mod summary;

use std::path::{Path, PathBuf};

use aegis_core::probe::HeadKind;
use aegis_files::Written;
use aegis_probe::calibration::calibrate;
use aegis_probe::evaluation::{Discovery, Evaluation, evaluate};
use aegis_probe::file::{Data, ProbeFile};
use aegis_probe::fit::{fit, fits};
use clap::{Args, Subcommand};

use crate::commands::collect::rollouts_of;
use crate::commands::plan::note;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::{check_place, write};
use crate::origins::{check_ranges, of_policies, of_probe};
use crate::progress;
use crate::study_loader::{Study, StudyArguments, share};
use fitting::Source;
use foreign_eval::ForeignEvalArguments;
use foreign_fit::ForeignFitArguments;
use forked::{ForkEvalArguments, ForkFitArguments};
use sealed::check_sealed;
use summary::print;

/// Verbs of `aegis probe`.
#[derive(Subcommand)]
pub enum ProbeVerb {
    /// Fit the head on discovery rollouts, calibrate on others, and write the probe file
    Fit(FitArguments),
    /// Judge the probe on fresh rollouts, beside baselines that read no activation
    Eval(EvalArguments),
    /// Print a probe's thresholds and the rollouts they were set on
    Show(StudyArguments),
}

/// Arguments of `aegis probe fit`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis probe fit\n  aegis collect discovery && aegis collect calibration\n  \
                        aegis probe fit --discovery runs/discovery.parquet --calibration runs/calibration.parquet \
                        --head recurrent --out runs/recurrent.json\n  aegis probe fit --discovery runs/discovery.parquet \
                        --calibration runs/calibration.parquet --forks runs/discovery.forks.parquet \
                        --calibration-forks runs/calibration.forks.parquet\n  aegis probe fit --rollouts mine.npz --horizon 280 \
                        --chunk-steps 10 --out probe.json"
)]
pub struct FitArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Rollouts to fit on, by `aegis collect discovery`; collected now when left out
    #[arg(long, value_name = "FILE")]
    discovery: Option<PathBuf>,
    /// Rollouts to set thresholds on, by `aegis collect calibration`; collected now when left out
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Head instead of the plan's: linear, mlp or recurrent
    #[arg(long, value_name = "KIND")]
    head: Option<HeadKind>,
    /// The probe file to write; that of the plan when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    forks: ForkFitArguments,
    #[command(flatten)]
    foreign: ForeignFitArguments,
}

/// Arguments of `aegis probe eval`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis probe eval\n  aegis probe eval --discovery runs/discovery.parquet \
                        --episodes runs/confirmation.parquet --json --out runs/probe\n  aegis probe eval --range tuning \
                        --episodes runs/tuning.parquet --forks runs/tuning.forks.parquet\n  aegis probe eval --hold-out-tasks 2\n  \
                        aegis probe eval --rollouts fresh.npz --probe probe.json"
)]
pub struct EvalArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// The probe instead of the plan's
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// The rollouts that the probe was fitted on, for the baselines; collected now when left out
    #[arg(long, value_name = "FILE")]
    discovery: Option<PathBuf>,
    /// Fresh rollouts to judge on; collected now when left out
    #[arg(long, value_name = "FILE")]
    episodes: Option<PathBuf>,
    /// Range that the fresh rollouts are of
    #[arg(long, value_name = "RANGE", default_value = "confirmation")]
    range: String,
    /// Folder for evaluation.json and evaluation.md
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    forks: ForkEvalArguments,
    #[command(flatten)]
    foreign: ForeignEvalArguments,
}

/// Runs a verb of `aegis probe`.
pub fn run(verb: &ProbeVerb) -> Result<(), Failure> {
    match verb {
        ProbeVerb::Fit(arguments) => fit_probe(arguments),
        ProbeVerb::Eval(arguments) => eval_probe(arguments),
        ProbeVerb::Show(arguments) => {
            let study = Study::open(arguments)?;
            print(&study.probe()?);
            Ok(())
        }
    }
}

fn fit_probe(arguments: &FitArguments) -> Result<(), Failure> {
    let (plan, head, out) = (arguments.study.plan.as_deref(), arguments.head, arguments.out.as_deref());
    if let Some(rollouts) = &arguments.foreign.rollouts {
        return foreign_fit::run(&arguments.foreign, rollouts, plan, head, out);
    }
    let study = Study::open(&arguments.study)?;
    let out = arguments.out.as_ref().unwrap_or(&study.plan.models.probe);
    let [forks, calibration_forks] = arguments.forks.files();
    let given = [arguments.discovery.as_deref(), arguments.calibration.as_deref(), forks, calibration_forks];
    // The plan's probe is no input: the new probe may replace it.
    let [plan, weak, strong, _] = study.inputs();
    let inputs: Vec<&Path> = [plan, weak, strong].into_iter().chain(given.into_iter().flatten()).collect();
    check_place("--out", out, Written::Json("schema"), &inputs)?;
    check_sealed(&study.path, out)?;
    let (card, spec) = study.watched()?;
    let (chunk, steps) = (card.chunk.steps(), study.plan.gate.chunk_steps);
    let policies = of_policies(&study.plan.models)?;
    check_ranges((&study.path, &study.plan), &study.world, &policies, None)?;
    let (discovery, from) = rollouts_of(&study, "discovery", arguments.discovery.as_ref())?;
    let (calibration, set_on) = rollouts_of(&study, "calibration", arguments.calibration.as_ref())?;
    let learned = Source::new("discovery", arguments.discovery.as_ref(), &discovery);
    let held = Source::new("calibration", arguments.calibration.as_ref(), &calibration);
    learned.warn_of_constants();
    let mut settings = study.plan.fit.clone();
    settings.head = arguments.head.unwrap_or(settings.head);
    // Read and checked before the risk head is fitted, which takes minutes for some kinds.
    let forks = arguments.forks.read(&study, &settings)?;
    let joined = forks.as_ref().map(|forks| forks.join(&discovery, &calibration)).transpose()?;
    let bar = progress::bar("fits", fits(&settings));
    let fitted = fit(&discovery, &settings, study.plan.gate.horizon_steps, &|| bar.inc());
    bar.finish_and_clear();
    let fitted = fitted.map_err(|error| learned.unfit(&error))?;
    let thresholds = calibrate(&fitted.probe, &calibration, &study.plan.gate, &settings);
    let thresholds = thresholds.map_err(|error| held.uncalibrated(&error))?;
    let benefit = forks.as_ref().zip(joined.as_ref()).map(|(forks, joined)| forks.fit(joined)).transpose()?;
    let belongs = (card.model_sha256(), spec.tensor);
    let data = (Data::from(&discovery, from), Data::from(&calibration, set_on));
    let mut file = ProbeFile::new(belongs, data, settings, fitted, thresholds);
    file.chunk_steps = (chunk != steps as usize).then_some(steps);
    if let Some(benefit) = benefit {
        file = file.with_benefit(benefit);
    }
    check_ranges(
        (&study.path, &study.plan),
        &study.world,
        &file.statements(&out.display().to_string()),
        None,
    )?;
    file.save(out).or_exit(Exit::Failed)?;
    say!("{}", out.display());
    print(&file);
    Ok(())
}

fn eval_probe(arguments: &EvalArguments) -> Result<(), Failure> {
    if let Some(rollouts) = &arguments.foreign.rollouts {
        let plan = arguments.study.plan.as_deref();
        let (found, markdown) =
            foreign_eval::run(rollouts, arguments.probe.as_deref(), arguments.discovery.as_deref(), plan)?;
        return deliver(arguments, &found, &markdown);
    }
    let mut study = Study::open(&arguments.study)?;
    study.plan.models.probe = arguments.probe.clone().unwrap_or(study.plan.models.probe);
    if ["training", "discovery", "calibration"].contains(&&*arguments.range) {
        let message = format!(
            "--range: found {}, which the probe or its policy was made from; valid is tuning or confirmation",
            arguments.range
        );
        return Err(failure(Exit::Input, message));
    }
    // Checked before the rollouts, which take minutes.
    share(&study.plan, "--range", &arguments.range)?;
    let file = study.probe()?;
    let path = &study.plan.models.probe;
    let said =
        [of_policies(&study.plan.models)?, of_probe(path, &path.display().to_string(), &file)?].concat();
    check_ranges((&study.path, &study.plan), &study.world, &said, Some(&arguments.range))?;
    let forks = arguments.forks.read(&study, &arguments.range)?;
    let (discovery, _) = rollouts_of(&study, "discovery", arguments.discovery.as_ref())?;
    // Rollouts in a file were recorded in the plan's log when they were collected.
    let run_now = arguments.episodes.is_none();
    let sets = if run_now { study.keys("--range", &arguments.range)?.len() } else { 0 };
    note(arguments.study.plan.as_ref(), &study.plan, "aegis probe eval", &arguments.range, sets)?;
    let (fresh, _) = rollouts_of(&study, &arguments.range, arguments.episodes.as_ref())?;
    let motion = study.world.motion()?;
    let baselines = Discovery { rollouts: &discovery, motion: &motion };
    let found = evaluate(&file, baselines, &fresh, &study.plan.gate, study.plan.master_seed);
    let mut found = found.or_exit(Exit::Failed)?;
    arguments.forks.evaluate(&forks, (&study, &file), (&discovery, &fresh), &motion, &mut found)?;
    deliver(arguments, &found, &eval_view::markdown(&found, &arguments.range))
}

/// Writes and prints an evaluation.
fn deliver(arguments: &EvalArguments, found: &Evaluation, markdown: &str) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(found).or_exit(Exit::Failed)? + "\n";
    if let Some(folder) = &arguments.out {
        write(&folder.join("evaluation.json"), json.as_bytes())?;
        write(&folder.join("evaluation.md"), markdown.as_bytes())?;
    }
    say!("{}", if arguments.json { json.trim_end() } else { markdown.trim_end() });
    warn(found);
    Ok(())
}

/// Warns of each baseline that ranks episodes as well as the probe: it reads no activation, so the probe is of no use. A warning is
/// noticed sooner than a row in a table.
fn warn(found: &Evaluation) {
    for baseline in &found.baselines {
        if baseline.overall.estimate >= found.probe.overall.estimate {
            tell!("warning: {} ranks as well as the probe", baseline.name);
        }
    }
}
