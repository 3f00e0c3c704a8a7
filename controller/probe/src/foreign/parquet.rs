//! Columns of a Parquet file, as pandas and pyarrow write it.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::{COLUMNS, Columns, ColumnsError, Labels, OPTIONAL, valid};
use crate::columns::{Complaint, column, complaint, integers, lists, numbers};
use crate::parquet_file::{DAMAGED, batches, open};

/// Reads the columns.
pub(super) fn columns(path: &Path) -> Result<Columns, ColumnsError> {
    let read = |reason: String| ColumnsError::Read(reason);
    let builder = open(path).map_err(read)?;
    let names: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
    for name in COLUMNS {
        match names.iter().filter(|found| **found == name).count() {
            0 if name != OPTIONAL => {
                let found = format!("no such column among {}", names.join(", "));
                return Err(complaint(name, found, valid(name)).into());
            }
            0 | 1 => {}
            _ => {
                let found = format!("more than one among {names:?}");
                return Err(complaint(name, found, "one column of this name").into());
            }
        }
    }
    let has_starts = names.contains(&OPTIONAL);
    let mut found: Option<Columns> = None;
    let mut rows = 0;
    for batch in batches(path, &COLUMNS).map_err(read)? {
        let batch = batch.map_err(|error| read(format!("{DAMAGED} ({error})")))?;
        let more = of(&batch, rows, has_starts)?;
        rows += batch.num_rows();
        match &mut found {
            None => found = Some(more),
            Some(columns) => columns.extend(more),
        }
    }
    found.ok_or_else(|| complaint("rows", "none", "one for each inference").into())
}

fn of(batch: &RecordBatch, first: usize, has_starts: bool) -> Result<Columns, Complaint> {
    let typed = |name: &str| column(batch, name, valid(name), first);
    let other = |name: &str, array: &ArrayRef| complaint(name, array.data_type().to_string(), valid(name));
    let label = |name: &str| {
        let array = typed(name)?;
        labels(array).ok_or_else(|| other(name, array))
    };
    let (step, success) = (typed("step")?, typed("success")?);
    let flags = success
        .as_boolean_opt()
        .map(|flags| flags.values().iter().map(|flag| f64::from(u8::from(flag))).collect());
    Ok(Columns {
        task: label("task")?,
        episode: label("episode")?,
        start: if has_starts { Some(label(OPTIONAL)?) } else { None },
        step: integers(step).ok_or_else(|| other("step", step))?,
        success: flags.or_else(|| numbers(success)).ok_or_else(|| other("success", success))?,
        activation: lists(batch, "activation", first)?,
    })
}

/// Converts whole numbers or text; `None` for other types.
fn labels(array: &ArrayRef) -> Option<Labels> {
    let text = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(|text| text.map(ToOwned::to_owned)).collect(),
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().map(|text| text.map(ToOwned::to_owned)).collect()
        }
        DataType::Utf8View => array.as_string_view().iter().map(|text| text.map(ToOwned::to_owned)).collect(),
        _ => None,
    };
    text.map(Labels::Text).or_else(|| integers(array).map(Labels::Numbers))
}

impl Labels {
    fn extend(&mut self, more: Self) {
        match (self, more) {
            (Self::Numbers(all), Self::Numbers(more)) => all.extend(more),
            (Self::Text(all), Self::Text(more)) => all.extend(more),
            // All batches of a column have one type.
            _ => {}
        }
    }
}

impl Columns {
    /// Adds the rows of the next batch.
    fn extend(&mut self, more: Self) {
        let begin = self.activation.values.len();
        let ranges = more.activation.rows.into_iter().map(|range| range.start + begin..range.end + begin);
        self.activation.rows.extend(ranges);
        self.activation.values.extend(more.activation.values);
        self.task.extend(more.task);
        self.episode.extend(more.episode);
        if let (Some(all), Some(more)) = (&mut self.start, more.start) {
            all.extend(more);
        }
        self.step.extend(more.step);
        self.success.extend(more.success);
    }
}
