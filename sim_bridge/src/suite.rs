//! An exported suite on disk: what `suite.json` and each `task.json` say, and the initial states.
//! Models are compiled when first asked for and shared from then on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::policy::PlantError;
use ndarray::{Array2, ArrayView1};
use ndarray_npy::ReadNpyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::binding::BoundTask;
use crate::goal::{Goal, GoalError};

/// The layout of the exported files that this code reads.
const SCHEMA: u32 = 1;

/// Why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A JSON file does not say what is needed.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Field and position.
        source: serde_json::Error,
    },
    /// The initial states are no array of doubles.
    #[error("{path}: {source}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ndarray_npy::ReadNpyError,
    },
    /// A value does not fit.
    #[error("{path}: {field}: found {found}, valid is {valid}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it says.
        found: String,
        /// What would do.
        valid: String,
    },
    /// The goal cannot be evaluated here.
    #[error("{path}: goal: {source}")]
    Goal {
        /// The file.
        path: PathBuf,
        /// Which predicate.
        source: GoalError,
    },
    /// MuJoCo refuses the scene.
    #[error("{path}: {message}")]
    Model {
        /// The file.
        path: PathBuf,
        /// MuJoCo's message.
        message: String,
    },
}

/// One exported task, as `task.json` describes it. Names are MuJoCo names unless said otherwise.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskInfo {
    schema: u32,
    /// Name within the suite.
    pub name: String,
    /// The instruction in words.
    pub language: String,
    /// Conjunction of predicates: lower-case name, then arguments as the task description names them.
    pub goal: Vec<Vec<String>>,
    /// Movable objects in upstream's order.
    pub objects: Vec<ObjectInfo>,
    /// Fixtures in upstream's order.
    pub fixtures: Vec<ObjectInfo>,
    /// The robot's parts.
    pub robot: RobotInfo,
    /// The arm controller's constants.
    pub controller: ControllerInfo,
    /// What upstream's memory holds after a reset.
    pub after_reset: AfterReset,
    /// Control steps per second.
    pub control_freq: f64,
    /// Physics steps per control step.
    pub substeps: u32,
    /// Seconds per physics step.
    pub timestep: f64,
    /// Generalised coordinates.
    pub nq: usize,
    /// Degrees of freedom.
    pub nv: usize,
    /// Actuators.
    pub nu: usize,
}

/// An object or a fixture.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectInfo {
    /// Name in the task description.
    pub name: String,
    /// Its body.
    pub root_body: String,
    /// Geoms that count as touching it.
    pub contact_geoms: Vec<String>,
}

/// The robot's joints, actuators and grip site.
#[derive(Clone, Debug, Deserialize)]
pub struct RobotInfo {
    /// Base to wrist.
    pub arm_joints: Vec<String>,
    /// One per arm joint.
    pub arm_actuators: Vec<String>,
    /// N·m, one per arm joint.
    pub torque_low: Vec<f64>,
    /// N·m, one per arm joint.
    pub torque_high: Vec<f64>,
    /// One per finger.
    pub gripper_joints: Vec<String>,
    /// One per finger.
    pub gripper_actuators: Vec<String>,
    /// Change of the normalised finger command per physics step.
    pub gripper_speed: f64,
    /// Sign of each finger's motion under a positive action.
    pub gripper_direction: Vec<f64>,
    /// The controlled frame.
    pub grip_site: String,
}

/// Constants of the operational-space controller; see [`crate::osc::Osc`].
#[derive(Clone, Debug, Deserialize)]
pub struct ControllerInfo {
    /// Stiffness, `[6]`.
    pub kp: Vec<f64>,
    /// Damping, `[6]`.
    pub kd: Vec<f64>,
    /// Command range, `[6]`.
    pub input_min: Vec<f64>,
    /// Command range, `[6]`.
    pub input_max: Vec<f64>,
    /// Motion range, `[6]`.
    pub output_min: Vec<f64>,
    /// Motion range, `[6]`.
    pub output_max: Vec<f64>,
    /// Null-space posture, `[7]`.
    pub initial_joint: Vec<f64>,
}

/// Memory that upstream's `set_init_state` does not touch.
#[derive(Clone, Debug, Deserialize)]
pub struct AfterReset {
    /// The controller's target, `[3]`.
    pub goal_position: Vec<f64>,
    /// The controller's target, row-major `[9]`.
    pub goal_orientation: Vec<f64>,
    /// Normalised finger commands, `[2]`.
    pub gripper_action: Vec<f64>,
    /// The solver's warm start, `[nv]`.
    pub qacc_warmstart: Vec<f64>,
    /// Actuator commands, `[nu]`.
    pub ctrl: Vec<f64>,
    /// The arm as the controller last read it.
    pub arm: ArmInfo,
}

/// An arm state without its bias torques; see [`crate::osc::ArmState`]. Matrices are row-major.
#[derive(Clone, Debug, Deserialize)]
pub struct ArmInfo {
    /// `[3]`
    pub position: Vec<f64>,
    /// `[3, 3]`
    pub orientation: Vec<f64>,
    /// `[7]`
    pub joint_positions: Vec<f64>,
    /// `[7]`
    pub joint_velocities: Vec<f64>,
    /// `[3, 7]`
    pub translational_jacobian: Vec<f64>,
    /// `[3, 7]`
    pub rotational_jacobian: Vec<f64>,
    /// `[7, 7]`
    pub mass_matrix: Vec<f64>,
}

#[derive(Deserialize)]
struct SuiteFile {
    schema: u32,
    suite: String,
    tasks: Vec<String>,
}

#[derive(Debug)]
struct Task {
    folder: PathBuf,
    info: TaskInfo,
    initial_states: Array2<f64>,
    bound: Mutex<Option<Arc<BoundTask>>>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    tasks: Vec<Task>,
}

/// A suite of tasks. Cheap to clone; clones share the compiled models.
#[derive(Clone, Debug)]
pub struct Suite {
    inner: Arc<Inner>,
}

impl Suite {
    /// Reads the suite that `export_scenes.py` wrote to `dir`, and checks every task but its model.
    pub fn load(dir: &Path) -> Result<Self, SuiteError> {
        let path = dir.join("suite.json");
        let file: SuiteFile = read_json(&path)?;
        check_schema(&path, file.schema)?;
        let tasks = file
            .tasks
            .iter()
            .enumerate()
            .map(|(index, name)| Task::load(dir.join(format!("tasks/{index:02}")), name))
            .collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { name: file.suite, tasks }) })
    }

    /// The suite's name, for example `libero_spatial`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How many tasks it has.
    pub fn task_count(&self) -> usize {
        self.inner.tasks.len()
    }

    /// One task's description, or `None` past the last.
    pub fn task(&self, task: usize) -> Option<&TaskInfo> {
        self.inner.tasks.get(task).map(|task| &task.info)
    }

    /// How many initial states a task has, or `None` past the last task.
    pub fn initial_state_count(&self, task: usize) -> Option<usize> {
        self.inner.tasks.get(task).map(|task| task.initial_states.nrows())
    }

    /// One initial state, `[1 + nq + nv]`: time, positions, velocities.
    pub(crate) fn initial_state(&self, task: usize, index: usize) -> Option<ArrayView1<'_, f64>> {
        let states = &self.inner.tasks.get(task)?.initial_states;
        (index < states.nrows()).then(|| states.row(index))
    }

    /// The compiled model of a task and the indices of its parts.
    pub(crate) fn bound(&self, task: usize) -> Result<Arc<BoundTask>, PlantError> {
        let last = self.task_count().saturating_sub(1);
        let found = self.inner.tasks.get(task).ok_or(PlantError::UnknownTask { found: task, last })?;
        found.bound().map_err(|error| PlantError::Backend(error.to_string()))
    }
}

impl Task {
    fn load(folder: PathBuf, name: &str) -> Result<Self, SuiteError> {
        let path = folder.join("task.json");
        let info: TaskInfo = read_json(&path)?;
        check_schema(&path, info.schema)?;
        if info.name != name {
            return Err(field(&path, "name", &info.name, name));
        }
        Goal::check(&info).map_err(|source| SuiteError::Goal { path, source })?;
        let path = folder.join("initial_states.npy");
        let file = File::open(&path).map_err(|source| SuiteError::Io { path: path.clone(), source })?;
        let initial_states =
            Array2::<f64>::read_npy(file).map_err(|source| SuiteError::Npy { path: path.clone(), source })?;
        let width = 1 + info.nq + info.nv;
        if initial_states.ncols() != width || initial_states.nrows() == 0 {
            let found = format!("{:?}", initial_states.shape());
            return Err(field(&path, "shape", &found, &format!("[1 or more, {width}]")));
        }
        if let Some(index) =
            initial_states.rows().into_iter().position(|row| !row.iter().all(|v| v.is_finite()))
        {
            return Err(field(&path, &format!("row {index}"), "a value that is not finite", "finite values"));
        }
        Ok(Self { folder, info, initial_states, bound: Mutex::new(None) })
    }

    fn bound(&self) -> Result<Arc<BoundTask>, SuiteError> {
        // Nothing can panic half-way through a write here, so a poisoned lock still guards a whole value.
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = &*bound {
            return Ok(Arc::clone(bound));
        }
        let fresh = Arc::new(BoundTask::compile(&self.folder, &self.info)?);
        *bound = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, SuiteError> {
    let content =
        std::fs::read(path).map_err(|source| SuiteError::Io { path: path.to_path_buf(), source })?;
    serde_json::from_slice(&content).map_err(|source| SuiteError::Json { path: path.to_path_buf(), source })
}

fn check_schema(path: &Path, found: u32) -> Result<(), SuiteError> {
    if found == SCHEMA {
        return Ok(());
    }
    Err(field(path, "schema", &found.to_string(), &format!("{SCHEMA}; export the scenes again")))
}

pub(crate) fn field(path: &Path, field: &str, found: &str, valid: &str) -> SuiteError {
    SuiteError::Field {
        path: path.to_path_buf(),
        field: field.into(),
        found: found.into(),
        valid: valid.into(),
    }
}
