//! An exported suite on disk: its tasks and their initial states, read and checked.
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
use crate::error::{SuiteError, field};
use crate::goal::Goal;
use crate::task::TaskInfo;

/// The layout of the exported files that this code reads.
const SCHEMA: u32 = 2;

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
