//! Forks for `aegis probe`: reads the files, checks them against the plan and the rollouts, fits the benefit head and judges it.

use std::path::{Path, PathBuf};

use aegis_core::probe::HeadKind;
use aegis_probe::benefit::{BenefitError, FittedBenefit, Forked, Part, check_gate, evaluate, fit, fits};
use aegis_probe::evaluation::Evaluation;
use aegis_probe::file::ProbeFile;
use aegis_probe::fit::FitSettings;
use aegis_probe::fork_file::read;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::hold_out::{Episodes, HoldOutError, hold_out};
use aegis_probe::rollout::Rollout;
use clap::Args;

use crate::commands::collect::{differences, provenance};
use crate::commands::forks::duty;
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::progress;
use crate::study_loader::Study;

/// Arguments of `aegis probe fit` about the benefit head.
#[derive(Args)]
pub struct ForkFitArguments {
    /// Forks of the discovery rollouts, by `aegis collect discovery --forks`: also fit a benefit head, which the rule benefit reads
    #[arg(long, value_name = "FILE", requires = "calibration_forks", conflicts_with = "rollouts")]
    forks: Option<PathBuf>,
    /// Forks of the calibration rollouts, to calibrate the benefit head on
    #[arg(long, value_name = "FILE", requires = "forks")]
    calibration_forks: Option<PathBuf>,
    /// Kind of the benefit head, linear or mlp; the risk head's when left out
    #[arg(long, value_name = "KIND", requires = "forks")]
    benefit_head: Option<HeadKind>,
}

/// Arguments of `aegis probe eval` about forks and tasks left out.
#[derive(Args)]
pub struct ForkEvalArguments {
    /// Forks of the fresh rollouts, by `aegis collect RANGE --forks`: also judge how well scores rank boundaries by the benefit of a hold
    #[arg(long, value_name = "FILE", conflicts_with = "rollouts")]
    forks: Option<PathBuf>,
    /// Budget of one hold in an episode: strong steps of all episodes together, as a share of their horizons; half a hold in every
    /// episode when left out
    #[arg(long, value_name = "DUTY", requires = "forks", value_parser = duty)]
    budget: Option<f64>,
    /// For every group of K tasks, in order, fit on the discovery episodes of the other tasks, and judge on this group
    #[arg(long, value_name = "K", conflicts_with = "rollouts")]
    hold_out_tasks: Option<usize>,
    /// Forks of the discovery rollouts, so that benefit heads are fitted without the tasks left out, too
    #[arg(long, value_name = "FILE", requires = "hold_out_tasks", requires = "forks")]
    discovery_forks: Option<PathBuf>,
}

/// Forks of an evaluation.
pub struct EvalForks {
    fresh: Option<ForkSet>,
    discovery: Option<ForkSet>,
}

impl ForkEvalArguments {
    /// Reads the forks that were given; `range` is the range of the fresh rollouts.
    pub fn read(&self, study: &Study, range: &str) -> Result<EvalForks, Failure> {
        let read = |range, path: &Option<PathBuf>| {
            path.as_ref().map(|path| ForkSet::read(study, range, path)).transpose()
        };
        Ok(EvalForks {
            fresh: read(range, &self.forks)?,
            discovery: read("discovery", &self.discovery_forks)?,
        })
    }

    /// Adds the figures on forks and on tasks left out to an evaluation on the same rollouts.
    pub fn evaluate(
        &self,
        forks: &EvalForks,
        (study, file): (&Study, &ProbeFile),
        (discovery, fresh): (&[Rollout], &[Rollout]),
        motion: &[bool],
        found: &mut Evaluation,
    ) -> Result<(), Failure> {
        let joined = forks.fresh.as_ref().map(|set| set.join(fresh)).transpose()?;
        let fitted = forks.discovery.as_ref().map(|set| set.join(discovery)).transpose()?;
        let (gate, seed) = (&study.plan.gate, study.plan.master_seed);
        if let Some(joined) = &joined {
            let steps = (gate.horizon_steps, gate.hold_steps());
            let judged = evaluate(file, (fresh, joined), motion, steps, self.budget, seed);
            found.benefit = Some(judged.or_exit(Exit::Failed)?);
        }
        if let Some(count) = self.hold_out_tasks {
            let episodes = (
                Episodes { rollouts: discovery, forked: fitted.as_ref() },
                Episodes { rollouts: fresh, forked: joined.as_ref() },
            );
            let left_out = hold_out(file, episodes, count, gate.horizon_steps, seed).map_err(|error| {
                let is_input = !matches!(error, HoldOutError::Evaluation(_));
                failure(if is_input { Exit::Input } else { Exit::Failed }, error)
            });
            found.hold_out = Some(left_out?);
        }
        Ok(())
    }
}

/// Forks that a benefit head is fitted and calibrated on.
pub struct FitForks {
    discovery: ForkSet,
    calibration: ForkSet,
    settings: FitSettings,
    hold_steps: u32,
}

/// Both sets of forks with their rollouts.
pub struct JoinedForks<'a> {
    discovery: Forked<'a>,
    calibration: Forked<'a>,
}

/// Forks of one range, and their file.
pub struct ForkSet {
    path: PathBuf,
    episodes: Vec<EpisodeForks>,
}

impl ForkFitArguments {
    /// Returns the files that were given.
    pub fn files(&self) -> [Option<&Path>; 2] {
        [self.forks.as_deref(), self.calibration_forks.as_deref()]
    }

    /// Reads the forks, if they were given. `settings` are those of the risk head.
    pub fn read(&self, study: &Study, settings: &FitSettings) -> Result<Option<FitForks>, Failure> {
        let (Some(forks), Some(calibration_forks)) = (&self.forks, &self.calibration_forks) else {
            return Ok(None);
        };
        let head = self.benefit_head.unwrap_or(settings.head);
        if head == HeadKind::Recurrent {
            return Err(failure(Exit::Input, BenefitError::Recurrent));
        }
        Ok(Some(FitForks {
            discovery: ForkSet::read(study, "discovery", forks)?,
            calibration: ForkSet::read(study, "calibration", calibration_forks)?,
            settings: FitSettings { head, ..settings.clone() },
            hold_steps: study.plan.gate.hold_steps(),
        }))
    }
}

impl FitForks {
    /// Joins both sets with their rollouts.
    pub fn join<'a>(
        &'a self,
        discovery: &'a [Rollout],
        calibration: &'a [Rollout],
    ) -> Result<JoinedForks<'a>, Failure> {
        Ok(JoinedForks {
            discovery: self.discovery.join(discovery)?,
            calibration: self.calibration.join(calibration)?,
        })
    }

    /// Fits and calibrates the benefit head.
    pub fn fit(&self, joined: &JoinedForks<'_>) -> Result<FittedBenefit, Failure> {
        let bar = progress::bar("fits of benefit", fits(&self.settings));
        let parts = (&joined.discovery, &joined.calibration);
        let found = fit(parts, &self.settings, self.hold_steps, &|| bar.inc());
        bar.finish_and_clear();
        found.map_err(|error| match error.part() {
            Some(Part::Discovery) => self.discovery.refuse(&error.to_string()),
            Some(Part::Calibration) => self.calibration.refuse(&error.to_string()),
            None => failure(Exit::Input, error),
        })
    }
}

impl ForkSet {
    /// Reads the forks of a range, and checks that they are of the plan's episodes and were made under its gate.
    pub fn read(study: &Study, range: &str, path: &Path) -> Result<Self, Failure> {
        let (found, episodes) = read(path).or_exit(Exit::Input)?;
        let set = Self { path: path.to_owned(), episodes };
        if let Some(differ) = differences(&found.rollouts, &provenance(study, range)?) {
            return Err(set.refuse(&format!("these forks are of something else: {differ}")));
        }
        check_gate(&found.gate, &study.plan.gate).map_err(|error| set.refuse(&error.to_string()))?;
        Ok(set)
    }

    /// Joins the forks with the rollouts of their range.
    pub fn join<'a>(&'a self, rollouts: &'a [Rollout]) -> Result<Forked<'a>, Failure> {
        Forked::join(rollouts, &self.episodes).map_err(|error| self.refuse(&error.to_string()))
    }

    fn refuse(&self, what: &str) -> Failure {
        failure(Exit::Input, format!("{}: {what}", self.path.display()))
    }
}
