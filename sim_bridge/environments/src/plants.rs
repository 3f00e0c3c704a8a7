//! Plants that are stepped together: each thread steps its share, without Python's lock.

use aegis_core::policy::Saved;
use aegis_core::{Frame, Plant, PlantError, Start};
use aegis_sim::plant::ACTION;
use aegis_sim::{Cameras, LiberoPlant};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::suite::Scenes;

/// Saved state of an unfinished episode, for any plant of the same suite.
#[pyclass(frozen, module = "aegis_libero")]
pub struct Snapshot(Saved);

/// Plants of one suite, stepped together.
#[pyclass(module = "aegis_libero")]
pub struct Plants {
    plants: Vec<LiberoPlant>,
    threads: usize,
}

/// Returns the Python exception for an error of the plant with this number.
fn raised(number: usize, error: &PlantError) -> PyErr {
    let message = format!("environment {number}: {error}");
    match error {
        PlantError::Action { .. } | PlantError::State { .. } => PyValueError::new_err(message),
        _ => PyRuntimeError::new_err(message),
    }
}

/// Observation vectors `[plants, width]`, and whether each plant's goal is met `[plants]`.
type Observed<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<bool>>);

#[pymethods]
impl Plants {
    /// Makes `count` plants. `cameras` are names, width and height of the pictures that `frames` returns.
    #[new]
    #[pyo3(signature = (scenes, count, threads, cameras=None))]
    fn new(
        scenes: &Scenes,
        count: usize,
        threads: usize,
        cameras: Option<(Vec<String>, u32, u32)>,
    ) -> PyResult<Self> {
        let cameras = cameras.map(|(names, width, height)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Cameras::new(&names, width, height).map_err(|error| PyValueError::new_err(error.to_string()))
        });
        let cameras = cameras.transpose()?;
        let plant = |_| match &cameras {
            Some(cameras) => LiberoPlant::with_cameras(scenes.0.clone(), cameras.clone()),
            None => LiberoPlant::new(scenes.0.clone()),
        };
        Ok(Self { plants: (0..count).map(plant).collect(), threads: threads.max(1) })
    }

    /// Begins episodes on the plants of these numbers, each at a task and an initial state. Returns their observations in this order.
    fn reset<'py>(
        &mut self,
        py: Python<'py>,
        starts: Vec<(usize, usize, usize)>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let count = self.plants.len();
        if let Some((number, ..)) = starts.iter().find(|(number, ..)| *number >= count) {
            return Err(PyValueError::new_err(format!(
                "environment: found {number}; valid is below {count}"
            )));
        }
        let plants = &mut self.plants;
        let found = py.detach(|| -> Result<Vec<Vec<f64>>, (usize, PlantError)> {
            let mut rows = Vec::new();
            for (number, task, initial_state) in starts {
                let start = Start { task, initial_state };
                rows.push(plants[number].reset(start).map_err(|error| (number, error))?.values);
            }
            Ok(rows)
        });
        rows(py, found.map_err(|(number, error)| raised(number, &error))?)
    }

    /// Executes one control step on every plant, with actions `[plants, 7]`. Plants whose `skipped` is true are left as they are, and
    /// their rows are zeros.
    fn step<'py>(
        &mut self,
        py: Python<'py>,
        actions: PyReadonlyArray2<'py, f64>,
        skipped: Vec<bool>,
    ) -> PyResult<Observed<'py>> {
        let (count, expected) = (self.plants.len(), ACTION);
        if actions.shape() != [count, expected] || skipped.len() != count {
            let message =
                format!("actions: found shape {:?}; valid is [{count}, {expected}]", actions.shape());
            return Err(PyValueError::new_err(message));
        }
        let actions: Vec<f64> = actions.as_array().iter().copied().collect();
        // Every action is checked before any is executed, so that a refused step moves no plant.
        let given = actions.chunks(expected).zip(&skipped).enumerate();
        for (number, (row, _)) in given.filter(|(_, (_, skipped))| !**skipped) {
            if let Some(index) = row.iter().position(|value| !value.is_finite()) {
                let found = format!("{} at index {index}", row[index]);
                return Err(raised(number, &PlantError::Action { expected, found }));
            }
        }
        let share = count.div_ceil(self.threads).max(1);
        let plants = &mut self.plants;
        let mut results: Vec<Stepped> = Vec::new();
        results.resize_with(count, || None);
        py.detach(|| {
            let parts = plants.chunks_mut(share).zip(results.chunks_mut(share));
            let parts = parts.zip(actions.chunks(share * expected)).zip(skipped.chunks(share));
            std::thread::scope(|scope| {
                let mut parts: Vec<_> = parts.collect();
                // The last share is this thread's own: a single environment starts no thread.
                let own = parts.pop();
                for (((plants, results), actions), skipped) in parts {
                    scope.spawn(move || step_all(plants, results, actions, skipped));
                }
                if let Some((((plants, results), actions), skipped)) = own {
                    step_all(plants, results, actions, skipped);
                }
            });
        });
        let mut vectors = Vec::new();
        let mut success = Vec::new();
        for (number, result) in results.into_iter().enumerate() {
            let (values, is_met) =
                result.transpose().map_err(|error| raised(number, &error))?.unwrap_or_default();
            vectors.push(values);
            success.push(is_met);
        }
        let width = vectors.iter().map(Vec::len).max().unwrap_or(0);
        vectors.iter_mut().for_each(|row| row.resize(width, 0.0));
        Ok((rows(py, vectors)?, success.into_pyarray(py)))
    }

    /// Draws a plant's pictures. Returns the name of each camera with its picture, uint8 `[1, height, width, 3]`, row 0 at the top.
    fn frames<'py>(
        &mut self,
        py: Python<'py>,
        number: usize,
    ) -> PyResult<Vec<(String, Bound<'py, PyArray4<u8>>)>> {
        let plant = self.plant(number)?;
        let drawn = py.detach(|| plant.frames()).map_err(|error| raised(number, &error))?;
        let picture = |frame: Frame| {
            let (height, width) = (frame.height as usize, frame.width as usize);
            let pixels = frame.rgb.to_vec().into_pyarray(py).reshape([1, height, width, 3])?;
            Ok((frame.camera.to_string(), pixels))
        };
        drawn.into_iter().map(picture).collect()
    }

    /// Returns the fingers' velocities of every plant, m/s, `[plants, 2]`.
    fn finger_velocities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        rows(py, self.plants.iter().map(|plant| plant.finger_velocities().to_vec()).collect())
    }

    /// Saves the present state of a plant's episode.
    fn save(&mut self, number: usize) -> PyResult<Snapshot> {
        let saved = self.plant(number)?.save().map_err(|error| raised(number, &error))?;
        let nothing = || PyRuntimeError::new_err("environment: this plant cannot save an episode");
        saved.map(Snapshot).ok_or_else(nothing)
    }

    /// Resumes a saved episode, bit for bit. Returns its observation, `[width]`.
    fn resume<'py>(
        &mut self,
        py: Python<'py>,
        number: usize,
        snapshot: &Snapshot,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let observation = self.plant(number)?.resume(&snapshot.0).map_err(|error| raised(number, &error))?;
        Ok(observation.values.into_pyarray(py))
    }

    /// Returns a plant's whole dynamic state, for comparisons bit for bit.
    fn state<'py>(&mut self, py: Python<'py>, number: usize) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let mut state = Vec::new();
        self.plant(number)?.state(&mut state);
        Ok(state.into_pyarray(py))
    }
}

impl Plants {
    fn plant(&mut self, number: usize) -> PyResult<&mut LiberoPlant> {
        let count = self.plants.len();
        let unknown =
            || PyValueError::new_err(format!("environment: found {number}; valid is below {count}"));
        self.plants.get_mut(number).ok_or_else(unknown)
    }
}

/// A plant's observation vector after a step, and whether its goal is met; `None` for a plant that was left as it is.
type Stepped = Option<Result<(Vec<f64>, bool), PlantError>>;

fn step_all(plants: &mut [LiberoPlant], results: &mut [Stepped], actions: &[f64], skipped: &[bool]) {
    let actions = actions.chunks(ACTION);
    for (((plant, result), action), skipped) in plants.iter_mut().zip(results).zip(actions).zip(skipped) {
        if !skipped {
            *result = Some(plant.apply(action).map(|moved| (moved.observation.values, moved.success)));
        }
    }
}

/// Returns rows of equal width as an array, `[rows, width]`.
fn rows<'py>(py: Python<'py>, rows: Vec<Vec<f64>>) -> PyResult<Bound<'py, PyArray2<f64>>> {
    PyArray2::from_vec2(py, &rows).map_err(|error| PyValueError::new_err(error.to_string()))
}
