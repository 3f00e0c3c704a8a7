//! Forks for `aegis probe`: reads the files, checks them against the plan and the rollouts, and fits the benefit head.

use std::path::{Path, PathBuf};

use aegis_core::probe::HeadKind;
use aegis_probe::benefit::{BenefitError, FittedBenefit, Forked, Part, check_gate, fit, fits};
use aegis_probe::fit::FitSettings;
use aegis_probe::fork_file::read;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::rollout::Rollout;
use clap::Args;

use crate::commands::collect::{differences, provenance};
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
