//! What a probe cannot be fitted or calibrated on, named by the file and the row that it is in.
//! Those who fit know trajectories and boundaries; whoever wrote the file knows rows.

use std::path::PathBuf;

use aegis_core::platt::CalibrateError;
use aegis_core::probe::{LARGEST, ProbeError};
use aegis_experiments::probe::calibration::CalibrationError;
use aegis_experiments::rollouts::Rollout;

use crate::exit::{Exit, Failure, failure, tell};

/// Rollouts and what they are called.
pub struct Source<'a> {
    name: String,
    /// How the verb ends where they are of no use.
    exit: Exit,
    rollouts: &'a [Rollout],
}

impl<'a> Source<'a> {
    /// Rollouts of a range, from a file or run just now.
    pub fn new(range: &str, file: Option<&PathBuf>, rollouts: &'a [Rollout]) -> Self {
        let (name, exit) = match file {
            Some(path) => (path.display().to_string(), Exit::Input),
            None => (format!("the rollouts of ranges.{range}"), Exit::Failed),
        };
        Self { name, exit, rollouts }
    }

    /// Why nothing can be fitted on them.
    pub fn unfit(&self, error: &ProbeError) -> Failure {
        match error {
            ProbeError::OneClass(failed) => self.one_class(*failed),
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

    /// Why no threshold can be set on them.
    pub fn uncalibrated(&self, error: &CalibrationError) -> Failure {
        match error {
            CalibrationError::Calibrate(CalibrateError::OneClass(failed)) => self.one_class(*failed),
            other => self.refuse(&other.to_string()),
        }
    }

    /// Says so where an activation tells nothing, because it never changes.
    pub fn warn_of_constants(&self) {
        let mut rows = self.rollouts.iter().flat_map(|rollout| &rollout.boundaries).map(|row| &row.features);
        let Some(first) = rows.next() else { return };
        if rows.all(|row| row == first) {
            let name = &self.name;
            tell!(
                "warning: {name}: activation: the same in every row, so that a probe learns nothing from it; is the tensor \
                 the right one?"
            );
        }
    }

    fn one_class(&self, failed: bool) -> Failure {
        let (all, ended) = (self.rollouts.len(), if failed { "lost" } else { "won" });
        self.refuse(&format!(
            "success: found all {all} episodes {ended}; valid is some won and some lost, for a probe tells them apart"
        ))
    }

    fn refuse(&self, what: &str) -> Failure {
        failure(self.exit, format!("{}: {what}", self.name))
    }
}
