//! `aegis collect`: rollouts of the weak policy over one range of the plan, as Parquet.
//! What `aegis probe` is fitted, calibrated and judged on.

use std::path::PathBuf;

use aegis_core::Probe;
use aegis_experiments::probe::file::Data;
use aegis_experiments::rollout_file::{Provenance, SCHEMA, read, write};
use aegis_experiments::rollouts::{Rollout, rollouts};
use aegis_files::shown;
use aegis_policies::card::ModelCard;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::progress;
use crate::study::{Study, StudyArguments, share};

/// Arguments of `aegis collect`.
#[derive(Args)]
#[command(after_help = "Example: aegis collect discovery --out runs/discovery.parquet")]
pub struct CollectArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Range of the plan: training, discovery, calibration, tuning or confirmation
    range: String,
    /// Where the rollouts go; runs/RANGE.parquet when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: &CollectArguments) -> Result<(), Failure> {
    let study = Study::open(&arguments.study)?;
    let out = arguments.out.clone().unwrap_or_else(|| format!("runs/{}.parquet", arguments.range).into());
    let found = roll_out(&study, &arguments.range, arguments.study.workers)?;
    write(&out, &provenance(&study, &arguments.range)?, &found).or_exit(Exit::Failed)?;
    let Data { sha256, episodes, lost } = Data::of(&found);
    if arguments.json {
        let summary =
            serde_json::json!({ "file": shown(&out), "episodes": episodes, "lost": lost, "sha256": sha256 });
        say!("{summary}");
    } else {
        say!("{}: {episodes} episodes, weak lost {lost}", out.display());
    }
    Ok(())
}

/// Rolls the weak policy out over one range.
pub fn roll_out(study: &Study, range: &str, workers: usize) -> Result<Vec<Rollout>, Failure> {
    let keys = share(&study.plan, "RANGE", range)?.keys(0..study.suite.task_count());
    study.check_models()?;
    let (_, spec) = study.watched()?;
    let blank = Probe::blank(spec.width);
    let settings = study.settings();
    let bar = progress::bar(range.to_owned(), keys.len());
    let open = |_| study.parties(&blank);
    let found = rollouts(&keys, workers, &settings, &open, &progress::follow(&bar));
    bar.finish_and_clear();
    found.or_exit(Exit::Failed)
}

/// Reads rollouts of one range from a file and holds them against the plan; rolls out where there is no file.
pub fn rollouts_of(
    study: &Study,
    range: &str,
    file: Option<&PathBuf>,
    workers: usize,
) -> Result<Vec<Rollout>, Failure> {
    let Some(path) = file else { return roll_out(study, range, workers) };
    let (found, rollouts) = read(path).or_exit(Exit::Input)?;
    let expected = provenance(study, range)?;
    if found != expected {
        let written = |provenance: &Provenance| serde_json::to_value(provenance).unwrap_or_default();
        let (found, expected) = (written(&found), written(&expected));
        let fields = expected
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(field, value)| found.get(field) != Some(value));
        let differ: Vec<String> = fields
            .map(|(field, value)| format!("{field} is {}, the plan's is {value}", found[field]))
            .collect();
        return Err(failure(
            Exit::Input,
            format!("{}: these rollouts are of something else: {}", path.display(), differ.join("; ")),
        ));
    }
    Ok(rollouts)
}

fn provenance(study: &Study, range: &str) -> Result<Provenance, Failure> {
    let (weak, spec) = study.watched()?;
    let strong = ModelCard::load(&study.plan.models.strong).or_exit(Exit::Input)?;
    Ok(Provenance {
        schema: SCHEMA,
        suite: study.plan.suite.clone(),
        master_seed: study.plan.master_seed,
        sample_seed: study.plan.sample_seed,
        range: range.to_owned(),
        weak_sha256: weak.model_sha256(),
        strong_sha256: strong.model_sha256(),
        tensor: spec.tensor,
        horizon_steps: study.plan.gate.horizon_steps,
        chunk_steps: study.plan.gate.chunk_steps,
        action_width: weak.chunk.width,
    })
}
