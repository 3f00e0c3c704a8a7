//! `aegis plan pilot`: runs every arm on the tuning range, before registration, to see whether budgets match and whether a
//! kill criterion would fire. The figures are those of a report, from other starts. Nothing is stored, and no start of the
//! confirmation range is run.

use std::path::PathBuf;

use aegis_experiments::report::report;
use aegis_experiments::run::runner::run_arms;
use clap::Args;
use serde_json::json;

use crate::arms::arms;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::host::HostArguments;
use crate::progress;
use crate::remote::RemoteArguments;
use crate::study_loader::{Study, StudyArguments, default_workers};

/// Arguments of `aegis plan pilot`.
#[derive(Args)]
#[command(after_help = "Example: aegis plan pilot mine/study.toml\n\n\
                        The figures are computed from few episodes: they may choose settings and confirm none of them.")]
pub struct PilotArguments {
    /// The plan, registered or not
    plan: PathBuf,
    /// Sets of twins, spread over the tasks; the whole tuning range when left out
    #[arg(long, value_name = "N")]
    sets: Option<usize>,
    /// Worker threads; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = default_workers())]
    workers: usize,
    /// Print JSON: sets, arms, contrasts with their budgets, kill criteria, advice
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArguments,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Runs `aegis plan pilot`.
pub fn run(arguments: &PilotArguments) -> Result<(), Failure> {
    let path = &arguments.plan;
    let study = Study::open(&StudyArguments {
        plan: Some(path.clone()),
        workers: arguments.workers,
        host: arguments.host.clone(),
        remote: arguments.remote.clone(),
    })?;
    let Some(settings) = &study.plan.study else {
        let message = "study: missing; valid is a table [study], as in a plan of `aegis plan new`";
        return Err(failure(Exit::Input, format!("{}: {message}", path.display())));
    };
    study.check_models()?;
    let (probe, arms) = arms(&study)?;
    let calibrator = study.probe()?.calibration.calibrator;
    let all = study.keys("ranges", "tuning")?;
    let sets = arguments.sets.unwrap_or(all.len());
    let Some(keys) = all.get(..sets).filter(|keys| !keys.is_empty()) else {
        let reason = format!("found {sets}; valid is 1 to {}, the plan's ranges.tuning", all.len());
        return Err(failure(Exit::Input, format!("--sets: {reason}")));
    };
    let bar = progress::bar("sets of the tuning range", keys.len());
    let open = |worker| study.context(worker, &probe);
    let settled = study.settings();
    let outcome = run_arms(keys, &arms, study.workers(), &settled, &open, &progress::follow(&bar));
    bar.finish_and_clear();
    let results: Vec<_> = outcome.or_exit(Exit::Failed)?.into_iter().map(|(result, _)| result).collect();
    let found = report(&study.plan, keys, &results, &calibrator, None)
        .map_err(|error| failure(Exit::Failed, format!("{}: {error}", path.display())))?;
    if arguments.json {
        let outcome = json!({
            "sets": sets, "arms": found.arms, "contrasts": found.contrasts, "kill": found.kill,
            "killed": found.killed, "advice": found.share_advice(settings),
        });
        say!("{outcome}");
        return Ok(());
    }
    let title = format!("Pilot of {}: {sets} sets of the tuning range", path.display());
    say!("{}", found.pilot_page(&title, settings).markdown().trim_end());
    Ok(())
}
