//! Files of a data set beside its rows: `info.json`, the tasks, the episodes with their statistics, and the statistics of all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, ListBuilder, StringArray, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};

use crate::DatasetError;
use crate::features::{Column, Features, Kind};
use crate::parquet_output::ParquetOutput;
use crate::statistics::{Statistics, Total};

/// Files in a folder of files; LeRobot's default.
pub const CHUNK: usize = 1000;
/// Size at which a file of rows is followed by another, MB; LeRobot's default.
pub const FILE_MB: usize = 100;
/// Size at which a file of videos is followed by another, MB; LeRobot's default, and never reached.
const VIDEO_MB: usize = 200;
/// Episodes that are written at a time.
const BATCH: usize = 64;

/// Returns the path of the file with this number, within the folder of a data set.
pub fn file(root: &Path, kind: &str, number: usize) -> PathBuf {
    root.join(format!("{kind}/chunk-{:03}/file-{:03}.parquet", number / CHUNK, number % CHUNK))
}

/// What the table of episodes says of one.
pub struct EpisodeRecord {
    pub task: String,
    /// Number of the file of its rows.
    pub file: usize,
    /// Number of its first row, and of the first row after it.
    pub rows: [usize; 2],
    pub success: bool,
    pub end: String,
    pub source: String,
    /// Statistics of each column.
    pub statistics: Vec<Statistics>,
}

/// Table of episodes in progress.
pub struct EpisodeTable {
    output: ParquetOutput,
    columns: Vec<Column>,
    waiting: Vec<EpisodeRecord>,
    count: usize,
}

impl EpisodeTable {
    /// Makes the table of a data set with these columns in `root`.
    pub fn create(root: &Path, columns: Vec<Column>) -> Result<Self, DatasetError> {
        let fields: Vec<Field> = Self::arrays(&columns, &[], 0)
            .into_iter()
            .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
            .collect();
        let output = ParquetOutput::create(&file(root, "meta/episodes", 0), fields, &[], &[])?;
        Ok(Self { output, columns, waiting: Vec::new(), count: 0 })
    }

    /// Appends an episode.
    pub fn append(&mut self, episode: EpisodeRecord) -> Result<(), DatasetError> {
        self.waiting.push(episode);
        if self.waiting.len() < BATCH { Ok(()) } else { self.flush() }
    }

    /// Completes the file.
    pub fn finish(mut self) -> Result<(), DatasetError> {
        self.flush()?;
        self.output.finish()
    }

    fn flush(&mut self) -> Result<(), DatasetError> {
        let arrays = Self::arrays(&self.columns, &self.waiting, self.count);
        self.count += self.waiting.len();
        self.waiting.clear();
        self.output.append(arrays.into_iter().map(|(_, array)| array).collect())
    }

    /// Returns the columns of the table for these episodes, of which the first has the number `first`.
    fn arrays(columns: &[Column], episodes: &[EpisodeRecord], first: usize) -> Vec<(String, ArrayRef)> {
        let whole = |value: &dyn Fn(&EpisodeRecord) -> usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(episodes.iter().map(|episode| value(episode) as i64)))
        };
        let text = |value: fn(&EpisodeRecord) -> &String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(episodes.iter().map(value)))
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (first..first + episodes.len()).map(|number| number as i64),
        ));
        let mut tasks = ListBuilder::new(StringBuilder::new());
        for episode in episodes {
            tasks.values().append_value(&episode.task);
            tasks.append(true);
        }
        let mut all: Vec<(String, ArrayRef)> = vec![
            ("episode_index".into(), numbers),
            ("tasks".into(), Arc::new(tasks.finish())),
            ("length".into(), whole(&|episode| episode.rows[1] - episode.rows[0])),
            ("data/chunk_index".into(), whole(&|episode| episode.file / CHUNK)),
            ("data/file_index".into(), whole(&|episode| episode.file % CHUNK)),
            ("dataset_from_index".into(), whole(&|episode| episode.rows[0])),
            ("dataset_to_index".into(), whole(&|episode| episode.rows[1])),
            (
                "success".into(),
                Arc::new(episodes.iter().map(|episode| Some(episode.success)).collect::<BooleanArray>()),
            ),
            ("end".into(), text(|episode| &episode.end)),
            ("source".into(), text(|episode| &episode.source)),
        ];
        for (place, column) in columns.iter().enumerate() {
            let statistics = || episodes.iter().filter_map(move |episode| episode.statistics.get(place));
            let width = column.width();
            let names = Statistics::of(&[], width);
            for (index, (name, _)) in names.named().enumerate() {
                let of = |statistics: &Statistics| {
                    statistics.named().nth(index).map(|(_, values)| values.clone()).unwrap_or_default()
                };
                let values: ArrayRef = Arc::new(Float64Array::from_iter_values(statistics().flat_map(of)));
                // Those of a picture are of the shape [3, 1, 1].
                let values = if column.kind == Kind::Image { lists(lists(values, 1), 1) } else { values };
                all.push((format!("stats/{}/{name}", column.name), lists(values, width)));
            }
            let counts = statistics().map(|statistics| statistics.count as i64);
            let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(counts));
            all.push((format!("stats/{}/count", column.name), lists(counts, 1)));
        }
        all.push(("meta/episodes/chunk_index".into(), whole(&|_| 0)));
        all.push(("meta/episodes/file_index".into(), whole(&|_| 0)));
        all
    }
}

/// Groups values into lists of `width` values each.
fn lists(values: ArrayRef, width: usize) -> ArrayRef {
    let item = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, values.len() / width.max(1)));
    Arc::new(ListArray::new(item, offsets, values, None))
}

/// Writes the table of tasks, as pandas stores a table with the texts as its index.
pub fn write_tasks(root: &Path, tasks: &[String]) -> Result<(), DatasetError> {
    const INDEX: &str = "__index_level_0__";
    let column = |name: Option<&str>, field: &str, pandas: &str, numpy: &str| json!({ "name": name, "field_name": field, "pandas_type": pandas, "numpy_type": numpy, "metadata": null });
    let pandas = json!({
        "index_columns": [INDEX],
        "column_indexes": [{
            "name": null, "field_name": null, "pandas_type": "unicode", "numpy_type": "object",
            "metadata": { "encoding": "UTF-8" },
        }],
        "columns": [
            column(Some("task_index"), "task_index", "int64", "int64"),
            column(None, INDEX, "unicode", "object"),
        ],
        "creator": { "library": "aegis", "version": env!("CARGO_PKG_VERSION") },
        "pandas_version": "2.0.0",
    });
    let fields =
        vec![Field::new("task_index", DataType::Int64, true), Field::new(INDEX, DataType::Utf8, true)];
    let metadata = [("pandas", pandas.to_string())];
    let mut output = ParquetOutput::create(&root.join("meta/tasks.parquet"), fields, &[], &metadata)?;
    let numbers = Int64Array::from_iter_values((0..tasks.len()).map(|index| index as i64));
    output.append(vec![Arc::new(numbers), Arc::new(StringArray::from_iter_values(tasks))])?;
    output.finish()
}

/// Returns `info.json` of a data set of so many `[episodes, rows, tasks]`.
pub fn info(features: &Features, robot: &str, [episodes, rows, tasks]: [usize; 3]) -> Value {
    let rate = features.rate_hz;
    // LeRobot's own data sets have whole numbers; one that is not whole stays as it is.
    let fps = if rate.fract() == 0.0 { json!(rate as u64) } else { json!(rate) };
    json!({
        "codebase_version": "v3.0",
        "robot_type": robot,
        "total_episodes": episodes,
        "total_frames": rows,
        "total_tasks": tasks,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": FILE_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps,
        "splits": { "train": format!("0:{episodes}") },
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": null,
        "features": features.info(),
    })
}

/// Returns `stats.json`. A column without any finite value is left out.
pub fn stats(columns: &[Column], totals: &[Total]) -> Value {
    let mut all = Map::new();
    for (column, total) in columns.iter().zip(totals) {
        let Some(statistics) = total.statistics() else { continue };
        let shaped = |values: &Vec<f64>| match column.kind {
            Kind::Image => values.iter().map(|value| json!([[value]])).collect(),
            _ => json!(values),
        };
        let mut named: Map<String, Value> =
            statistics.named().map(|(name, values)| (name.into(), shaped(values))).collect();
        named.insert("count".into(), json!([statistics.count]));
        all.insert(column.name.clone(), named.into());
    }
    all.into()
}

/// Writes a file of JSON below the folder of a data set.
pub fn write_json(root: &Path, name: &str, value: &Value) -> Result<(), DatasetError> {
    let path = root.join(name);
    let text = serde_json::to_string_pretty(value).map_err(|error| DatasetError::write(&path, error))?;
    aegis_files::write_atomically(&path, (text + "\n").as_bytes())
        .map_err(|error| DatasetError::write(&path, error))
}
