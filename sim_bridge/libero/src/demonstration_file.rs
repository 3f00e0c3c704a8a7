//! LIBERO's own demonstration files: HDF5, one file for each task, as `create_dataset.py` and tools after it write them.
//! Reads states, actions and pictures, and finds the step of an episode that each picture belongs to.

use std::path::{Path, PathBuf};

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, H5Type, Hdf5File, OpenOptions};
use ndarray::{Array2, ArrayD, Axis, Ix2};

use crate::error::{SuiteError, field};
use crate::plant::ACTION;
use crate::suite::Suite;

/// Most bytes that one data set may take in memory. The pictures of the longest public demonstration take 25 MB.
const MOST_BYTES: usize = 1 << 30;
/// Most demonstrations of one file; the public files hold 50.
const MOST_DEMONSTRATIONS: usize = 100_000;
/// Cameras of LIBERO's files: the name of the data set, and the camera's name in the plant.
const CAMERAS: [(&str, &str); 2] =
    [("agentview_rgb", "agentview"), ("eye_in_hand_rgb", "robot0_eye_in_hand")];
/// Name of the data set of joint positions.
const JOINTS: &str = "joint_states";

/// Demonstrations of one task, opened.
pub struct DemonstrationFile {
    path: PathBuf,
    file: Hdf5File,
    /// Names of the demonstrations, in the order of their numbers.
    names: Vec<String>,
    /// Name of the task, from the name of its description; empty where the file states none.
    task: String,
    /// The instruction; empty where the file states none.
    instruction: String,
}

/// Demonstration of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    /// Its name in the file, for example `demo_0`.
    pub name: String,
    /// Physical state before each action, `[steps, 1 + nq + nv]`: time, positions, velocities.
    pub states: Array2<f64>,
    /// Actions, `[steps, 7]`.
    pub actions: Array2<f64>,
    /// Pictures of each camera in the file.
    pub pictures: Vec<Pictures>,
    /// Joint positions that were recorded with the pictures, `[steps, 7]`, radians; `None` where the file has none.
    pub joints: Option<Array2<f64>>,
}

/// Pictures of one camera of a demonstration.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    /// The camera's name in the plant.
    pub camera: &'static str,
    /// Rows and pixels per row.
    pub size: [usize; 2],
    /// Red, green, blue, 8 bits each, row-major `[steps, height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Pictures {
    /// Returns the picture of index `step`, or `None` past the last.
    pub fn step(&self, step: usize) -> Option<&[u8]> {
        self.rgb.chunks_exact(self.size[0] * self.size[1] * 3).nth(step)
    }
}

impl std::fmt::Debug for DemonstrationFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DemonstrationFile({}, {} demonstrations)", self.path.display(), self.names.len())
    }
}

impl DemonstrationFile {
    /// Opens a file and lists its demonstrations.
    ///
    /// # Errors
    /// A file that cannot be read, that is not HDF5, or that has no demonstrations where LIBERO's files have them.
    pub fn open(path: &Path) -> Result<Self, SuiteError> {
        let failed = |source: Error| invalid(path, "data", &source, "a group of demonstrations");
        // The library's message for a missing file has no path and for a folder no reason.
        std::fs::File::open(path).map_err(|source| SuiteError::Io { path: path.to_owned(), source })?;
        let options = OpenOptions::default().with_max_read_bytes(MOST_BYTES);
        let file = Hdf5File::open_with_options(path, options).map_err(|source| {
            field(path, "file", &source.to_string(), "an HDF5 file, such as LIBERO's TASK_demo.hdf5")
        })?;
        let data = file.group("data").map_err(failed)?;
        let (mut names, _) = data.member_names().map_err(failed)?;
        names.retain(|name| number(name).is_some());
        names.sort_by_key(|name| number(name));
        if names.is_empty() || names.len() > MOST_DEMONSTRATIONS {
            let valid = format!("1 to {MOST_DEMONSTRATIONS} groups named demo_0, demo_1 and so on");
            return Err(field(path, "data", &format!("{} demonstrations", names.len()), &valid));
        }
        let text =
            |name: &str| data.attribute(name).and_then(|found| found.read_string()).unwrap_or_default();
        let described = text("bddl_file_name");
        let task = described.rsplit(['/', '\\']).next().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&text("problem_info")).unwrap_or_default();
        // Some of LIBERO's files hold the instruction with quotation marks around it.
        let instruction =
            problem["language_instruction"].as_str().unwrap_or_default().trim_matches('"').trim();
        Ok(Self {
            path: path.to_owned(),
            names,
            task: task.strip_suffix(".bddl").unwrap_or(task).to_owned(),
            instruction: instruction.to_owned(),
            file,
        })
    }

    /// Returns the number of demonstrations.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns the demonstrations' task in `suite`: the task with the name of the task description, else with the name of the
    /// file, else with the instruction.
    ///
    /// # Errors
    /// A task that the suite does not have.
    pub fn task(&self, suite: &Suite) -> Result<usize, SuiteError> {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let stem = stem.strip_suffix("_demo").unwrap_or(stem);
        let tasks = || (0..suite.task_count()).filter_map(|index| Some((index, suite.task(index)?)));
        let named = |name: &str| tasks().find(|(_, task)| task.name == name);
        named(&self.task)
            .or_else(|| named(stem))
            .or_else(|| tasks().find(|(_, task)| task.language == self.instruction))
            .map(|(index, _)| index)
            .ok_or_else(|| {
                let names: Vec<_> = tasks().map(|(_, task)| task.name.as_str()).collect();
                let said = [&self.task, stem, &self.instruction];
                let said: Vec<_> = said.into_iter().filter(|text| !text.is_empty()).collect();
                let valid = format!("a task of {}: {}", suite.name(), names.join(", "));
                field(&self.path, "data, bddl_file_name", &said.join("; "), &valid)
            })
    }

    /// Reads one demonstration and checks it against the task's states. Pictures are read where `pictures` is true.
    ///
    /// # Errors
    /// An index past the last demonstration; data sets that are missing, of another shape or type, or not finite.
    pub fn read(&self, index: usize, width: usize, pictures: bool) -> Result<Demonstration, SuiteError> {
        let Some(name) = self.names.get(index) else {
            let valid = format!("0 to {}", self.names.len() - 1);
            return Err(field(&self.path, "demonstration", &index.to_string(), &valid));
        };
        let place = format!("data/{name}");
        let group = self
            .file
            .group(&place)
            .map_err(|source| invalid(&self.path, &place, &source, "a group with actions and states"))?;
        let table = |group: &Group, within: &str, name: &str, width: usize| {
            let place = format!("{within}/{name}");
            let set = group
                .dataset(name)
                .map_err(|source| invalid(&self.path, &place, &source, "a data set of numbers"))?;
            self.numbers(&set, &place, width)
        };
        let actions = table(&group, &place, "actions", ACTION)?;
        let states = table(&group, &place, "states", width)?;
        let steps = actions.nrows();
        if states.nrows() != steps || steps == 0 {
            let valid = format!("{}, as many as actions, and 1 or more", steps.max(1));
            let field_name = format!("{place}/states");
            return Err(field(&self.path, &field_name, &format!("{} rows", states.nrows()), &valid));
        }
        let observed = group.group("obs").ok();
        let has = |name: &str| observed.as_ref().is_some_and(|group| group.dataset(name).is_ok());
        let within = format!("{place}/obs");
        let joints = match &observed {
            Some(group) if has(JOINTS) => {
                let joints = table(group, &within, JOINTS, ACTION)?;
                self.same_rows(&within, JOINTS, joints.nrows(), steps)?;
                Some(joints)
            }
            _ => None,
        };
        let mut all = Vec::new();
        for (name, camera) in CAMERAS.into_iter().filter(|_| pictures) {
            let Some(group) = observed.as_ref().filter(|_| has(name)) else {
                let valid = "pictures of both cameras, or an import without --frames-every";
                return Err(field(&self.path, &format!("{within}/{name}"), "no such data set", valid));
            };
            all.push(self.pictures(group, &within, name, camera, steps)?);
        }
        Ok(Demonstration { name: name.clone(), states, actions, pictures: all, joints })
    }

    /// Reads a table of `float32` or `float64`, `[rows, width]`.
    fn numbers(&self, set: &Dataset, place: &str, width: usize) -> Result<Array2<f64>, SuiteError> {
        let valid = format!("float32 or float64 [steps, {width}]");
        let wrong = |found: String| field(&self.path, place, &found, &valid);
        if set.ndim() != 2 || set.shape()[1] != width as u64 {
            return Err(wrong(format!("{:?}", set.shape())));
        }
        let table = read::<f64>(set)
            .or_else(|_| read::<f32>(set).map(|single| single.mapv(f64::from)))
            .map_err(|source| wrong(source.to_string()))?;
        let table = table.into_dimensionality::<Ix2>().map_err(|error| wrong(error.to_string()))?;
        for (row, values) in table.axis_iter(Axis(0)).enumerate() {
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                let found = format!("{} in row {row}, column {column}", values[column]);
                return Err(field(&self.path, place, &found, "finite numbers"));
            }
        }
        Ok(table)
    }

    fn pictures(
        &self,
        group: &Group,
        within: &str,
        name: &str,
        camera: &'static str,
        steps: usize,
    ) -> Result<Pictures, SuiteError> {
        let place = format!("{within}/{name}");
        let wrong = |found: String| field(&self.path, &place, &found, "uint8 [steps, height, width, 3]");
        let set = group.dataset(name).map_err(|source| wrong(source.to_string()))?;
        let &[rows, height, width, 3] = set.shape() else { return Err(wrong(format!("{:?}", set.shape()))) };
        if height == 0 || width == 0 {
            return Err(wrong(format!("{:?}", set.shape())));
        }
        self.same_rows(within, name, rows as usize, steps)?;
        let values = read::<u8>(&set).map_err(|source| wrong(source.to_string()))?;
        Ok(Pictures {
            camera,
            size: [height as usize, width as usize],
            rgb: values.iter().copied().collect(),
        })
    }

    fn same_rows(&self, within: &str, name: &str, found: usize, steps: usize) -> Result<(), SuiteError> {
        if found == steps {
            return Ok(());
        }
        let valid = format!("{steps}, as many as actions");
        Err(field(&self.path, &format!("{within}/{name}"), &format!("{found} rows"), &valid))
    }
}

impl Demonstration {
    /// Returns the step before which the first picture was taken: 0 where pictures were taken before their actions, 1 where after.
    ///
    /// LIBERO's `create_dataset.py` records each observation after the action of its row, other tools before it, and no attribute
    /// states which. The recorded joint positions show it: they equal those of the state before the action or of the next. `joints` are the
    /// joint positions in [`Self::states`], `[steps, 7]`. Returns `None` where the file has no joint positions or one step.
    pub fn first_pictured(&self, joints: &Array2<f64>) -> Option<usize> {
        let recorded = self.joints.as_ref().filter(|recorded| recorded.nrows() > 1)?;
        let apart = |shift: usize| -> f64 {
            let later = joints.axis_iter(Axis(0)).skip(shift).take(joints.nrows() - 1);
            later.zip(recorded.axis_iter(Axis(0))).map(|(a, b)| (&a - &b).mapv(f64::abs).sum()).sum()
        };
        Some(usize::from(apart(1) < apart(0)))
    }
}

fn read<T: H5Type>(set: &Dataset) -> Result<ArrayD<T>, Error> {
    set.read_array::<T>()
}

/// Returns the number at the end of the name of a demonstration.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("demo_")?.parse().ok()
}

fn invalid(path: &Path, place: &str, source: &Error, valid: &str) -> SuiteError {
    field(path, place, &source.to_string(), valid)
}
