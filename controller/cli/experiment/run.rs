//! `aegis experiment run`: the episodes of a registered study, into a store that a killed run goes on from.

use std::path::PathBuf;

use aegis_experiments::EpisodeSettings;
use aegis_experiments::experiment::{self, Experiment, Shard};
use aegis_experiments::store::Store;
use clap::Args;

use super::{Registered, arms, belongs, keys_of, store_path};
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::host::HostArguments;
use crate::progress;
use crate::study::{Study, StudyArguments, default_workers};

/// Arguments of `aegis experiment run`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis experiment run --plan experiments/study.toml --out runs/study\n  \
                        aegis experiment run --plan experiments/study.toml --shard 2/8 --out runs/part-2"
)]
pub struct RunArguments {
    #[command(flatten)]
    registered: Registered,
    /// Folder of the store; what it holds of this study already is not run again
    #[arg(long, value_name = "DIR", default_value = "runs/study")]
    out: PathBuf,
    /// Only this part of the episodes, I of N
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Run every arm from its start instead of from its weak twin's snapshot; the results are the same
    #[arg(long)]
    no_fork: bool,
    /// Worker threads; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = default_workers())]
    workers: usize,
    #[command(flatten)]
    host: HostArguments,
}

/// Runs the verb.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let (_, lock) = arguments.registered.hold()?;
    let study = Study::open(&StudyArguments {
        plan: Some(arguments.registered.plan.clone()),
        workers: arguments.workers,
        host: arguments.host.clone(),
    })?;
    study.check_models()?;
    let (probe, arms) = arms(&study)?;
    let keys = arguments.shard.unwrap_or(Shard::WHOLE).of(&keys_of(&study.plan, &study.suite));
    let named = |error| failure(Exit::Failed, format!("{}: {error}", arguments.out.display()));
    std::fs::create_dir_all(&arguments.out).map_err(named)?;
    let store = Store::open(&store_path(&arguments.out), belongs(&lock)).or_exit(Exit::Input)?;
    let there = store.traces().or_exit(Exit::Failed)?.len();
    let settings = EpisodeSettings { fork: !arguments.no_fork, ..study.settings() };
    let bar = progress::bar("sets of twins", keys.len().saturating_sub(there));
    let open = |_| study.parties(&probe);
    let follow = progress::follow(&bar);
    let ran = experiment::run(
        Experiment { folder: &arguments.out, store, keys: &keys, arms: &arms },
        arguments.workers,
        &settings,
        &open,
        &follow,
    );
    bar.finish_and_clear();
    let ran = ran.or_exit(Exit::Failed)?;
    say!(
        "{}: {ran} of {} sets of twins run now, {} arms each",
        arguments.out.display(),
        keys.len(),
        arms.len()
    );
    Ok(())
}
