//! Parquet files of rollouts and traces: no nulls, Zstandard compression. Equal columns give equal bytes. Column
//! positions in a file's metadata are checked before the columns are read, since a damaged file may contain anything.

use std::collections::HashMap;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use aegis_files::{instead_of, open_file};

use arrow::array::{ArrayRef, FixedSizeListArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterProperties;

/// Name of a Parquet file in messages about files of another format.
const PARQUET: &str = "a Parquet file";
/// Error of a file whose beginning is that of a Parquet file.
pub const DAMAGED: &str = "a Parquet file that is cut short or damaged, so collect or copy it again";

/// Opens a Parquet file of any program, and checks that its columns lie within it.
///
/// # Errors
/// The reason as a message: an error of the operating system, another kind of file, or damage.
pub fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, String> {
    let damaged = |what: &dyn std::fmt::Display| format!("{DAMAGED} ({what})");
    let file = open_file(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    // Of some damaged schemas Arrow's reader says so by a panic.
    let begun = std::panic::catch_unwind(AssertUnwindSafe(|| ParquetRecordBatchReaderBuilder::try_new(file)));
    let begun = begun.map_err(|_| damaged(&"its schema cannot be read"))?;
    let builder = begun.map_err(|error| match instead_of(path) {
        Some(found) if found.ends_with(PARQUET) => damaged(&error),
        found => format!("not a Parquet file: {}", found.unwrap_or_else(|| error.to_string())),
    })?;
    check_column_ranges(builder.metadata(), length).map_err(|error| damaged(&error))?;
    Ok(builder)
}

/// Reads the columns with these names, where the file has them, batch by batch. Types are those of the columns themselves, not
/// those in the writing program's metadata, some of which the reader cannot make, such as a category of pandas over booleans.
///
/// # Errors
/// As [`open`].
pub fn batches(path: &Path, columns: &[&str]) -> Result<ParquetRecordBatchReader, String> {
    let file = open_file(path).map_err(|error| error.to_string())?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let damaged = |error: &dyn std::fmt::Display| format!("{DAMAGED} ({error})");
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| damaged(&error))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    builder.with_projection(mask).build().map_err(|error| damaged(&error))
}

/// Encodes columns of equal length and metadata as a Parquet file.
pub fn bytes(columns: Vec<(&str, ArrayRef)>, metadata: HashMap<String, String>) -> Result<Vec<u8>, String> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| error.to_string())?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut bytes = Vec::new();
    let written = ArrowWriter::try_new(&mut bytes, schema, Some(properties))
        .and_then(|mut writer| writer.write(&batch).and_then(|()| writer.close()));
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Checks that all columns lie within a file of `length` bytes, which the Parquet reader takes for granted.
pub fn check_column_ranges(metadata: &ParquetMetaData, length: u64) -> Result<(), String> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    for column in columns {
        let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let (bytes, values) = (column.compressed_size(), column.num_values());
        let end = u64::try_from(first).ok().zip(u64::try_from(bytes).ok());
        let end = end.and_then(|(first, bytes)| first.checked_add(bytes));
        if values < 0 || end.is_none_or(|end| end > length) {
            let name = column.column_path().string();
            return Err(format!("{name}: {bytes} bytes from byte {first} on, of {length}"));
        }
    }
    Ok(())
}

/// Groups values into rows of `width` values each.
pub fn list(values: ArrayRef, width: usize) -> Result<ArrayRef, String> {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    let width = i32::try_from(width).map_err(|error| error.to_string())?;
    let list = FixedSizeListArray::try_new(item, width, values, None).map_err(|error| error.to_string())?;
    Ok(Arc::new(list))
}
