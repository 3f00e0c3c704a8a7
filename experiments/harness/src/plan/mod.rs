//! Plan: every setting of a study in one TOML file, and the registration of the plan. Unknown keys are refused. Each use of data has
//! a range of initial states of its own; the ranges have to be disjoint.

pub(crate) mod answers;
pub(crate) mod bounds;
pub mod power;
pub mod registration;
mod remarks;
pub mod served_suite;
pub mod study;

use std::path::{Path, PathBuf};

use aegis_core::{Disturbance, EpisodeKey, GateLimits};
use aegis_files::toml_file::{self, TomlError};
use aegis_probe::{Models, StateRange};
use serde::{Deserialize, Serialize};

pub use remarks::Circumstances;

use crate::episode::streams::Streams;
use crate::plan::study::{PreconditionSettings, StudyError, StudySettings};
use aegis_probe::disturbances::DisturbanceSettings;
use aegis_probe::fit::FitSettings;
use aegis_probe::rules::RuleSettings;
use aegis_probe::sensor::SensorNoise;

/// Plan of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the benchmark suite in the cache.
    pub suite: String,
    /// Plant file of a suite whose plants another process serves, relative to the plan's folder; omitted for a suite that is
    /// simulated natively.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plant: Option<PathBuf>,
    /// Tasks of the suite that the plan covers, by index, ascending; all of them where omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<usize>>,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the initial states beyond the recorded ones; without a seed, ranges cannot extend beyond the recorded
    /// ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Control steps of the null action after a reset, before the first counted control step.
    pub settle_steps: u32,
    /// Sensor noise on the observation that policies receive.
    pub sensor: SensorNoise,
    /// Disturbances of the episodes; omitted for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbances: Option<DisturbanceSettings>,
    /// Limits of the gate.
    pub gate: GateLimits,
    /// Rule of the gate.
    pub rule: RuleSettings,
    /// Settings of fitting and calibrating the probe.
    pub fit: FitSettings,
    /// Ranges of initial states for each use.
    pub ranges: Ranges,
    /// Paths of the models and the probe, relative to the plan's folder.
    pub models: Models,
    /// Arms, contrasts and kill criteria. A plan without them can be run, but not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<StudySettings>,
}

/// Ranges of initial states per task, each `[first, end)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Demonstrations that the policies learn from.
    pub training: StateRange,
    /// Rollouts that the probe learns from.
    pub discovery: StateRange,
    /// Rollouts that set the thresholds.
    pub calibration: StateRange,
    /// Rollouts and episodes on which settings are chosen.
    pub tuning: StateRange,
    /// Episodes that the study is judged on.
    pub confirmation: StateRange,
}

/// Error of reading or checking a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read, or is not a plan.
    #[error(transparent)]
    File(#[from] TomlError),
    /// A setting is invalid.
    #[error("{path}: {field}: {reason}", path = path.display())]
    Invalid {
        /// The plan.
        path: PathBuf,
        /// Dotted key of the setting.
        field: String,
        /// Value found and the valid values.
        reason: String,
    },
}

impl Plan {
    /// Parses and checks a plan, with model paths as written. `path` is the plan's file, for messages.
    ///
    /// # Errors
    /// Text that is not a plan, or a setting that is not valid.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PlanError> {
        let plan: Self = toml_file::parse(text, path)?;
        let invalid = |field: &str, reason: String| PlanError::Invalid {
            path: path.to_owned(),
            field: field.to_owned(),
            reason,
        };
        if let Some(tasks) =
            plan.tasks.as_ref().filter(|tasks| tasks.is_empty() || !tasks.is_sorted_by(|a, b| a < b))
        {
            let valid = "one or more tasks of the suite, ascending, each once; leave it out for all of them";
            return Err(invalid("tasks", format!("found {tasks:?}; valid is {valid}")));
        }
        let Models { weak, strong, probe } = &plan.models;
        let named = [("weak", weak), ("strong", strong), ("probe", probe)];
        if let Some((name, _)) = named.into_iter().find(|(_, file)| file.as_os_str().is_empty()) {
            let reason = "found an empty path; valid is a file, relative to the plan's folder";
            return Err(invalid(&format!("models.{name}"), reason.into()));
        }
        plan.check_bounds().map_err(|(field, reason)| invalid(&field, reason))?;
        plan.gate.validate().map_err(|error| {
            invalid(&error.key(), format!("found {}; valid is {}", error.found, error.valid))
        })?;
        plan.rule.validate().map_err(|(field, reason)| invalid(&format!("rule.{field}"), reason))?;
        if let Some(share) = plan.rule.share() {
            let valid = "valid is only in a rule of [study.rules], because [rule] applies to every episode";
            return Err(invalid("rule.share", format!("found {share}; {valid}")));
        }
        plan.ranges.validate().map_err(|(field, reason)| invalid(&field, reason))?;
        plan.sensor.validate().map_err(|reason| invalid("sensor.object_position_sd", reason))?;
        plan.fit.validate().map_err(|(field, reason)| invalid(field, reason))?;
        if let Some(disturbances) = &plan.disturbances {
            let named = |field: &str| ["disturbances", field].join(".").trim_end_matches('.').to_owned();
            disturbances.validate().map_err(|(field, reason)| invalid(&named(&field), reason))?;
        }
        if let Some(study) = &plan.study {
            let checked = study.validate(&plan.rule, &plan.gate);
            checked.map_err(|StudyError { field, reason }| invalid(&field, reason))?;
        }
        plan.check_written().map_err(|(field, reason)| invalid(&field, reason))?;
        Ok(plan)
    }

    /// Resolves model paths against the folder of `path`, from which the plan was read.
    pub fn located(mut self, path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new(""));
        for model in [&mut self.models.weak, &mut self.models.strong, &mut self.models.probe] {
            *model = folder.join(&*model);
        }
        self.plant = self.plant.map(|plant| folder.join(plant));
        self
    }

    /// Returns the disturbance of an episode, which is the same in every arm; `None` for an episode without one.
    pub fn disturbance(&self, key: EpisodeKey) -> Option<Disturbance> {
        let streams = Streams::new(self.master_seed);
        streams.disturbance(key, self.disturbances.as_ref(), self.gate.horizon_steps)
    }

    /// Returns the precondition of the study's first episode, where the plan has one.
    pub fn precondition(&self) -> Option<PreconditionSettings> {
        self.study.as_ref()?.precondition
    }

    /// Returns the plan's tasks, given the number of tasks in the suite.
    pub fn task_list(&self, of_suite: usize) -> Vec<usize> {
        self.tasks.clone().unwrap_or_else(|| (0..of_suite).collect())
    }

    /// Checks that the suite, with `of_suite` tasks, has all tasks of the plan; `path` is the plan's file, for
    /// messages.
    pub fn check_tasks(&self, path: &Path, of_suite: usize) -> Result<(), PlanError> {
        match self.tasks.iter().flatten().find(|task| **task >= of_suite) {
            None => Ok(()),
            Some(task) => Err(PlanError::Invalid {
                path: path.to_owned(),
                field: "tasks".into(),
                reason: format!(
                    "found {task}; valid is 0 to {} of {}",
                    of_suite.saturating_sub(1),
                    self.suite
                ),
            }),
        }
    }

    /// Checks the ranges against the number of recorded initial states of each task; `path` is the plan's file, for
    /// messages.
    pub fn check_starts(&self, path: &Path, recorded: usize) -> Result<(), PlanError> {
        let beyond = self.ranges.named().into_iter().find(|(_, share)| share.end > recorded);
        match beyond {
            Some((name, share)) if self.sample_seed.is_none() => Err(PlanError::Invalid {
                path: path.to_owned(),
                field: format!("ranges.{name}"),
                reason: format!(
                    "found end {}; valid is at most {recorded}, the number of recorded initial states, or any end with a \
                     sample_seed",
                    share.end
                ),
            }),
            _ => Ok(()),
        }
    }
}

impl Ranges {
    /// Returns every range with its name.
    pub fn named(&self) -> [(&'static str, StateRange); 5] {
        [
            ("training", self.training),
            ("discovery", self.discovery),
            ("calibration", self.calibration),
            ("tuning", self.tuning),
            ("confirmation", self.confirmation),
        ]
    }

    fn validate(&self) -> Result<(), (String, String)> {
        let named = self.named();
        for (index, (name, share)) in named.iter().enumerate() {
            let field = format!("ranges.{name}");
            if let Err(reason) = share.validate() {
                return Err((field, reason));
            }
            for (other_name, other) in &named[..index] {
                if share.first < other.end && other.first < share.end {
                    let reason =
                        format!("shares initial states with ranges.{other_name}; valid is disjoint ranges");
                    return Err((field, reason));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> Ranges {
        let share = |first, end| StateRange { first, end, replicates: 1 };
        Ranges {
            training: share(0, 20),
            discovery: share(20, 30),
            calibration: share(30, 35),
            tuning: share(35, 40),
            confirmation: share(40, 50),
        }
    }

    #[test]
    fn ranges_are_disjoint() {
        assert_eq!(ranges().validate(), Ok(()));
        let mut overlapping = ranges();
        overlapping.confirmation.first = 39;
        let (field, reason) = overlapping.validate().unwrap_err();
        assert_eq!(field, "ranges.confirmation");
        assert!(reason.contains("ranges.tuning"), "{reason}");
        let mut empty = ranges();
        empty.training.end = 0;
        assert_eq!(empty.validate().unwrap_err().0, "ranges.training");
    }

    #[test]
    fn ranges_end_with_the_recorded_states_unless_there_is_a_sample_seed() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo.toml");
        let mut plan = Plan::load(&shipped).unwrap();
        assert!(plan.check_starts(&shipped, 50).is_ok());
        plan.sample_seed = None;
        let error = plan.check_starts(&shipped, 50).unwrap_err().to_string();
        for part in ["demo.toml", "ranges.training", "end 120", "at most 50", "sample_seed"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        plan.ranges = ranges();
        assert!(plan.check_starts(&shipped, 50).is_ok());
    }

    #[test]
    fn disturbances_are_part_of_a_plan_and_leave_no_trace_in_a_plan_without_them() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.toml");
        let text = std::fs::read_to_string(&shipped).unwrap();
        let with = |table: &str| Plan::parse(&format!("{text}\n{table}"), &shipped);
        let canonical = |plan: &Plan| registration::canonical_plan(plan).unwrap();
        let plain = with("").unwrap();
        assert!(!canonical(&plain).contains("disturbances"));
        let slip = "[disturbances.slip]\nshare = 0.5\nonset = [0.1, 0.5]\nsteps = [3, 6]\n";
        let disturbed = with(slip).unwrap();
        let other = with(&slip.replace("[3, 6]", "[3, 7]")).unwrap();
        assert!(canonical(&disturbed).contains("\"disturbances\":{\"slip\":{"), "{}", canonical(&disturbed));
        assert_ne!(canonical(&disturbed), canonical(&other));
        let key = EpisodeKey { start: aegis_core::Start { task: 0, initial_state: 500 }, replicate: 0 };
        assert!(plain.disturbance(key).is_none());
        for (from, to, words) in [
            ("0.5\nonset", "2\nonset", &["disturbances.slip.share: found 2; valid is 0 to 1"][..]),
            ("[0.1, 0.5]", "[0.5, 0.1]", &["disturbances.slip.onset: found [0.5, 0.1]", "ascending"]),
            ("[3, 6]", "[0, 6]", &["disturbances.slip.steps: found [0, 6]", "1 to 10000"]),
            ("[3, 6]", "[3]", &["steps", "array of length 2"]),
            ("steps", "step", &["step", "expected"]),
            ("slip", "kick", &["kick", "expected one of `push`, `slip`, `displacement`"]),
            (slip, "[disturbances]\n", &["disturbances: found no kind", "push, slip and displacement"]),
        ] {
            let error = with(&slip.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains("template.toml"), "{error}");
            for word in words {
                assert!(error.contains(word), "{word:?} is missing from: {error}");
            }
        }
    }

    #[test]
    fn tasks_are_those_that_the_plan_names_or_all() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo.toml");
        let mut plan = Plan::load(&shipped).unwrap();
        assert_eq!(plan.task_list(3), [0, 1, 2]);
        plan.tasks = Some(vec![1, 4]);
        assert_eq!(plan.task_list(3), [1, 4]);
        assert!(plan.check_tasks(&shipped, 5).is_ok());
        let error = plan.check_tasks(&shipped, 3).unwrap_err().to_string();
        assert!(error.contains("demo.toml: tasks: found 4; valid is 0 to 2"), "{error}");
    }
}
