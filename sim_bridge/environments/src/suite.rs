//! The scenes of a suite, shared by its plants.

use std::io::ErrorKind;
use std::path::PathBuf;

use aegis_core::feature::FeatureKind;
use aegis_sim::{Suite, SuiteError};
use pyo3::exceptions::{PyFileNotFoundError, PyIndexError, PyValueError};
use pyo3::prelude::*;

/// Scenes of a suite, loaded once for all plants.
#[pyclass(frozen, weakref, module = "aegis_libero")]
pub struct Scenes(pub(crate) Suite);

#[pymethods]
impl Scenes {
    /// Loads a suite from the folder that setup exported it to. With a seed, it has sampled initial states after the recorded ones.
    #[new]
    #[pyo3(signature = (folder, sample_seed=None))]
    fn new(folder: PathBuf, sample_seed: Option<u64>) -> PyResult<Self> {
        let unread = |error: SuiteError| match &error {
            SuiteError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                PyFileNotFoundError::new_err(error.to_string())
            }
            _ => PyValueError::new_err(error.to_string()),
        };
        let suite = Suite::load(&folder).map_err(unread)?;
        Ok(Self(match sample_seed {
            Some(seed) => suite.with_sampled_starts(seed),
            None => suite,
        }))
    }

    /// Returns the name of the suite.
    #[getter]
    fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// Returns the number of tasks.
    #[getter]
    fn task_count(&self) -> usize {
        self.0.task_count()
    }

    /// Returns a task's instruction in natural language.
    fn instruction(&self, task: usize) -> PyResult<String> {
        let found = self.0.task(task).map(|task| task.language.clone());
        found.ok_or_else(|| self.no_task(task))
    }

    /// Returns the number of recorded initial states of a task.
    fn initial_states(&self, task: usize) -> PyResult<usize> {
        self.0.initial_state_count(task).ok_or_else(|| self.no_task(task))
    }

    /// Returns name, first index and number of values of each feature of a task's observation vector.
    fn features(&self, task: usize) -> PyResult<Vec<(String, usize, usize)>> {
        let schema = self.0.schema(task).ok_or_else(|| self.no_task(task))?;
        let schema = schema.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let tensors = schema.ranges().filter(|(feature, _)| feature.kind == FeatureKind::Tensor);
        Ok(tensors.map(|(feature, range)| (feature.name.to_string(), range.start, range.len())).collect())
    }
}

impl Scenes {
    fn no_task(&self, task: usize) -> PyErr {
        let message = format!("task: found {task}; valid is 0 to {}", self.0.task_count().saturating_sub(1));
        PyIndexError::new_err(message)
    }
}
