//! Runs a study's stored episodes again, and draws them.
//! Each new result is checked byte for byte against the stored one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_core::{Heads, Plant, Recorder, Start};
use aegis_experiments::data::store::Store;
use aegis_experiments::episode::arm::WEAK;
use aegis_experiments::episode::context::{EpisodeContext, EpisodeSettings};
use aegis_experiments::episode::fork;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::run::runner;
use aegis_experiments::{Arm, run_episode};
use aegis_policies::card::ModelCard;
use aegis_recorder::{EpisodeRecording, Sink, Target};

use crate::arms::arms;
use crate::commands::experiment::{Registered, read_store, store_path};
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::host::HostArguments;
use crate::recording;
use crate::remote::RemoteArguments;
use crate::study_loader::{Study, StudyArguments};

/// How an episode is drawn.
pub struct How {
    /// Whether the weak twin is drawn beside the episode.
    pub twin: bool,
    /// The control steps that the viewer plays in a loop; `None` for no loop.
    pub looped: Option<RangeInclusive<u32>>,
}

/// A study's store, with everything that running its episodes again needs.
pub struct Stored {
    folder: PathBuf,
    store: Store,
    study: Study,
    probe: Heads,
    arms: Vec<Arm>,
    settings: EpisodeSettings,
    /// All stored results.
    pub results: Vec<EpisodeResult>,
}

impl Stored {
    /// Opens the study in `folder`, after checking its registration.
    pub fn open(folder: &Path, registered: &Registered, host: &HostArguments) -> Result<Self, Failure> {
        let (_, lock) = registered.verify()?;
        let store = read_store(folder, &lock)?;
        let results = store.results().or_exit(Exit::Input)?;
        if results.is_empty() {
            let reason = "found no episodes; run `aegis experiment run` first";
            return Err(failure(Exit::Input, format!("{}: {reason}", store_path(folder).display())));
        }
        let study = Study::open(&StudyArguments {
            plan: Some(registered.plan.clone()),
            workers: 1,
            host: host.clone(),
            remote: RemoteArguments::default(),
        })?;
        let (probe, arms) = arms(&study)?;
        let settings = study.settings();
        Ok(Self { folder: folder.to_owned(), store, study, probe, arms, settings, results })
    }

    /// Refuses an arm without stored results.
    pub fn check_arm(&self, arm: &str) -> Result<(), Failure> {
        let names: BTreeSet<&str> = self.results.iter().map(|result| result.arm.as_str()).collect();
        if names.contains(arm) {
            return Ok(());
        }
        let valid: Vec<&str> = names.into_iter().collect();
        let reason = format!("--arm: found {arm}; valid is {}", valid.join(", "));
        Err(failure(Exit::Input, format!("{}: {reason}", self.folder.display())))
    }

    /// Returns the stored result of an arm in an episode.
    pub fn result(&self, key: EpisodeKey, arm: &str) -> Result<&EpisodeResult, Failure> {
        self.check_arm(arm)?;
        let found = self.results.iter().find(|result| result.key == key && result.arm == *arm);
        found.ok_or_else(|| {
            let EpisodeKey { start: Start { task, initial_state }, replicate } = key;
            let named = format!("{task}/{initial_state}/{replicate}");
            let reason = format!("--episode: found {named}; valid is an episode in the store");
            failure(Exit::Input, format!("{}: {reason}", self.folder.display()))
        })
    }

    /// Draws an episode, with its weak twin beside it where `how` asks for the twin and the episode is not the twin itself.
    pub fn draw(&self, result: &EpisodeResult, how: &How, to: Target) -> Result<(), Failure> {
        let sink = Sink::open(to).or_exit(Exit::Failed)?;
        let weak = recording::weak_twin(&self.results, result.key);
        let weak = weak.filter(|_| how.twin && result.arm != *WEAK);
        let twin = weak.map(|weak| self.film(weak)).transpose()?;
        let film = self.film(result)?;
        let film = match &how.looped {
            Some(steps) => film.looped(steps.clone()),
            None => film,
        };
        film.draw(twin.as_ref(), sink).or_exit(Exit::Failed)
    }

    /// Returns the loaded study.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// Returns the settings that every episode runs with.
    pub fn settings(&self) -> &EpisodeSettings {
        &self.settings
    }

    /// Returns the digest of the stored results.
    pub fn sha256(&self) -> Result<String, Failure> {
        self.store.sha256().or_exit(Exit::Input)
    }

    /// Returns whether a policy of the study reads pictures.
    pub fn reads_pictures(&self) -> Result<bool, Failure> {
        let models = &self.study.plan.models;
        let reads = |card: &Path| Ok(ModelCard::load(card).or_exit(Exit::Input)?.images().next().is_some());
        Ok(reads(&models.weak)? || reads(&models.strong)?)
    }

    /// Opens the policies around a plant, for [`run_again`](Self::run_again).
    pub fn context(&self, plant: Box<dyn Plant>) -> Result<EpisodeContext, Failure> {
        self.study.parties_around(plant, &self.probe).map_err(|error| failure(Exit::Failed, error))
    }

    /// Runs an episode again, and refuses a result that differs from the stored one by a bit.
    pub fn run_again(
        &self,
        context: &mut EpisodeContext,
        result: &EpisodeResult,
        recorder: &mut dyn Recorder,
    ) -> Result<(), Failure> {
        let arm = self.drawn(result)?;
        let run = run_episode(context, &arm, result.key, &self.settings, recorder);
        let (found, _) = run.or_exit(Exit::Failed)?;
        if self.store.holds(&found).or_exit(Exit::Input)? {
            return Ok(());
        }
        let what = runner::describe(result.key, result.arm.as_str());
        let reason = "run again it is another episode, so nothing is made of it";
        Err(failure(Exit::Failed, format!("{}: {what}: {reason}", self.folder.display())))
    }

    /// Returns the arm of a stored episode as it ran there.
    fn drawn(&self, result: &EpisodeResult) -> Result<Arm, Failure> {
        let arm = self.arms.iter().find(|arm| arm.name == result.arm);
        let arm = arm.ok_or_else(|| {
            failure(Exit::Input, format!("--arm: found {}, which is not in the plan", result.arm))
        })?;
        let twins = self.results.iter().filter(|twin| twin.key == result.key);
        fork::draw(arm, twins, result.key, &self.settings).or_exit(Exit::Failed)
    }

    fn film(&self, result: &EpisodeResult) -> Result<EpisodeRecording, Failure> {
        let drawn = self.drawn(result)?;
        let is_stored = |found: &EpisodeResult| self.store.holds(found).or_exit(Exit::Input);
        recording::film(&self.study, &self.probe, &drawn, &self.settings, result.key, &is_stored)
    }
}
