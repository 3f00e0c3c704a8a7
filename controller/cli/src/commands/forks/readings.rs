//! Weak episodes with their forks at every boundary, and what the heads of a plan's probe read there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aegis_core::{EpisodeKey, Heads};
use aegis_experiments::forks::price::PricedEpisode;
use aegis_probe::file::ProbeFile;
use aegis_probe::fork_file::read;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::rollout::Rollout;
use clap::Args;

use crate::commands::collect::rollouts_of;
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::study_loader::{Study, StudyArguments};

/// Arguments that name forks, their rollouts and the plan.
#[derive(Args)]
pub struct ForkedArguments {
    /// File of forks with every boundary, by `aegis collect RANGE --forks`
    file: PathBuf,
    #[command(flatten)]
    study: StudyArguments,
    /// Rollouts that the forks were collected with
    #[arg(long, value_name = "FILE")]
    episodes: PathBuf,
}

/// Forks of one range of a plan, read by the plan's probe.
pub struct ForkedRange {
    /// The plan.
    pub study: Study,
    /// The plan's probe.
    pub probe: ProbeFile,
    /// Name of the range.
    pub range: String,
    /// Weak episodes with their forks.
    pub forks: Vec<EpisodeForks>,
    /// Risk at every boundary.
    pub by_risk: Vec<PricedEpisode>,
    /// Predicted benefit of a hold at every boundary; infinite without a benefit head.
    pub by_benefit: Vec<PricedEpisode>,
}

impl ForkedArguments {
    /// Reads everything. `unfit` are ranges that the caller's figures must not be set on, and `fit` names one that is valid.
    pub fn open(&self, unfit: &[&str], fit: &str) -> Result<ForkedRange, Failure> {
        let study = Study::open(&self.study)?;
        let probe = study.probe()?;
        let (provenance, forks) = read(&self.file).or_exit(Exit::Input)?;
        let refused = |field: &str, found: String, valid: String| {
            let message = format!("{}: {field}: found {found}; valid is {valid}", self.file.display());
            failure(Exit::Input, message)
        };
        let range = provenance.rollouts.range;
        if unfit.contains(&range.as_str()) {
            return Err(refused("range", range, fit.to_owned()));
        }
        if provenance.gate != study.plan.gate {
            let valid = format!("the table [gate] of {}", study.path.display());
            return Err(refused("gate", "other limits".into(), valid));
        }
        if let Some(most) = provenance.boundaries_per_episode {
            let valid = "every boundary, by `aegis collect --forks` without --boundaries-per-episode: a gate reads them all";
            return Err(refused("boundaries_per_episode", most.to_string(), valid.into()));
        }
        let (rollouts, _) = rollouts_of(&study, &range, Some(&self.episodes))?;
        let readings = Readings::of(&probe.heads(), &rollouts, &forks).map_err(|reason| {
            let (episodes, forks) = (self.episodes.display(), self.file.display());
            failure(Exit::Input, format!("{episodes}: {reason}; valid is the rollouts of {forks}"))
        })?;
        let gate = &study.plan.gate;
        let priced = |values: &[Vec<f64>]| -> Vec<PricedEpisode> {
            forks
                .iter()
                .zip(values)
                .map(|(episode, values)| PricedEpisode::of(episode, values, gate))
                .collect()
        };
        let (by_benefit, by_risk) = (priced(&readings.benefit), priced(&readings.risk));
        Ok(ForkedRange { study, probe, range, forks, by_risk, by_benefit })
    }
}

/// Readings of the heads at every forked boundary, by episode.
struct Readings {
    benefit: Vec<Vec<f64>>,
    risk: Vec<Vec<f64>>,
}

impl Readings {
    /// Reads every rollout with `heads`, boundary by boundary, and keeps what was read where there is a fork.
    fn of(heads: &Heads, rollouts: &[Rollout], forks: &[EpisodeForks]) -> Result<Self, String> {
        let by_key: BTreeMap<EpisodeKey, &Rollout> =
            rollouts.iter().map(|rollout| (rollout.key, rollout)).collect();
        let mut readings = Self { benefit: Vec::new(), risk: Vec::new() };
        for episode in forks {
            let rollout = by_key
                .get(&episode.key)
                .filter(|rollout| (rollout.success, rollout.steps) == (episode.success, episode.steps))
                .ok_or_else(|| {
                    format!("rows: found no rollout that ends as the weak episode of {:?}", episode.key)
                })?;
            let mut memory = heads.memory();
            let mut read: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
            for boundary in &rollout.boundaries {
                let (score, benefit) =
                    heads.read(&mut memory, &boundary.features).map_err(|error| error.to_string())?;
                read.insert(boundary.step, (benefit.unwrap_or(f64::NAN), score.risk()));
            }
            let at = |step: u32| {
                read.get(&step).copied().ok_or_else(|| format!("rows: found no boundary at step {step}"))
            };
            let values = episode.forks.iter().map(|fork| at(fork.step)).collect::<Result<Vec<_>, _>>()?;
            let (benefit, risk) = values.into_iter().unzip();
            readings.benefit.push(benefit);
            readings.risk.push(risk);
        }
        Ok(readings)
    }
}
