//! Where the episodes of a plan take place: a suite that is simulated in this process, or one whose plants another process serves.
//! Everything that a verb asks of a suite before an episode begins is answered here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aegis_core::policy::Saved;
use aegis_core::{Disturbance, Frame, Observation, Plant, PlantError, Start, Transition};
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Scenes;
use aegis_experiments::plan::served_suite::ServedSuite;
use aegis_sim::{NULL_ACTION, Suite, published};

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::{digest, text};
use crate::scene_digests::scenes;
use crate::suites::{check_suite_name, installed_suites, load_suite, scenes_folder};

/// Suite of a plan.
#[derive(Clone, Debug)]
pub enum World {
    /// Simulated natively.
    Native(Suite),
    /// Served by another process.
    Served {
        /// What this program has to know of it.
        suite: ServedSuite,
        /// The plant file that says so.
        file: PathBuf,
    },
}

impl World {
    /// Loads the suite of a plan whose paths are resolved.
    pub fn of(plan: &Plan) -> Result<Self, Failure> {
        let Some(path) = &plan.plant else {
            return Ok(Self::Native(load_suite(&plan.suite, plan.sample_seed)?));
        };
        check_suite_name(&plan.suite)?;
        let found = ServedSuite::load(path).or_exit(Exit::Input)?;
        let refused = |field: &str, found: &str, valid: &str| {
            Err(failure(Exit::Input, format!("{field}: found {found}; valid is {valid}")))
        };
        if found.suite != plan.suite {
            let valid = format!("{}, the suite of {}", found.suite, path.display());
            return refused("suite", &plan.suite, &valid);
        }
        let native =
            published::names().any(|name| name == plan.suite) || installed_suites().contains(&plan.suite);
        if native {
            return refused(
                "suite",
                &plan.suite,
                "a name that no natively simulated suite has, beside a `plant`",
            );
        }
        if plan.sample_seed.is_some() {
            return refused(
                "sample_seed",
                "a seed",
                "none beside a `plant`, whose initial states are its own",
            );
        }
        if plan.settle_steps > 0 && found.null_action().is_none() {
            let valid =
                "0, because a channel of the plant is a position and has no value at which it stands still";
            return refused("settle_steps", &plan.settle_steps.to_string(), valid);
        }
        Ok(Self::Served { suite: found, file: path.clone() })
    }

    /// Loads the suite of a plan, and checks that it has every task and every start that the plan names. `path` is the plan's file.
    pub fn checked(plan: &Plan, path: &Path) -> Result<Self, Failure> {
        check_suite_name(&plan.suite).map_err(|error| error.prefixed(path.display()))?;
        let world = match &plan.plant {
            Some(_) => Self::of(plan).map_err(|error| error.prefixed(path.display()))?,
            None => Self::of(plan)?,
        };
        plan.check_tasks(path, world.task_count()).or_exit(Exit::Input)?;
        let tasks = plan.task_list(world.task_count());
        let counts = tasks.into_iter().filter_map(|task| world.initial_state_count(task));
        plan.check_starts(path, counts.min().unwrap_or(0)).or_exit(Exit::Input)?;
        Ok(world)
    }

    /// Returns the name of the suite.
    pub fn name(&self) -> &str {
        match self {
            Self::Native(suite) => suite.name(),
            Self::Served { suite, .. } => &suite.suite,
        }
    }

    /// Returns the number of tasks.
    pub fn task_count(&self) -> usize {
        match self {
            Self::Native(suite) => suite.task_count(),
            Self::Served { suite, .. } => suite.tasks.len(),
        }
    }

    /// Returns the instruction of a task in words, or `None` past the last task.
    pub fn instruction(&self, task: usize) -> Option<&str> {
        match self {
            Self::Native(suite) => suite.task(task).map(|task| task.language.as_str()),
            Self::Served { suite, .. } => suite.tasks.get(task).map(String::as_str),
        }
    }

    /// Returns the number of recorded initial states of a task, or `None` past the last task.
    pub fn initial_state_count(&self, task: usize) -> Option<usize> {
        match self {
            Self::Native(suite) => suite.initial_state_count(task),
            Self::Served { suite, .. } => suite.tasks.get(task).map(|_| suite.initial_states),
        }
    }

    /// Returns the action with which the plant stands still. Its length is the number of channels of an action. Zeros where
    /// a channel has no such value; a plan on such a plant has no steps in which this action is sent.
    pub fn null_action(&self) -> Vec<f32> {
        match self {
            Self::Native(_) => NULL_ACTION.to_vec(),
            Self::Served { suite, .. } => {
                suite.null_action().unwrap_or_else(|| vec![0.0; suite.schema.actions().len()])
            }
        }
    }

    /// Returns for each channel of an action whether it is a motion; see [`aegis_core::Schema::motion`].
    pub fn motion(&self) -> Result<Vec<bool>, Failure> {
        match self {
            Self::Native(suite) => {
                let schema = suite.schema(0).transpose().or_exit(Exit::Setup)?;
                Ok(schema.map(|schema| schema.motion()).unwrap_or_default())
            }
            Self::Served { suite, .. } => Ok(suite.schema.motion()),
        }
    }

    /// Digests what the suite is made of: its scenes, or its plant file.
    pub fn scenes(&self) -> Result<Scenes, Failure> {
        match self {
            Self::Native(suite) => scenes(suite.name()),
            Self::Served { suite, file } => {
                let content = suite.content().or_exit(Exit::Input)?;
                let content = aegis_files::sha256_of(content.as_bytes());
                Ok(Scenes::served(suite.suite.clone(), digest(file)?, content))
            }
        }
    }

    /// Returns the versions of the packages that a natively simulated suite was exported from, by package; of others, none.
    pub fn packages(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Self::Native(suite) = self else { return Ok(BTreeMap::new()) };
        let path = scenes_folder(suite.name())?.join("suite.json");
        let suite: serde_json::Value = serde_json::from_str(&text(&path)?)
            .map_err(|error| failure(Exit::Setup, format!("{}: {error}", path.display())))?;
        let listed = suite.get("packages").and_then(serde_json::Value::as_object);
        let versions = listed.into_iter().flatten();
        Ok(versions
            .filter_map(|(name, version)| Some((name.clone(), version.as_str()?.to_owned())))
            .collect())
    }
}

/// Plant of another process that has to announce what a plant file says.
pub struct AnnouncedPlant {
    /// The plant.
    pub plant: Box<dyn Plant>,
    /// What it has to announce.
    pub suite: ServedSuite,
}

impl AnnouncedPlant {
    /// Returns the observation of a reset, after checking that the plant announced what its plant file says.
    fn announced(&self, start: Start, observation: Observation) -> Result<Observation, PlantError> {
        match self.suite.difference(start.task, &observation) {
            None => Ok(observation),
            Some(difference) => Err(PlantError::Backend(format!(
                "the plant is not what the plant file of {} says: {difference}; write the file again with `aegis plan plant`, or \
                 serve the plant that it describes",
                self.suite.suite
            ))),
        }
    }
}

impl Plant for AnnouncedPlant {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.reset_disturbed(start, None)
    }

    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        let observation = self.plant.reset_disturbed(start, disturbance)?;
        self.announced(start, observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.plant.step(action)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }

    fn save(&self) -> Result<Option<Saved>, PlantError> {
        self.plant.save()
    }

    fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
        self.plant.resume(saved)
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        self.plant.frames()
    }
}
