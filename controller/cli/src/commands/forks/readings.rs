//! Weak episodes with their forks at every boundary, and what the heads of a plan's probe read there.

use std::path::PathBuf;

use aegis_core::probe::ProbeError;
use aegis_core::{GateLimits, Heads};
use aegis_experiments::forks::price::{PricedBoundary, PricedEpisode};
use aegis_probe::benefit::Forked;
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
        let joined = Forked::join(&rollouts, &forks)
            .map_err(|error| failure(Exit::Input, format!("{}: {error}", self.file.display())))?;
        let gate = &study.plan.gate;
        let (by_risk, by_benefit) = read_all(&probe.heads(), &rollouts, &joined, gate)
            .map_err(|error| failure(Exit::Input, format!("{}: {error}", self.episodes.display())))?;
        Ok(ForkedRange { study, probe, range, forks, by_risk, by_benefit })
    }
}

/// Returns the episodes as a gate on the risk and a gate on the benefit read them. A head reads every boundary of an episode in order.
fn read_all(
    heads: &Heads,
    rollouts: &[Rollout],
    joined: &Forked<'_>,
    gate: &GateLimits,
) -> Result<(Vec<PricedEpisode>, Vec<PricedEpisode>), ProbeError> {
    let mut all = (Vec::with_capacity(rollouts.len()), Vec::with_capacity(rollouts.len()));
    let mut forked = joined.boundaries.iter().peekable();
    for (place, rollout) in rollouts.iter().enumerate() {
        let mut memory = heads.memory();
        let empty = PricedEpisode { key: rollout.key, success: rollout.success, boundaries: Vec::new() };
        let (mut by_risk, mut by_benefit) = (empty.clone(), empty);
        for (index, boundary) in rollout.boundaries.iter().enumerate() {
            let (score, benefit) = heads.read(&mut memory, &boundary.features)?;
            let Some(here) = forked.next_if(|one| (one.episode, one.index) == (place, index)) else {
                continue;
            };
            let priced = |reading: f64| PricedBoundary::of(here.fork, reading, gate);
            by_risk.boundaries.push(priced(score.risk()));
            by_benefit.boundaries.push(priced(benefit.unwrap_or(f64::NAN)));
        }
        all.0.push(by_risk);
        all.1.push(by_benefit);
    }
    Ok(all)
}
