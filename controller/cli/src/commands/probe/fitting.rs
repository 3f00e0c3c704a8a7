//! Describes rollouts that a probe cannot be fitted or calibrated on, with the file and the row at fault. Fitting counts
//! trajectories and boundaries, but the author of a file counts rows; indices are converted here.

use std::path::PathBuf;

use aegis_core::platt::CalibrateError;
use aegis_core::probe::{LARGEST, ProbeError};
use aegis_probe::calibration::CalibrationError;
use aegis_probe::rollout::Rollout;

use crate::exit::{Exit, Failure, failure, tell};

/// Rollouts, and the name that errors give them.
pub struct Source<'a> {
    name: String,
    /// Exit code where the rollouts cannot be used.
    exit: Exit,
    rollouts: &'a [Rollout],
}

impl<'a> Source<'a> {
    /// Names the rollouts of a range. `file` is the file that they were read from; `None` where they were collected by this call.
    pub fn new(range: &str, file: Option<&PathBuf>, rollouts: &'a [Rollout]) -> Self {
        let (name, exit) = match file {
            Some(path) => (path.display().to_string(), Exit::Input),
            None => (format!("the rollouts of ranges.{range}"), Exit::Failed),
        };
        Self { name, exit, rollouts }
    }

    /// Names rollouts of another program, which were read from a file.
    pub fn foreign(name: String, rollouts: &'a [Rollout]) -> Self {
        Self { name, exit: Exit::Input, rollouts }
    }

    /// Describes why no probe can be fitted on the rollouts.
    pub fn unfit(&self, error: &ProbeError) -> Failure {
        match error {
            ProbeError::OneClass(failed) => self.one_class(*failed),
            ProbeError::Empty => self.refuse(
                "found no episode for this part; valid is one or more: record more episodes, or give the other part in a separate file",
            ),
            ProbeError::Value { trajectory, boundary, index, found } => {
                let before = self.rollouts.iter().take(*trajectory).map(|rollout| rollout.boundaries.len());
                let row = before.sum::<usize>() + boundary;
                self.refuse(&format!(
                    "activation: found row {row}: {found} as value {index}; valid is a finite number up to {LARGEST:e}"
                ))
            }
            other => self.refuse(&other.to_string()),
        }
    }

    /// Describes why no threshold can be set on the rollouts.
    pub fn uncalibrated(&self, error: &CalibrationError) -> Failure {
        match error {
            CalibrationError::Calibrate(CalibrateError::OneClass(failed)) => self.one_class(*failed),
            other => self.refuse(&other.to_string()),
        }
    }

    /// Warns where the activation is the same in every row, so that a probe learns nothing from it.
    pub fn warn_of_constants(&self) {
        let mut rows = self.rollouts.iter().flat_map(|rollout| &rollout.boundaries).map(|row| &row.features);
        let Some(first) = rows.next() else { return };
        if rows.all(|row| row == first) {
            let name = &self.name;
            tell!(
                "warning: {name}: activation: the same in every row, so a probe learns nothing from it; check that it is the \
                 right tensor"
            );
        }
    }

    fn one_class(&self, failed: bool) -> Failure {
        let lost = self.rollouts.iter().filter(|rollout| !rollout.success).count();
        if lost > 0 && lost < self.rollouts.len() {
            return self.refuse(&format!(
                "success: found {lost} of {} episodes lost, too few of one outcome for every fold of the cross-validation; valid is \
                 both outcomes from several starts, or a plan whose fit.folds is smaller",
                self.rollouts.len()
            ));
        }
        let (all, ended) = (self.rollouts.len(), if failed { "lost" } else { "won" });
        self.refuse(&format!(
            "success: found all {all} episodes {ended}; valid is some won and some lost, because a probe separates them"
        ))
    }

    fn refuse(&self, what: &str) -> Failure {
        failure(self.exit, format!("{}: {what}", self.name))
    }
}
