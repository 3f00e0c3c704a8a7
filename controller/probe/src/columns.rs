//! Columns of Parquet files of other programs as numbers: integers and floats of any width, dictionaries, lists of any kind,
//! without nulls. Errors name column and row.

use std::ops::Range;

use aegis_files::text::clipped;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

/// Field, value found, and valid values.
pub(crate) type Complaint = (String, String, String);

/// Most characters of a found value that a message shows.
const SHOWN: usize = 200;

pub(crate) fn complaint(field: &str, found: impl Into<String>, valid: impl Into<String>) -> Complaint {
    (field.to_owned(), clipped(&found.into(), SHOWN), valid.into())
}

/// Column of lists: the index range of each row's values, and all values.
pub(crate) struct Lists {
    /// Index range of the values of each row.
    pub(crate) rows: Vec<Range<usize>>,
    /// Values of all rows.
    pub(crate) values: Vec<f64>,
}

impl Lists {
    /// Returns the values of a row; empty beyond the last.
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        self.rows.get(row).and_then(|range| self.values.get(range.clone())).unwrap_or_default()
    }
}

/// Returns a column by name and checks that it has no nulls.
pub(crate) fn column<'a>(
    batch: &'a RecordBatch,
    name: &str,
    valid: &str,
    first: usize,
) -> Result<&'a ArrayRef, Complaint> {
    let found = batch.column_by_name(name).ok_or_else(|| {
        let schema = batch.schema_ref();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        complaint(name, format!("no such column among {}", names.join(", ")), valid)
    })?;
    // Includes nulls among a dictionary's values.
    let nulls = found.logical_nulls();
    match nulls.and_then(|nulls| (0..found.len()).find(|row| nulls.is_null(*row))) {
        Some(row) => {
            let found = format!("row {}: a null", first + row);
            Err(complaint(name, found, format!("{valid} without nulls")))
        }
        None => Ok(found),
    }
}

/// Converts integers of any width, also in a dictionary; `None` for other types.
pub(crate) fn integers(array: &dyn Array) -> Option<Vec<i128>> {
    fn all<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &dyn Array) -> Option<Vec<i128>> {
        Some(array.as_primitive_opt::<T>()?.values().iter().map(|value| (*value).into()).collect())
    }
    match array.data_type() {
        DataType::Int8 => all::<Int8Type>(array),
        DataType::Int16 => all::<Int16Type>(array),
        DataType::Int32 => all::<Int32Type>(array),
        DataType::Int64 => all::<Int64Type>(array),
        DataType::UInt8 => all::<UInt8Type>(array),
        DataType::UInt16 => all::<UInt16Type>(array),
        DataType::UInt32 => all::<UInt32Type>(array),
        DataType::UInt64 => all::<UInt64Type>(array),
        DataType::Dictionary(..) if array.is_empty() => Some(Vec::new()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let values = integers(dictionary.values())?;
            dictionary.normalized_keys().into_iter().map(|key| values.get(key).copied()).collect()
        }
        _ => None,
    }
}

/// Converts numbers of any type; `None` for other types.
pub(crate) fn numbers(array: &dyn Array) -> Option<Vec<f64>> {
    match array.data_type() {
        DataType::Float16 => {
            let values = array.as_primitive_opt::<Float16Type>()?.values();
            Some(values.iter().map(|value| value.to_f64()).collect())
        }
        DataType::Float32 => {
            let values = array.as_primitive_opt::<Float32Type>()?.values();
            Some(values.iter().map(|value| f64::from(*value)).collect())
        }
        DataType::Float64 => Some(array.as_primitive_opt::<Float64Type>()?.values().to_vec()),
        _ => Some(integers(array)?.into_iter().map(|value| value as f64).collect()),
    }
}

/// Reads a column of lists of numbers.
pub(crate) fn lists(batch: &RecordBatch, name: &str, first: usize) -> Result<Lists, Complaint> {
    const VALID: &str = "a column of lists of numbers";
    let found = column(batch, name, VALID, first)?;
    let between = |offsets: &[usize]| offsets.windows(2).map(|pair| pair[0]..pair[1]).collect();
    let (rows, values): (Vec<Range<usize>>, &ArrayRef) = match found.data_type() {
        DataType::FixedSizeList(_, width) => {
            let (list, width) = (found.as_fixed_size_list(), *width as usize);
            let begin = |row: usize| list.value_offset(row) as usize;
            ((0..list.len()).map(|row| begin(row)..begin(row) + width).collect(), list.values())
        }
        DataType::List(_) => {
            let list = found.as_list::<i32>();
            let offsets: Vec<usize> = list.value_offsets().iter().map(|offset| *offset as usize).collect();
            (between(&offsets), list.values())
        }
        DataType::LargeList(_) => {
            let list = found.as_list::<i64>();
            let offsets: Vec<usize> = list.value_offsets().iter().map(|offset| *offset as usize).collect();
            (between(&offsets), list.values())
        }
        other => return Err(complaint(name, other.to_string(), VALID)),
    };
    let null = |row: &Range<usize>| row.clone().any(|index| values.is_null(index));
    if let Some(row) = rows.iter().position(null) {
        let found = format!("row {}: a null in the list", first + row);
        return Err(complaint(name, found, format!("{VALID} without nulls")));
    }
    let numbers = numbers(values).ok_or_else(|| complaint(name, found.data_type().to_string(), VALID))?;
    Ok(Lists { rows, values: numbers })
}
