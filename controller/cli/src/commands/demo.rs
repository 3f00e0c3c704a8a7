//! `aegis demo`: runs three arms on common random numbers, prints a table, and records one recovery.
//! Every figure that is printed is computed from the results that are also written.

mod table;

use std::path::{Path, PathBuf};

use aegis_experiments::Arm;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::report::Disturbances;
use aegis_experiments::report::summary::summarise;
use aegis_experiments::run::runner;
use aegis_probe::origin::{runs, spans};
use aegis_recorder::{RERUN, Sink, Target};
use clap::Args;

use crate::commands::plan::note;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::write;
use crate::progress;
use crate::recording;
use crate::study_loader::{Study, StudyArguments, share};

/// Default number of episodes per arm: enough to contain a recovery, few enough to take about half a minute.
const EPISODES: usize = 30;

/// Arguments of `aegis demo`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis demo\n  aegis demo --episodes 100 --workers 1 --json\n  \
                        aegis demo --episodes 10 --connect tcp/127.0.0.1:7447 --plant libero")]
pub struct DemoArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Range of the plan that the episodes are taken from. Episodes of the confirmation range of a plan with a study are
    /// recorded in the plan's log
    #[arg(long, value_name = "RANGE", default_value = "confirmation")]
    range: String,
    /// Episodes per arm, spread over the tasks, from that range; 30, or all of the range if fewer
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// Only this task
    #[arg(long, value_name = "N")]
    task: Option<usize>,
    /// Folder for results and recording
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    out: PathBuf,
    /// Print the summary as JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs `aegis demo`.
pub fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let study = Study::open_anywhere(&arguments.study)?;
    // The models are checked first, because the probe is checked against the weak card and a wrong card would be reported as a
    // wrong probe.
    study.check_models()?;
    let probe = study.probe()?;
    let tasks = tasks(arguments.task, study.tasks())?;
    let all = share(&study.plan, "--range", &arguments.range)?.keys(tasks);
    let episodes = arguments.episodes.unwrap_or(EPISODES.min(all.len()));
    let Some(keys) = all.get(..episodes).filter(|keys| !keys.is_empty()) else {
        let message = format!("--episodes: found {episodes}; valid is 1 to {}", all.len());
        return Err(failure(Exit::Input, message));
    };

    let arms = [Arm::weak(), Arm::aegis(study.rule(&probe)?), Arm::strong()];
    note(arguments.study.plan.as_ref(), &study.plan, "aegis demo", &arguments.range, keys.len())?;
    let settings = study.settings();
    let bar = progress::bar("episodes and their twins", keys.len());
    let heads = probe.heads();
    let open = |worker| study.context(worker, &heads);
    let outcome = runner::run_arms(keys, &arms, study.workers(), &settings, &open, &progress::follow(&bar));
    bar.finish_and_clear();
    let (results, timings): (Vec<_>, Vec<_>) = outcome.or_exit(Exit::Failed)?.into_iter().unzip();

    let summary = summarise(&results).or_exit(Exit::Failed)?;
    write_results(&arguments.out, &results, &summary)?;
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&summary).or_exit(Exit::Failed)?);
    } else {
        say!("{}", table::arms(&summary));
        if let Some(found) = Disturbances::of(&results, settings.gate.horizon_steps) {
            say!("{}", table::disturbances(&found));
        }
        say!("{}", table::latencies(&timings));
    }
    if study.is_elsewhere() {
        // A recording needs the poses of all bodies, which a remote plant does not send.
        return Ok(());
    }
    record(&study, &heads, &arms[1], &settings, &results, arguments)
}

fn tasks(only: Option<usize>, all: Vec<usize>) -> Result<Vec<usize>, Failure> {
    match only {
        None => Ok(all),
        Some(task) if all.contains(&task) => Ok(vec![task]),
        Some(task) => {
            let valid = spans(&runs(all));
            Err(failure(Exit::Input, format!("--task: found {task}; valid is {valid}")))
        }
    }
}

fn write_results(
    out: &Path,
    results: &[EpisodeResult],
    summary: &[aegis_experiments::report::summary::ArmSummary],
) -> Result<(), Failure> {
    let mut lines = String::new();
    for result in results {
        lines.push_str(&serde_json::to_string(result).or_exit(Exit::Failed)?);
        lines.push('\n');
    }
    let summary = serde_json::to_string_pretty(summary).or_exit(Exit::Failed)? + "\n";
    for (name, text) in [("episodes.jsonl", lines), ("summary.json", summary)] {
        write(&out.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn record(
    study: &Study,
    probe: &aegis_core::Heads,
    arm: &Arm,
    settings: &aegis_experiments::EpisodeSettings,
    results: &[EpisodeResult],
    arguments: &DemoArguments,
) -> Result<(), Failure> {
    let chosen = recording::most_instructive(results);
    let chosen = chosen.and_then(|one| {
        let of_arm = results.iter().find(|result| result.key == one.key && result.arm == arm.name);
        of_arm.map(|result| (result, one.why))
    });
    let Some((result, why)) = chosen else {
        tell!("No episode fired, so no recording is written.");
        return Ok(());
    };
    let path = arguments.out.join("recovered.rrd");
    let sink = Sink::open(Target::File(path.clone())).or_exit(Exit::Failed)?;
    let film = |arm: &Arm, result: &EpisodeResult| {
        recording::film(study, probe, arm, settings, result.key, &|found| Ok(found == result))
    };
    let twin = recording::weak_twin(results, result.key);
    let twin = twin.map(|twin| film(&Arm::weak(), twin)).transpose()?;
    film(arm, result)?.draw(twin.as_ref(), sink).or_exit(Exit::Failed)?;
    if !arguments.json {
        let name = runner::describe(result.key, result.arm.as_str());
        say!("Recorded {name}: {why}.");
        say!("Open it with:  pip install rerun-sdk=={RERUN} && rerun --bind 127.0.0.1 {}", path.display());
    }
    Ok(())
}
