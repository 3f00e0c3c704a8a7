//! One Parquet file that is written batch by batch.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::DatasetError;

/// Bytes that are buffered before they are written as a group of rows.
const GROUP: usize = 16 << 20;

/// A Parquet file in progress.
pub struct ParquetOutput {
    path: PathBuf,
    schema: Arc<Schema>,
    writer: ArrowWriter<BufWriter<File>>,
}

impl ParquetOutput {
    /// Makes a new file and its folder. Columns named in `files` hold files that are compressed already. `metadata` is stored
    /// under its names.
    pub fn create(
        path: &Path,
        fields: Vec<Field>,
        files: &[String],
        metadata: &[(&str, String)],
    ) -> Result<Self, DatasetError> {
        let failed = |error: &dyn std::fmt::Display| DatasetError::write(path, error);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let file = BufWriter::new(File::create_new(path).map_err(|error| failed(&error))?);
        let owned = metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let schema = Arc::new(Schema::new(fields).with_metadata(owned));
        let entries =
            metadata.iter().map(|(name, value)| KeyValue::new((*name).to_owned(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(entries));
        for name in files {
            let column = ColumnPath::new(vec![name.clone(), "bytes".into()]);
            properties = properties
                .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build()));
        Ok(Self { path: path.to_owned(), schema, writer: writer.map_err(|error| failed(&error))? })
    }

    /// Appends rows.
    pub fn append(&mut self, columns: Vec<ArrayRef>) -> Result<(), DatasetError> {
        let failed = |error: &dyn std::fmt::Display| DatasetError::write(&self.path, error);
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| failed(&error))?;
        self.writer.write(&batch).map_err(|error| failed(&error))?;
        if self.writer.in_progress_size() >= GROUP {
            self.writer.flush().map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Returns the number of bytes so far, those that are buffered included.
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Completes the file and synchronises it to the disk.
    pub fn finish(self) -> Result<(), DatasetError> {
        let Self { path, writer, .. } = self;
        let file = writer.into_inner().map_err(|error| DatasetError::write(&path, error))?;
        let file = file.into_inner().map_err(|error| DatasetError::write(&path, error.error()))?;
        file.sync_all().map_err(|error| DatasetError::write(&path, error))
    }
}
