//! Reads the episode results of other evaluators from files: CSV, Parquet, and JSON of LeRobot and vla-eval; the texts may be packed by
//! gzip.

use std::io::Read;
use std::path::{Path, PathBuf};

use aegis_files::{open_file, read_bytes, read_rows, without_mark};
use aegis_probe::parquet_file::{DAMAGED, batches, open};
use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use flate2::read::MultiGzDecoder;

use super::csv::{Table, table};
use super::rows::{COLUMNS, episodes};
use super::{Complaint, Episodes, evaluators};

/// Largest text after unpacking, bytes.
const MOST_BYTES: u64 = 1 << 30;
const GZIP: &[u8] = b"\x1f\x8b";

/// Error of reading a file of episode results.
#[derive(Debug, thiserror::Error)]
pub enum EpisodesError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system or of the format.
        reason: String,
    },
    /// A column or row is not valid.
    #[error("{path}: {what}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Column, place, value found and valid values.
        what: Complaint,
    },
}

/// Reads a file of episode results; its first bytes determine its kind. `arm` is the arm of all its episodes, where the file names none.
///
/// # Errors
/// A file that cannot be read, and the first invalid line, row or key with its column.
pub fn read(path: &Path, arm: Option<&str>) -> Result<Episodes, EpisodesError> {
    let io = |reason: String| EpisodesError::Read { path: path.to_owned(), reason };
    let invalid = |what| EpisodesError::Invalid { path: path.to_owned(), what };
    let mut first = Vec::new();
    // A pipe, which a shell has opened, can be read only once, and is text.
    if path.is_file() {
        let file = open_file(path).map_err(|error| io(error.to_string()))?;
        file.take(4).read_to_end(&mut first).map_err(|error| io(error.to_string()))?;
    }
    let mut found = if first.starts_with(b"PAR1") {
        let table = parquet(path).map_err(|error| match error {
            ParquetError::Read(reason) => io(reason),
            ParquetError::Invalid(what) => invalid(what),
        })?;
        episodes(&table, arm).map_err(invalid)?
    } else {
        let text = match first.starts_with(GZIP) {
            true => unpacked(path).map_err(io)?,
            false => read_rows(path).map_err(|error| io(error.to_string()))?,
        };
        if text.contains('\0') {
            let reason = "found zero bytes, which text of UTF-16 and UTF-32 has; valid is UTF-8: save the file in that encoding";
            return Err(io(reason.into()));
        }
        if text.trim_start().starts_with('{') {
            let value = serde_json::from_str(&text).map_err(|error| io(format!("not JSON: {error}")))?;
            evaluators::episodes(&value, arm).map_err(invalid)?
        } else {
            episodes(&table(&text).map_err(invalid)?, arm).map_err(invalid)?
        }
    };
    for episode in &mut found.episodes {
        episode.place = format!("{}: {}", path.display(), episode.place);
    }
    Ok(found)
}

fn unpacked(path: &Path) -> Result<String, String> {
    let bytes = read_bytes(path).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(&bytes[..]).take(MOST_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| format!("a gzip file that is cut short or damaged, so copy it again ({error})"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("the file unpacks to more than {MOST_BYTES} bytes; valid is at most that"));
    }
    let text = without_mark(&text).to_vec();
    String::from_utf8(text)
        .map_err(|_| "the file unpacks to other bytes than UTF-8 text; valid is a CSV or JSON file".into())
}

enum ParquetError {
    Read(String),
    Invalid(Complaint),
}

/// Reads the columns of a Parquet file as text. Rows count from 0.
fn parquet(path: &Path) -> Result<Table, ParquetError> {
    let builder = open(path).map_err(ParquetError::Read)?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let wanted: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| COLUMNS.contains(&name.trim().to_lowercase().as_str()))
        .collect();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut header: Option<Vec<String>> = None;
    for batch in batches(path, &wanted).map_err(ParquetError::Read)? {
        let batch = batch.map_err(|error| ParquetError::Read(format!("{DAMAGED} ({error})")))?;
        let schema = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns
            .map(|(column, field)| text(column, field.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ParquetError::Invalid)?;
        header.get_or_insert_with(|| schema.fields().iter().map(|field| field.name().clone()).collect());
        for row in 0..batch.num_rows() {
            let fields = columns.iter().map(|column| column.get(row).cloned().unwrap_or_default()).collect();
            rows.push((format!("row {}", rows.len()), fields));
        }
    }
    Ok(Table { header: header.unwrap_or(names), begins: "the file".into(), rows })
}

/// Converts a column of numbers, booleans or text to text; a null is an empty text.
fn text(column: &ArrayRef, name: &str) -> Result<Vec<String>, Complaint> {
    let other = || {
        let valid = "a column of numbers, booleans or text";
        Complaint::new("the file", name, column.data_type().to_string(), valid)
    };
    if column.data_type().is_nested() {
        return Err(other());
    }
    let cast = cast(column, &DataType::Utf8).map_err(|_| other())?;
    let text = arrow::array::AsArray::as_string_opt::<i32>(&cast).ok_or_else(other)?;
    Ok((0..text.len())
        .map(|row| if text.is_null(row) { String::new() } else { text.value(row).to_owned() })
        .collect())
}
