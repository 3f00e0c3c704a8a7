//! `aegis collect`: runs rollouts of the weak policy over one range of the plan, and writes them as Parquet. `aegis probe`
//! fits, calibrates and judges probes on these files.

mod forks;
#[cfg(feature = "robot")]
mod kept;
#[cfg(feature = "robot")]
mod robot;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_core::Probe;
use aegis_experiments::run::collection::{Collection, CollectionError};
use aegis_experiments::run::fork_files::ForkFiles;
use aegis_experiments::run::rollouts::rollouts;
use aegis_experiments::run::runner::RunError;
use aegis_files::{Written, shown};
use aegis_policies::card::ModelCard;
use aegis_probe::file::Data;
use aegis_probe::origin::{Origin, Starts, difference};
use aegis_probe::rollout::Rollout;
use aegis_probe::rollout_file::{Provenance, SCHEMA, read, write};
use clap::Args;
use serde_json::{Map, Value};

use crate::commands::plan::discovery::versions;
use crate::commands::plan::note;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::{self, digest, text};
use crate::occupied::{LOCK, Occupied};
use crate::progress;
use crate::study_loader::{Study, StudyArguments};

/// Arguments of `aegis collect`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis collect discovery --out runs/discovery.parquet\n  \
                        aegis collect discovery --forks --boundaries-per-episode 6\n  \
                        aegis collect --robot robot.toml --ask --out runs/robot.parquet\n\n\
                        Episodes wait in FILE.collecting until all of them are there; the same call after a kill goes on \
                        from them. On a robot, exit code 1: episodes are missing, because they were not kept or a record ended early; \
                        4: a safe stop or an e-stop ended the call; 5: a signal did.")]
pub struct CollectArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Range of the plan: training, discovery, calibration, tuning or confirmation
    #[cfg_attr(feature = "robot", arg(required_unless_present = "robot"))]
    #[cfg_attr(not(feature = "robot"), arg(required = true))]
    range: Option<String>,
    #[command(flatten)]
    forking: forks::ForkArguments,
    #[cfg(feature = "robot")]
    #[command(flatten)]
    on_robot: robot::RobotArguments,
    /// Where the rollouts go; runs/RANGE.parquet when left out, runs/robot.parquet on a robot
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis collect`.
pub fn run(arguments: &CollectArguments) -> Result<(), Failure> {
    #[cfg(feature = "robot")]
    if let Some(file) = arguments.on_robot.robot() {
        let out = arguments.out.clone().unwrap_or_else(|| "runs/robot.parquet".into());
        check_place(&out)?;
        return robot::run(file, &arguments.on_robot, &out, arguments.json);
    }
    let study = Study::open(&arguments.study)?;
    let range = arguments.range.as_deref().unwrap_or_default();
    let out = arguments.out.clone().unwrap_or_else(|| format!("runs/{range}.parquet").into());
    let keys = study.keys("RANGE", range)?;
    check_place(&out)?;
    files::check_place("--out", &out, Written::Parquet, &study.inputs())?;
    let (provenance, mut about) = (provenance(&study, range)?, about(&study, &keys)?);
    let forks = arguments.forking.open(&study, &out, &provenance)?;
    if let Some(forks) = &forks {
        forks.describe(&mut about);
    }
    // Made before the first episode, so that a folder that cannot be written to is found before anything is run.
    let folder = Collection::place(&out);
    let collection = Collection::open(&folder, &about, provenance.clone()).map_err(|error| {
        let exit = if matches!(error, CollectionError::System { .. }) { Exit::Failed } else { Exit::Input };
        failure(exit, error)
    })?;
    let occupied = Occupied::claim(&folder)?;
    let missing = collection.missing(&keys);
    if missing.len() < keys.len() {
        let there = keys.len() - missing.len();
        tell!("{range}: {there} of {} episodes are there from an earlier call", keys.len());
    }
    note(arguments.study.plan.as_ref(), &study.plan, "aegis collect", range, missing.len())?;
    let ran = match &forks {
        Some(forks) => forks.run(&study, range, &missing, &collection),
        None => roll_out(&study, range, &missing, &|rollout| Ok(collection.keep(rollout)?)).map(drop),
    };
    let names: Vec<String> =
        keys.iter().filter(|_| forks.is_some()).map(|key| ForkFiles::name(*key)).collect();
    let beside: Vec<&str> = names.iter().map(String::as_str).chain([LOCK]).collect();
    if let Err(error) = ran {
        // What ended before its first episode, such as a plant that is not served, leaves nothing to go on from.
        if collection.missing(&keys).len() == keys.len() {
            collection.remove(&[], &beside).or_exit(Exit::Failed)?;
        }
        return Err(error);
    }
    let found = collection.all(&keys).or_exit(Exit::Failed)?;
    let effort = forks.as_ref().map(|forks| forks.write(&keys)).transpose()?;
    write(&out, &provenance, &found).or_exit(Exit::Failed)?;
    collection.remove(&keys, &beside).or_exit(Exit::Failed)?;
    drop(occupied);
    let Data { sha256, episodes, lost, .. } = Data::of(&found);
    let forked = forks.as_ref().zip(effort);
    if arguments.json {
        let mut summary =
            serde_json::json!({ "file": shown(&out), "episodes": episodes, "lost": lost, "sha256": sha256 });
        if let Some((forks, effort)) = forked {
            summary["forks"] = serde_json::json!({ "file": shown(&forks.out), "effort": effort });
        }
        say!("{summary}");
        return Ok(());
    }
    say!("{}: {episodes} episodes, weak lost {lost}", out.display());
    if let Some((forks, effort)) = forked {
        say!(
            "{}: {} boundaries, {} branches run, {} known without a run",
            forks.out.display(),
            effort.forks,
            effort.branches_run,
            effort.branches_shared
        );
    }
    Ok(())
}

/// Refuses an output path that is not the path of a regular file.
fn check_place(out: &Path) -> Result<(), Failure> {
    let valid = "valid is a place for a file";
    if out.file_name().is_none() || out.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(failure(Exit::Input, format!("--out: found {}; {valid}", out.display())));
    }
    match std::fs::metadata(out) {
        Ok(there) if !there.is_file() => {
            let what = if there.is_dir() { "a folder" } else { "something that is no regular file" };
            Err(failure(Exit::Input, format!("--out: {}: found {what}; {valid}", out.display())))
        }
        _ => Ok(()),
    }
}

/// Rolls the weak policy out from these keys of one range; `keep` receives each rollout as soon as it is finished.
fn roll_out(
    study: &Study,
    range: &str,
    keys: &[EpisodeKey],
    keep: &(dyn Fn(&Rollout) -> Result<(), RunError> + Sync),
) -> Result<Vec<Rollout>, Failure> {
    study.check_models()?;
    let (_, spec) = study.watched()?;
    let blank = Probe::blank(spec.width).into();
    let settings = study.settings();
    let bar = progress::bar(range.to_owned(), keys.len());
    let open = |worker| study.context(worker, &blank);
    let found = rollouts(keys, study.workers(), &settings, &open, &progress::follow(&bar), keep);
    bar.finish_and_clear();
    found.or_exit(Exit::Failed)
}

/// Returns the rollouts of one range, and their origin. Reads them from `file` and checks its rows and its provenance
/// against the plan; where no file is given, runs them.
pub fn rollouts_of(
    study: &Study,
    range: &str,
    file: Option<&PathBuf>,
) -> Result<(Vec<Rollout>, Origin), Failure> {
    let expected = provenance(study, range)?;
    let Some(path) = file else {
        let keys = study.keys("RANGE", range)?;
        let rollouts = roll_out(study, range, &keys, &|_| Ok(()))?;
        let origin = expected.origin(&rollouts);
        return Ok((rollouts, origin));
    };
    let (found, rollouts) = read(path).or_exit(Exit::Input)?;
    let (card, spec) = study.watched()?;
    let width = rollouts.iter().flat_map(|rollout| &rollout.boundaries).map(|row| row.features.len()).next();
    if let Some(width) = width.filter(|width| *width != spec.width) {
        let (file, card) = (path.display(), card.path.display());
        let valid = format!("{}, activation.width of {card}", spec.width);
        return Err(failure(
            Exit::Input,
            format!("{file}: activation: found {width} values a row; valid is {valid}"),
        ));
    }
    // Plans may give one name to different initial states, so the starts of the rows are compared, too.
    if let (Some(rows), Some(valid)) = (&found.starts, &expected.starts)
        && rows != valid
        && found.range == range
    {
        let there = rollouts.iter().map(|rollout| rollout.key).collect();
        let all = study.keys("RANGE", range)?.into_iter().collect();
        let message = format!(
            "{}: rows: found initial states {rows}; valid is every episode of {valid}, the plan's ranges.{range}; {}",
            path.display(),
            difference(&there, &all),
        );
        return Err(failure(Exit::Input, message));
    }
    // Fields that an older file lacks are not compared.
    let expected = Provenance {
        schema: found.schema,
        starts: found.starts.clone(),
        suite_sha256: expected.suite_sha256.filter(|_| found.suite_sha256.is_some()),
        sensor: expected.sensor.filter(|_| found.sensor.is_some()),
        settle_steps: expected.settle_steps.filter(|_| found.settle_steps.is_some()),
        ..expected
    };
    if let Some(differ) = differences(&found, &expected) {
        let message = format!("{}: these rollouts are of something else: {differ}", path.display());
        return Err(failure(Exit::Input, message));
    }
    let origin = found.origin(&rollouts);
    Ok((rollouts, origin))
}

/// Returns the fields in which a provenance differs from the plan's, with both values; `None` where they are equal.
pub fn differences(found: &Provenance, expected: &Provenance) -> Option<String> {
    if found == expected {
        return None;
    }
    let written = |provenance: &Provenance| serde_json::to_value(provenance).unwrap_or_default();
    let (found, expected) = (written(found), written(expected));
    // A field that only one of them has, such as disturbances, differs too.
    let names = expected.as_object().into_iter().chain(found.as_object()).flat_map(Map::keys);
    let fields: BTreeSet<&String> = names.filter(|field| found[*field] != expected[*field]).collect();
    let differ = fields
        .into_iter()
        .map(|field| format!("{field} is {}, the plan's is {}", found[field], expected[field]));
    Some(differ.collect::<Vec<_>>().join("; "))
}

/// Returns, by name, everything besides an episode's key that determines the episode's result. [`Collection::open`] refuses
/// to continue a collection that was begun with other values.
fn about(study: &Study, keys: &[EpisodeKey]) -> Result<Map<String, Value>, Failure> {
    let (plan, host) = (&study.plan, study.runtime.settings());
    let mut about = Map::new();
    let mut add = |name: &str, value: Value| about.insert(name.to_owned(), value);
    add("program", crate::VERSION.into());
    for (name, version) in versions()?.into_iter().filter(|(name, _)| name != "aegis") {
        add(&name, version.into());
    }
    add("scenes", study.world.scenes()?.sha256.into());
    for (name, card) in [("weak", &plan.models.weak), ("strong", &plan.models.strong)] {
        add(&format!("{name} card"), card_digest(card)?.into());
        add(&format!("{name} model"), ModelCard::load(card).or_exit(Exit::Input)?.model_sha256().into());
    }
    add("provider", format!("{:?}", host.provider).into());
    add("threads", host.threads.into());
    for (name, value) in [
        ("suite", serde_json::to_value(&plan.suite)),
        ("master_seed", serde_json::to_value(plan.master_seed)),
        ("sample_seed", serde_json::to_value(plan.sample_seed)),
        ("starts", serde_json::to_value(Starts::of(keys.iter().copied()))),
        ("horizon_steps", serde_json::to_value(plan.gate.horizon_steps)),
        ("chunk_steps", serde_json::to_value(plan.gate.chunk_steps)),
        ("sensor", serde_json::to_value(plan.sensor)),
        ("settle_steps", serde_json::to_value(plan.settle_steps)),
    ] {
        add(name, value.or_exit(Exit::Failed)?);
    }
    // Left out for a plan without disturbances: a collection that an older version began has no such entry, and can be continued.
    if let Some(disturbances) = &plan.disturbances {
        add("disturbances", serde_json::to_value(disturbances).or_exit(Exit::Failed)?);
    }
    Ok(about)
}

/// Returns the SHA-256 of a card. Where a served policy is reached, and how long it may take, decides no episode, so neither is part of
/// the digest.
fn card_digest(path: &Path) -> Result<String, Failure> {
    let mut card: toml::Table = toml::from_str(&text(path)?).or_exit(Exit::Input)?;
    let Some(server) = card.get_mut("server").and_then(toml::Value::as_table_mut) else {
        return digest(path);
    };
    server.retain(|key, _| !["endpoint", "deadline_ms"].contains(&key));
    let content = toml::to_string(&card).or_exit(Exit::Failed)?;
    Ok(aegis_files::sha256_of(content.as_bytes()))
}

pub fn provenance(study: &Study, range: &str) -> Result<Provenance, Failure> {
    let (weak, spec) = study.watched()?;
    let strong = ModelCard::load(&study.plan.models.strong).or_exit(Exit::Input)?;
    Ok(Provenance {
        schema: SCHEMA,
        suite: study.plan.suite.clone(),
        suite_sha256: Some(study.world.scenes()?.content_sha256()),
        master_seed: study.plan.master_seed,
        sample_seed: study.plan.sample_seed,
        range: range.to_owned(),
        starts: Some(Starts::of(study.keys("RANGE", range)?)),
        weak_sha256: weak.model_sha256(),
        strong_sha256: strong.model_sha256(),
        tensor: spec.tensor,
        horizon_steps: study.plan.gate.horizon_steps,
        chunk_steps: study.plan.gate.chunk_steps,
        action_width: weak.chunk.width,
        sensor: Some(study.plan.sensor),
        settle_steps: Some(study.plan.settle_steps),
        disturbances: study.plan.disturbances,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_policy_is_served_is_no_part_of_what_its_rollouts_are_of() {
        let folder = aegis_files::Scratch::within(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("mine.toml");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            card_digest(&path).unwrap()
        };
        let card =
            "sha256 = \"00\"\n[server]\nendpoint = \"tcp/127.0.0.1:1\"\ndeadline_ms = 5\nname = \"mine\"\n";
        let first = of(card);
        assert_eq!(of(&card.replace(":1", ":2").replace("= 5", "= 50")), first);
        assert_ne!(of(&card.replace("mine", "yours")), first);
        let file = "file = \"mine.onnx\"\nsha256 = \"00\"\n";
        assert_eq!(of(file), aegis_files::sha256_of(file.as_bytes()), "as before for a file");
    }
}
