//! An exported suite on disk: its tasks and their initial states, read and checked.
//! Models are compiled when first requested and shared from then on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aegis_core::feature::{Schema, SchemaError};
use aegis_core::policy::{PlantError, Start};
use aegis_files::{read_bytes, read_text};
use ndarray::Array2;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::arrays::read_doubles;
use crate::binding::BoundTask;
use crate::camera::TexturedScene;
use crate::error::{SuiteError, field};
use crate::goal::Goal;
use crate::scene_files;
use crate::schema::schema;
use crate::settling::Settling;
use crate::task::TaskInfo;

/// Schema version of the exported files that this code reads.
const SCHEMA: u32 = 2;

#[derive(Deserialize)]
struct SuiteFile {
    schema: u32,
    suite: String,
    tasks: Vec<String>,
}

/// A shared value that is made when first requested.
type Shared<T> = Mutex<Option<Arc<T>>>;

#[derive(Debug)]
struct Task {
    folder: PathBuf,
    info: TaskInfo,
    initial_states: Array2<f64>,
    bound: Shared<BoundTask>,
    textured: Shared<TexturedScene>,
    usual_settling: OnceLock<Result<Arc<[Settling]>, String>>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    tasks: Vec<Task>,
}

/// A suite of tasks. Clones are cheap and share the compiled models and the sampled starts.
#[derive(Clone, Debug)]
pub struct Suite {
    inner: Arc<Inner>,
    further: Option<Arc<dyn FurtherStarts>>,
}

/// Source of initial states beyond the recorded ones.
pub(crate) trait FurtherStarts: std::fmt::Debug + Send + Sync {
    /// Returns the state of `start`, `[1 + nq + nv]`; `recorded` is the suite without such states.
    fn state(&self, recorded: &Suite, start: Start) -> Result<Vec<f64>, PlantError>;
}

impl Suite {
    /// Reads the suite that `export_scenes.py` wrote to `dir`, and checks every task except its model.
    pub fn load(dir: &Path) -> Result<Self, SuiteError> {
        let path = dir.join("suite.json");
        let file: SuiteFile = read_json(&path)?;
        check_schema(&path, file.schema)?;
        let tasks = file
            .tasks
            .iter()
            .enumerate()
            .map(|(index, name)| Task::load(dir, dir.join(format!("tasks/{index:02}")), name))
            .collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { name: file.suite, tasks }), further: None })
    }

    /// Returns the name of the suite that `export_scenes.py` wrote to `dir`.
    ///
    /// # Errors
    /// A folder without an exported suite.
    pub fn name_in(dir: &Path) -> Result<String, SuiteError> {
        Ok(read_json::<SuiteFile>(&dir.join("suite.json"))?.suite)
    }

    /// Returns the same suite with initial states from [`Self::initial_state_count`] upwards, supplied by `further`.
    pub(crate) fn with_further_starts(&self, further: Arc<dyn FurtherStarts>) -> Self {
        Self { inner: Arc::clone(&self.inner), further: Some(further) }
    }

    /// Returns the suite's name, for example `libero_spatial`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the number of tasks.
    pub fn task_count(&self) -> usize {
        self.inner.tasks.len()
    }

    /// Returns one task's description, or `None` past the last task.
    pub fn task(&self, task: usize) -> Option<&TaskInfo> {
        self.inner.tasks.get(task).map(|task| &task.info)
    }

    /// Returns the features and actions of one task, without cameras, or `None` past the last task.
    ///
    /// # Errors
    /// A task with names that are not valid names of features.
    pub fn schema(&self, task: usize) -> Option<Result<Schema, SchemaError>> {
        self.task(task).map(|info| schema(info, None))
    }

    /// Returns the number of recorded initial states of a task, or `None` past the last task.
    pub fn initial_state_count(&self, task: usize) -> Option<usize> {
        self.inner.tasks.get(task).map(|task| task.initial_states.nrows())
    }

    /// Returns one initial state, recorded or sampled, `[1 + nq + nv]`: time, positions, velocities.
    ///
    /// # Errors
    /// Unknown tasks; initial states past the recorded ones in a suite without sampled starts, or those for which the
    /// sampler found no accepted draw.
    pub fn start(&self, Start { task, initial_state }: Start) -> Result<Vec<f64>, PlantError> {
        let states = &self.known(task)?.initial_states;
        if initial_state < states.nrows() {
            return Ok(states.row(initial_state).to_vec());
        }
        let Some(further) = &self.further else {
            let last = states.nrows() - 1;
            return Err(PlantError::UnknownInitialState { task, found: initial_state, last });
        };
        let recorded = Self { inner: Arc::clone(&self.inner), further: None };
        further.state(&recorded, Start { task, initial_state })
    }

    /// Returns how a task's objects usually settle; `find` is called once per task.
    pub(crate) fn usual_settling(
        &self,
        task: usize,
        find: impl FnOnce() -> Result<Arc<[Settling]>, PlantError>,
    ) -> Result<Arc<[Settling]>, PlantError> {
        let usual =
            self.known(task)?.usual_settling.get_or_init(|| find().map_err(|error| error.to_string()));
        usual.clone().map_err(PlantError::Backend)
    }

    /// Returns one task's description.
    pub(crate) fn info(&self, task: usize) -> Result<&TaskInfo, PlantError> {
        self.known(task).map(|task| &task.info)
    }

    /// Returns the compiled model of a task and the indices of its parts.
    pub(crate) fn bound(&self, task: usize) -> Result<Arc<BoundTask>, PlantError> {
        let task = self.known(task)?;
        shared(&task.bound, || BoundTask::compile(&task.folder, &task.info))
    }

    /// Returns the model of a task with its textures, for drawing.
    pub(crate) fn textured(&self, task: usize) -> Result<Arc<TexturedScene>, PlantError> {
        let task = self.known(task)?;
        shared(&task.textured, || TexturedScene::compile(&task.folder, &task.info))
    }

    fn known(&self, task: usize) -> Result<&Task, PlantError> {
        let last = self.task_count().saturating_sub(1);
        self.inner.tasks.get(task).ok_or(PlantError::UnknownTask { found: task, last })
    }
}

impl Task {
    fn load(suite: &Path, folder: PathBuf, name: &str) -> Result<Self, SuiteError> {
        let path = folder.join("task.json");
        let info: TaskInfo = read_json(&path)?;
        check_schema(&path, info.schema)?;
        if info.name != name {
            return Err(field(&path, "name", &info.name, name));
        }
        Goal::check(&info).map_err(|source| SuiteError::Goal { path, source })?;
        for scene in ["physics.xml", "scene.xml"].map(|name| folder.join(name)) {
            if scene.exists() {
                scene_files::check(suite, &scene)?;
            }
        }
        let path = folder.join("initial_states.npy");
        let bytes = read_bytes(&path).map_err(|source| SuiteError::Io { path: path.clone(), source })?;
        let initial_states =
            read_doubles(&bytes).map_err(|source| SuiteError::Npy { path: path.clone(), source })?;
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
        Ok(Self {
            folder,
            info,
            initial_states,
            bound: Mutex::default(),
            textured: Mutex::default(),
            usual_settling: OnceLock::new(),
        })
    }
}

fn shared<T>(slot: &Shared<T>, make: impl FnOnce() -> Result<T, SuiteError>) -> Result<Arc<T>, PlantError> {
    // No write under this lock can panic before it is complete, so a poisoned lock still guards a valid value.
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = &*slot {
        return Ok(Arc::clone(made));
    }
    let fresh = Arc::new(make().map_err(|error| PlantError::Backend(error.to_string()))?);
    *slot = Some(Arc::clone(&fresh));
    Ok(fresh)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, SuiteError> {
    let content = read_text(path).map_err(|source| SuiteError::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&content).map_err(|source| SuiteError::Json { path: path.to_path_buf(), source })
}

fn check_schema(path: &Path, found: u32) -> Result<(), SuiteError> {
    if found == SCHEMA {
        return Ok(());
    }
    Err(field(path, "schema", &found.to_string(), &format!("{SCHEMA}; export the scenes again")))
}
