//! `aegis experiment run`: runs the episodes of a registered study into a store. A run that was killed is continued from
//! there.

use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_core::Heads;
use aegis_experiments::data::store::Chain;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::run::experiment::{self, Experiment, Shard};
use aegis_experiments::run::precondition;
use aegis_experiments::{Arm, EpisodeSettings};
use aegis_policies::ModelCard;
use aegis_policies::server::ServerSpec;
use clap::Args;

use super::{Registered, judged, keys_of, open_store, read_store};
use crate::arms::arms;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::make_folder;
use crate::host::HostArguments;
use crate::occupied::Occupied;
use crate::progress;
use crate::remote::RemoteArguments;
use crate::served::open_policy;
use crate::study_loader::{Study, StudyArguments, default_workers};

/// Arguments of `aegis experiment run`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis experiment run --plan experiments/study.toml --out runs/study\n  \
                        aegis experiment run --plan experiments/study.toml --shard 2/8 --out runs/part-2"
)]
pub struct RunArguments {
    #[command(flatten)]
    registered: Registered,
    /// Folder of the store; episodes of this study that it has already are not run again
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
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Runs `aegis experiment run`.
pub fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let (_, lock) = arguments.registered.take_over()?;
    let study = Study::open(&StudyArguments {
        plan: Some(arguments.registered.plan.clone()),
        workers: arguments.workers,
        host: arguments.host.clone(),
        remote: arguments.remote.clone(),
    })?;
    study.check_models()?;
    let (probe, arms) = arms(&study)?;
    make_folder(&arguments.out)?;
    let _occupied = Occupied::claim(&arguments.out)?;
    let settings = EpisodeSettings { fork: !arguments.no_fork, ..study.settings() };
    let session = Session { study: &study, probe: &probe, settings: &settings, lock: &lock, arguments };
    if let Some(keys) = precondition::keys(&study.plan, study.world.task_count()) {
        session.hold_precondition(&keys)?;
    }
    let keys = arguments.shard.unwrap_or(Shard::WHOLE).of(&keys_of(&study.plan, &study.world));
    let ran = session.fill(&arguments.out, &keys, &arms, "sets of twins")?;
    say!(
        "{}: {ran} of {} sets of twins run now, {} arms each",
        arguments.out.display(),
        keys.len(),
        arms.len()
    );
    compare_servers(&study)?;
    let store = read_store(&arguments.out, &lock)?;
    if let Some(Chain { head, seals, .. }) = store.chain().or_exit(Exit::Failed)? {
        say!(
            "seal {head} is the last of {seals} seals; quote it elsewhere, so that any later edit of the store is found"
        );
    }
    Ok(())
}

/// Connects to every server behind a WebSocket once more, after the last episode, and checks that its metadata still equal those in
/// the card.
fn compare_servers(study: &Study) -> Result<(), Failure> {
    for path in [&study.plan.models.weak, &study.plan.models.strong] {
        let card = ModelCard::load(path).or_exit(Exit::Input)?;
        let Some(ServerSpec { endpoint, metadata: Some(metadata), .. }) = &card.server else { continue };
        open_policy(&study.runtime, path)
            .map_err(|error| failure(Exit::Failed, format!("after the last episode: {error}")))?;
        tell!("{}: the server at {endpoint} has the same metadata as before: {metadata}", path.display());
    }
    Ok(())
}

/// The study, settings and lock that every episode of one call is run with.
struct Session<'a> {
    study: &'a Study,
    probe: &'a Heads,
    settings: &'a EpisodeSettings,
    lock: &'a Lock,
    arguments: &'a RunArguments,
}

impl Session<'_> {
    /// Runs the sets that the store in a folder lacks. Returns how many sets were run.
    fn fill(
        &self,
        folder: &Path,
        keys: &[EpisodeKey],
        arms: &[Arm],
        what: &'static str,
    ) -> Result<usize, Failure> {
        make_folder(folder)?;
        let store = open_store(folder, self.lock)?;
        let there = store.traces().or_exit(Exit::Failed)?.len();
        let bar = progress::bar(what, keys.len().saturating_sub(there));
        let ran = experiment::run(
            Experiment { folder, store, keys, arms },
            self.study.workers(),
            self.settings,
            &|worker| self.study.context(worker, self.probe),
            &progress::follow(&bar),
        );
        bar.finish_and_clear();
        ran.or_exit(Exit::Failed)
    }

    /// Runs the weak episodes of the precondition, on which the probe is judged before the study, and refuses the study
    /// where the probe's AUROC is not above the plan's floor.
    fn hold_precondition(&self, keys: &[EpisodeKey]) -> Result<(), Failure> {
        let folder = self.arguments.out.join(precondition::FOLDER);
        self.fill(&folder, keys, &[Arm::weak()], "weak episodes of the precondition")?;
        let Some((found, _)) = judged(&self.arguments.out, &self.study.plan, self.lock)? else {
            return Ok(());
        };
        let Some(unmet) = found.unmet() else { return Ok(()) };
        let plan = self.arguments.registered.plan.display();
        let message = format!("{plan}: {unmet}; the study does not start");
        Err(failure(Exit::Failed, message))
    }
}
