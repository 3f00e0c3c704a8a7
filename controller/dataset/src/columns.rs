//! Columns of one episode while it is written: numbers of all of its rows, and pictures of those that are not in the file yet.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};

use crate::features::{Column, Kind};
use crate::statistics::{Colours, Statistics};

/// A picture as a file, with its colours.
pub type ColouredPicture = (Arc<Vec<u8>>, Arc<Colours>);

/// Values of one column.
enum Values {
    /// Numbers of every row of the episode, row-major, as they are stored.
    Numbers(Vec<f64>),
    /// Pictures of the rows that are not in the file yet, and the colours of all of the episode's.
    Pictures(Vec<Arc<Vec<u8>>>, Colours),
}

/// Columns of an episode.
pub struct Columns {
    columns: Vec<(Column, Values)>,
    /// Number of rows of the episode, and how many of them are in the file.
    rows: usize,
    written: usize,
    /// Bytes of pictures that are not in the file yet.
    bytes: usize,
}

impl Columns {
    /// Makes the empty columns of an episode.
    pub fn new(columns: &[Column]) -> Self {
        let values = |column: &Column| match column.kind {
            Kind::Image => Values::Pictures(Vec::new(), Colours::default()),
            _ => Values::Numbers(Vec::new()),
        };
        let columns = columns.iter().map(|column| (column.clone(), values(column))).collect();
        Self { columns, rows: 0, written: 0, bytes: 0 }
    }

    /// Adds a row: the numbers of each column of numbers, and the pictures with their colours, both in the columns' order.
    pub fn push(&mut self, numbers: &[Vec<f64>], pictures: &[ColouredPicture]) {
        let (mut numbers, mut pictures) = (numbers.iter(), pictures.iter());
        for (column, values) in &mut self.columns {
            match values {
                Values::Numbers(stored) => {
                    let row = numbers.next().map(Vec::as_slice).unwrap_or_default();
                    stored.extend(row.iter().map(|value| stored_as(column.kind, *value)));
                }
                Values::Pictures(stored, total) => {
                    if let Some((data, colours)) = pictures.next() {
                        self.bytes += data.len();
                        total.add(colours);
                        stored.push(Arc::clone(data));
                    }
                }
            }
        }
        self.rows += 1;
    }

    /// Sets the value of a column of one value in the last row.
    pub fn set_last(&mut self, name: &str, value: f64) {
        for (column, values) in &mut self.columns {
            if let Values::Numbers(stored) = values
                && column.name == name
                && let Some(last) = stored.last_mut()
            {
                *last = value;
            }
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the bytes of pictures that are not in the file yet, and the number of their rows.
    pub fn waiting(&self) -> (usize, usize) {
        (self.bytes, self.rows - self.written)
    }

    /// Takes out the rows that are not in the file yet, as arrays.
    pub fn take(&mut self) -> Result<Vec<ArrayRef>, String> {
        let rows = self.written..self.rows;
        let arrays = self.columns.iter_mut().map(|(column, values)| match values {
            Values::Numbers(stored) => {
                let width = column.width();
                numbers(column.kind, width, &stored[rows.start * width..rows.end * width])
            }
            Values::Pictures(stored, _) => pictures(&std::mem::take(stored)),
        });
        let arrays = arrays.collect();
        (self.written, self.bytes) = (self.rows, 0);
        arrays
    }

    /// Returns the statistics of each column over the episode.
    pub fn statistics(&self) -> Vec<Statistics> {
        let of = |(column, values): &(Column, Values)| match values {
            Values::Numbers(stored) => Statistics::of(stored, column.width()),
            Values::Pictures(_, colours) => colours.statistics(),
        };
        self.columns.iter().map(of).collect()
    }
}

/// Returns a number with the precision that its column stores.
fn stored_as(kind: Kind, value: f64) -> f64 {
    match kind {
        Kind::Float32 => f64::from(value as f32),
        _ => value,
    }
}

/// Returns the field of a column in the Parquet files.
pub fn field(column: &Column) -> Field {
    Field::new(&column.name, data_type(column.kind, column.width()), true)
}

fn data_type(kind: Kind, width: usize) -> DataType {
    let element = match kind {
        Kind::Float32 => DataType::Float32,
        Kind::Float64 => DataType::Float64,
        Kind::Int64 => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Image => return DataType::Struct(picture_fields()),
    };
    if width == 1 {
        return element;
    }
    DataType::FixedSizeList(
        Arc::new(Field::new("element", element, true)),
        i32::try_from(width).unwrap_or(i32::MAX),
    )
}

/// Returns the parts of a picture, as the library `datasets` stores an image: bytes, and a path that is always null.
fn picture_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

fn numbers(kind: Kind, width: usize, values: &[f64]) -> Result<ArrayRef, String> {
    let elements: ArrayRef = match kind {
        Kind::Float32 => Arc::new(Float32Array::from_iter_values(values.iter().map(|value| *value as f32))),
        Kind::Int64 => Arc::new(Int64Array::from_iter_values(values.iter().map(|value| *value as i64))),
        Kind::Bool => Arc::new(BooleanArray::from_iter(values.iter().map(|value| Some(*value > 0.0)))),
        Kind::Float64 | Kind::Image => Arc::new(Float64Array::from(values.to_vec())),
    };
    let DataType::FixedSizeList(field, width) = data_type(kind, width) else { return Ok(elements) };
    let list =
        FixedSizeListArray::try_new(field, width, elements, None).map_err(|error| error.to_string())?;
    Ok(Arc::new(list))
}

fn pictures(stored: &[Arc<Vec<u8>>]) -> Result<ArrayRef, String> {
    let bytes = BinaryArray::from_iter_values(stored.iter().map(|data| data.as_slice()));
    let paths = StringArray::new_null(stored.len());
    let columns: Vec<ArrayRef> = vec![Arc::new(bytes), Arc::new(paths)];
    let array = StructArray::try_new(picture_fields(), columns, None).map_err(|error| error.to_string())?;
    Ok(Arc::new(array))
}
