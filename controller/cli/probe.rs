//! `aegis probe`: fit the head on rollouts of the weak policy and set its thresholds, or show a fitted one.
//! Discovery and calibration episodes start from ranges of their own.

use std::path::PathBuf;

use aegis_core::{Probe, Thresholds};
use aegis_experiments::fit::{calibrate, fit, rollouts};
use aegis_experiments::probe_file::{ProbeFile, SCHEMA};
use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure, OrExit};
use crate::progress;
use crate::study::{Study, StudyArguments};

/// Verbs of `aegis probe`.
#[derive(Subcommand)]
pub enum ProbeVerb {
    /// Roll the weak policy out, fit the head, calibrate, and write the probe file
    Fit(FitArguments),
    /// Print a probe's thresholds and where they come from
    Show(StudyArguments),
}

/// Arguments of `aegis probe fit`.
#[derive(Args)]
#[command(after_help = "Example: aegis probe fit --out policies/models/probe.json")]
pub struct FitArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Where the probe goes; the plan's place when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(verb: &ProbeVerb) -> Result<(), Failure> {
    match verb {
        ProbeVerb::Fit(arguments) => fit_probe(arguments),
        ProbeVerb::Show(arguments) => {
            let study = Study::open(arguments)?;
            print(&study.probe()?);
            Ok(())
        }
    }
}

fn fit_probe(arguments: &FitArguments) -> Result<(), Failure> {
    let study = Study::open(&arguments.study)?;
    study.check_models()?;
    let (card, spec) = study.watched()?;
    let settings = study.settings(Thresholds { fire: f64::INFINITY, hand_back: f64::INFINITY });
    let blank = Probe::blank(spec.width);
    let tasks = 0..study.suite.task_count();
    let collect = |heading, share: aegis_experiments::plan::Share| {
        let keys = share.keys(tasks.clone());
        let bar = progress::bar(heading, keys.len());
        let found = rollouts(
            &keys,
            arguments.study.workers,
            &settings,
            &|_| study.parties(&blank),
            &progress::follow(&bar),
        );
        bar.finish_and_clear();
        found.or_exit(Exit::Failed)
    };
    let discovery = collect("discovery", study.plan.ranges.discovery)?;
    let calibration = collect("calibration", study.plan.ranges.calibration)?;
    let probe = fit(&discovery, &study.plan.fit).or_exit(Exit::Failed)?;
    let calibration = calibrate(&probe, &discovery, &calibration, &study.plan.gate, &study.plan.fit)
        .or_exit(Exit::Failed)?;
    let file = ProbeFile {
        schema: SCHEMA,
        model_sha256: card.sha256,
        tensor: spec.tensor,
        probe,
        settings: study.plan.fit.clone(),
        calibration,
    };
    let out = arguments.out.clone().unwrap_or_else(|| study.plan.models.probe.clone());
    file.save(&out).or_exit(Exit::Failed)?;
    println!("{}", out.display());
    print(&file);
    Ok(())
}

fn print(file: &ProbeFile) {
    let calibration = &file.calibration;
    println!("  reads            {} of model {}", file.tensor, &file.model_sha256[..16]);
    println!("  width            {}", file.probe.width());
    println!("  threshold        {:.4} (α = {})", calibration.threshold, file.settings.alpha);
    println!("  return threshold {:.4}", calibration.return_threshold);
    println!(
        "  discovery        {} episodes, weak lost {}",
        calibration.discovery[0], calibration.discovery[1]
    );
    println!(
        "  calibration      {} episodes, weak lost {}",
        calibration.calibration[0], calibration.calibration[1]
    );
    if let Some(auroc) = calibration.early_auroc {
        println!("  early AUROC      {auroc:.3} on calibration episodes");
    }
}
