//! `aegis collect RANGE --forks`: rollouts with the outcomes of the strong policy driving for one hold, or to the end, from the
//! boundaries of each weak episode.

use std::path::{Path, PathBuf};

use aegis_core::{EpisodeKey, Probe};
use aegis_experiments::episode::context::EpisodeError;
use aegis_experiments::episode::counterfactual::check_limits;
use aegis_experiments::forks::Effort;
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::digest as canonical_digest;
use aegis_experiments::run::collection::Collection;
use aegis_experiments::run::fork_files::ForkFiles;
use aegis_experiments::run::forks::forked_rollouts;
use aegis_experiments::run::runner::RunError;
use aegis_files::Written;
use aegis_probe::file::ProbeFile;
use aegis_probe::fork_file::{ForkProvenance, SCHEMA};
use aegis_probe::rollout_file::Provenance;
use clap::Args;
use serde_json::{Map, Value};

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::{check_place, digest};
use crate::progress;
use crate::study_loader::Study;

/// Arguments of `aegis collect` about forks.
#[derive(Args)]
pub struct ForkArguments {
    /// At each boundary where a gate may fire, also run the strong policy for one hold and to the end; the outcomes go beside the
    /// rollouts, to NAME.forks.parquet
    #[arg(long)]
    #[cfg_attr(feature = "robot", arg(conflicts_with = "robot"))]
    forks: bool,
    /// Fork at so many boundaries of each episode, drawn at random, instead of all of them
    #[arg(long, value_name = "N", requires = "forks", value_parser = clap::value_parser!(u32).range(1..))]
    boundaries_per_episode: Option<u32>,
    /// Keep the risk that this probe reads at each forked boundary
    #[arg(long, value_name = "FILE", requires = "forks")]
    probe: Option<PathBuf>,
}

/// Forks that a collection makes beside its rollouts.
pub struct Forks {
    /// Path of the file of forks.
    pub out: PathBuf,
    files: ForkFiles,
    most: Option<u32>,
    probe: Option<Probe>,
    /// What determines the forks, besides what determines the rollouts, by name.
    about: Map<String, Value>,
}

impl ForkArguments {
    /// Returns the forks that are asked for, if they are; `out` is the file of the rollouts.
    pub fn open(&self, study: &Study, out: &Path, rollouts: &Provenance) -> Result<Option<Forks>, Failure> {
        if !self.forks {
            return Ok(None);
        }
        study.native_suite("--forks, which continues one episode in several ways,")?;
        check_limits(&study.plan.gate)
            .map_err(|error| failure(Exit::Input, format!("{}: {error}", study.path.display())))?;
        let beside = ForkFiles::beside(out);
        let inputs: Vec<&Path> = study.inputs().into_iter().chain(self.probe.as_deref()).collect();
        check_place("--out", &beside, Written::Parquet, &inputs)?;
        let (card, spec) = study.watched()?;
        let load = |path: &PathBuf| {
            let file = ProbeFile::load(path, &card.model_sha256(), &spec.tensor, spec.width);
            Ok::<_, Failure>((file.or_exit(Exit::Input)?.probe, digest(path)?))
        };
        let (probe, probe_sha256) = self.probe.as_ref().map(load).transpose()?.unzip();
        let written = serde_json::to_value(Plan::read(&study.path).or_exit(Exit::Input)?);
        let plan_sha256 = canonical_digest(&written.or_exit(Exit::Failed)?);
        let mut about = Map::new();
        about.insert("forks of plan".into(), plan_sha256.clone().into());
        about.insert("boundaries per episode".into(), self.boundaries_per_episode.into());
        about.insert("probe".into(), probe_sha256.clone().into());
        let provenance = ForkProvenance {
            schema: SCHEMA,
            plan_sha256,
            rollouts: rollouts.clone(),
            gate: study.plan.gate.clone(),
            boundaries_per_episode: self.boundaries_per_episode,
            probe_sha256,
        };
        let files = ForkFiles::new(out, provenance);
        Ok(Some(Forks { out: beside, files, most: self.boundaries_per_episode, probe, about }))
    }
}

impl Forks {
    /// Adds what determines the forks to what determines the rollouts.
    pub fn describe(&self, about: &mut Map<String, Value>) {
        about.extend(self.about.clone());
    }

    /// Runs these keys, and stores each episode's forks and then its rollout.
    pub fn run(
        &self,
        study: &Study,
        range: &str,
        keys: &[EpisodeKey],
        collection: &Collection,
    ) -> Result<(), Failure> {
        study.check_models()?;
        let (_, spec) = study.watched()?;
        let probe = self.probe.clone().unwrap_or_else(|| Probe::blank(spec.width)).into();
        let bar = progress::bar(format!("{range}, with forks"), keys.len());
        let found = forked_rollouts(
            keys,
            study.workers(),
            &study.settings(),
            (self.most, self.probe.is_some()),
            &|worker| study.context(worker, &probe),
            &progress::follow(&bar),
            &|rollout, forks| {
                self.files.keep(forks)?;
                Ok(collection.keep(rollout)?)
            },
        );
        bar.finish_and_clear();
        found.map_err(|error| {
            let is_refused = matches!(&error, RunError::Job { source: EpisodeError::NoSnapshots(_), .. });
            failure(if is_refused { Exit::Input } else { Exit::Failed }, error)
        })
    }

    /// Writes the forks of all keys into one file.
    pub fn write(&self, keys: &[EpisodeKey]) -> Result<Effort, Failure> {
        let episodes = self.files.all(keys).or_exit(Exit::Failed)?;
        self.files.write(&self.out, &episodes).or_exit(Exit::Failed)?;
        Ok(Effort::of(&episodes))
    }
}
