//! Writer of a data set: rows as they come, into a folder that exists under its name only once it is complete.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::control::ControlSource;
use aegis_files::Scratch;
use serde_json::Value;

use crate::DatasetError;
use crate::columns::{ColouredPicture, Columns, field};
use crate::features::{Column, Features, Kind};
use crate::metadata::{self, EpisodeRecord, EpisodeTable, FILE_MB};
use crate::parquet_output::ParquetOutput;
use crate::picture::{Picture, pixels};
use crate::statistics::{Colours, Total};

/// Bytes of pictures, and rows, that wait before they are handed to the file.
const WAITING: (usize, usize) = (8 << 20, 1024);

/// One row: an observation, and the command that was sent on it.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Values of the observation, in the order of the plant's features.
    pub values: &'a [f64],
    /// Pictures, in the order of the features' cameras.
    pub pictures: &'a [Picture],
    /// The command that was sent, `[channels]`.
    pub action: &'a [f32],
    /// Source of the command.
    pub source: ControlSource,
    /// The score that the gate read last, NaN before the first and where it was no number.
    pub risk: f64,
    /// Whether the backup was called.
    pub intervention: bool,
    /// Seconds since the first control period of the episode, on the controller's clock.
    pub time: f64,
}

/// What holds for all rows of an episode.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeNote {
    /// The task in words.
    pub task: String,
    /// Whether the whole episode reached its goal.
    pub success: bool,
    /// How the whole episode ended.
    pub end: String,
    /// Where the episode comes from, for people.
    pub source: String,
}

/// The file that rows go to.
struct DataFile {
    number: usize,
    output: ParquetOutput,
}

/// Writer of a data set.
pub struct DatasetWriter {
    scratch: Scratch,
    place: PathBuf,
    features: Features,
    columns: Vec<Column>,
    data: Option<DataFile>,
    /// Number of the next file of rows.
    files: usize,
    tasks: Vec<String>,
    episodes: EpisodeTable,
    totals: Vec<Total>,
    episode: Option<(EpisodeNote, Columns)>,
    counts: [usize; 2],
    /// Colours of each camera's newest picture, which the next row may have again.
    colours: HashMap<String, ColouredPicture>,
}

impl DatasetWriter {
    /// Begins a data set that will be at `place`.
    ///
    /// # Errors
    /// [`DatasetError::Write`], also where something is at `place`.
    pub fn create(place: &Path, features: Features) -> Result<Self, DatasetError> {
        let scratch = Scratch::beside(place).map_err(|error| DatasetError::write(place, error))?;
        let columns = features.columns();
        let episodes = EpisodeTable::create(scratch.path(), columns.clone())?;
        let totals = columns.iter().map(|_| Total::default()).collect();
        Ok(Self {
            scratch,
            place: place.to_owned(),
            features,
            columns,
            data: None,
            files: 0,
            tasks: Vec::new(),
            episodes,
            totals,
            episode: None,
            counts: [0; 2],
            colours: HashMap::new(),
        })
    }

    /// Returns the features.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Returns the number of episodes and of rows so far.
    pub fn counts(&self) -> [usize; 2] {
        self.counts
    }

    /// Begins an episode. Its rows follow.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn begin_episode(&mut self, note: EpisodeNote) -> Result<(), DatasetError> {
        if !self.tasks.contains(&note.task) {
            self.tasks.push(note.task.clone());
        }
        if self.data.as_ref().is_some_and(|data| data.output.size() >= FILE_MB << 20)
            && let Some(full) = self.data.take()
        {
            full.output.finish()?;
        }
        self.episode = Some((note, Columns::new(&self.columns)));
        Ok(())
    }

    /// Appends a row to the episode.
    ///
    /// # Errors
    /// A picture that cannot be read, in words, and [`DatasetError::Write`].
    pub fn row(&mut self, row: &Row<'_>) -> Result<(), DatasetError> {
        let pictures = self.pictures(row.pictures)?;
        let Some((note, columns)) = &mut self.episode else { return Ok(()) };
        // The last row has to stay: what is the last is known only at the end of the episode.
        let (bytes, rows) = columns.waiting();
        if bytes >= WAITING.0 || rows >= WAITING.1 {
            let arrays = columns.take();
            append(&mut self.data, &mut self.files, self.scratch.path(), &self.columns, arrays)?;
        }
        let task = self.tasks.iter().position(|task| *task == note.task).unwrap_or_default();
        let [state, environment] = self.features.split(row.values);
        let [has_state, has_environment] = self.features.has();
        let frame = columns.rows();
        let flag = |value: bool| vec![f64::from(u8::from(value))];
        let mut numbers = Vec::new();
        numbers.extend(has_state.then_some(state));
        numbers.extend(has_environment.then_some(environment));
        numbers.push(row.action.iter().map(|value| f64::from(*value)).collect());
        numbers.push(vec![row.source.number() as f64]);
        numbers.push(vec![row.risk]);
        numbers.push(flag(row.intervention));
        numbers.push(flag(note.success));
        numbers.push(flag(false));
        numbers.push(vec![row.time]);
        if !pictures.is_empty() {
            numbers.push(row.pictures.iter().map(|picture| picture.age).collect());
        }
        numbers.push(vec![frame as f64 / self.features.rate_hz]);
        let indices = [frame, self.counts[0], self.counts[1] + frame, task];
        numbers.extend(indices.map(|index| vec![index as f64]));
        columns.push(&numbers, &pictures);
        Ok(())
    }

    /// Ends the episode. An episode without rows leaves nothing.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn end_episode(&mut self) -> Result<(), DatasetError> {
        let Some((note, mut columns)) = self.episode.take() else { return Ok(()) };
        if columns.rows() == 0 {
            return Ok(());
        }
        columns.set_last("next.done", 1.0);
        let arrays = columns.take();
        append(&mut self.data, &mut self.files, self.scratch.path(), &self.columns, arrays)?;
        let statistics = columns.statistics();
        self.totals.iter_mut().zip(&statistics).for_each(|(total, statistics)| total.add(statistics));
        let EpisodeNote { task, success, end, source } = note;
        let first = self.counts[1];
        let rows = [first, first + columns.rows()];
        let file = self.data.as_ref().map_or(0, |data| data.number);
        self.episodes.append(EpisodeRecord { task, file, rows, success, end, source, statistics })?;
        self.counts = [self.counts[0] + 1, rows[1]];
        Ok(())
    }

    /// Completes the data set and gives its folder its name. `robot` names the robot, and `origin` says where the rows come from,
    /// in a file that LeRobot does not read.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn finish(self, robot: &str, origin: &Value) -> Result<(), DatasetError> {
        let Self { scratch, place, features, columns, data, tasks, episodes, totals, counts, .. } = self;
        if let Some(data) = data {
            data.output.finish()?;
        }
        episodes.finish()?;
        let root = scratch.path();
        metadata::write_tasks(root, &tasks)?;
        let info = metadata::info(&features, robot, [counts[0], counts[1], tasks.len()]);
        metadata::write_json(root, "meta/info.json", &info)?;
        metadata::write_json(root, "meta/stats.json", &metadata::stats(&columns, &totals))?;
        metadata::write_json(root, "meta/aegis.json", origin)?;
        scratch.become_folder(&place).map_err(|error| DatasetError::write(&place, error))
    }

    /// Returns the pictures of a row with their colours. Each picture is decoded once, which shows that it can be.
    fn pictures(&mut self, row: &[Picture]) -> Result<Vec<ColouredPicture>, DatasetError> {
        let mut all = Vec::new();
        for (camera, picture) in self.features.cameras.iter().zip(row) {
            let known = self.colours.get(&camera.name).filter(|(data, _)| Arc::ptr_eq(data, &picture.data));
            let colours = match known {
                Some((_, colours)) => Arc::clone(colours),
                None => {
                    let rgb = pixels(&picture.data, camera.size).map_err(|reason| {
                        DatasetError::source(
                            Path::new(&camera.name),
                            format!("a picture cannot be read: {reason}"),
                        )
                    })?;
                    let colours = Arc::new(Colours::of(&rgb));
                    let newest = (Arc::clone(&picture.data), Arc::clone(&colours));
                    self.colours.insert(camera.name.clone(), newest);
                    colours
                }
            };
            all.push((Arc::clone(&picture.data), colours));
        }
        Ok(all)
    }
}

/// Appends arrays to the file of rows, which is made where there is none.
fn append(
    data: &mut Option<DataFile>,
    files: &mut usize,
    root: &Path,
    columns: &[Column],
    arrays: Result<Vec<arrow::array::ArrayRef>, String>,
) -> Result<(), DatasetError> {
    let open = match data {
        Some(open) => open,
        None => {
            let number = *files;
            *files += 1;
            let path = metadata::file(root, "data", number);
            let pictures: Vec<String> = columns
                .iter()
                .filter(|column| column.kind == Kind::Image)
                .map(|column| column.name.clone())
                .collect();
            let output = ParquetOutput::create(&path, columns.iter().map(field).collect(), &pictures, &[])?;
            data.insert(DataFile { number, output })
        }
    };
    let arrays = arrays.map_err(|reason| DatasetError::write(root, reason))?;
    open.output.append(arrays)
}
