//! Reads a step trace of either layout. The types of all columns are checked; nothing is assumed about their values.

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float64Array, RecordBatch,
    StringArray, UInt32Array,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::columns::{NO_BOUNDARY, names};
use super::file::{METADATA, Notes, TraceFile};
use super::row::{Boundary, Layout, Row};

/// Error of reading a step trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceFileError {
    /// The bytes are not a Parquet file.
    #[error("not a step trace: {0}")]
    Format(String),
    /// A column or the metadata differs from those of a trace.
    #[error("{field}: found {found}; valid is {valid}")]
    Invalid {
        /// Name of the column or key.
        field: String,
        /// Value found.
        found: String,
        /// Description of the valid values.
        valid: String,
    },
}

fn invalid(field: &str, found: impl Into<String>, valid: impl Into<String>) -> TraceFileError {
    TraceFileError::Invalid { field: field.to_owned(), found: found.into(), valid: valid.into() }
}

impl TraceFile {
    /// Reads a trace from the bytes of its file.
    ///
    /// # Errors
    /// [`TraceFileError`] for bytes that are not a trace.
    pub fn read(bytes: Vec<u8>) -> Result<Self, TraceFileError> {
        let format = |error: &dyn std::fmt::Display| TraceFileError::Format(error.to_string());
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).map_err(|error| format(&error))?;
        let notes = builder.schema().metadata().get(METADATA).map(|text| notes(text)).transpose()?;
        let layout = if notes.is_some() { Layout::Two } else { Layout::One };
        let found: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
        if found != names(layout) {
            return Err(invalid("columns", found.join(", "), names(layout).join(", ")));
        }
        let mut rows = Vec::new();
        for batch in builder.build().map_err(|error| format(&error))? {
            let batch = batch.map_err(|error| format(&error))?;
            let columns = Columns::of(&batch, layout)?;
            for row in 0..batch.num_rows() {
                rows.push(columns.row(row)?);
            }
        }
        if rows.is_empty() {
            return Err(invalid("rows", "none", "one for each control step"));
        }
        Ok(Self { notes, rows })
    }
}

/// Parses the metadata. The version is checked first, since a different version would otherwise be reported as an error
/// of the first key that differs.
fn notes(text: &str) -> Result<Notes, TraceFileError> {
    let field = "metadata.aegis";
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| invalid(field, error.to_string(), "JSON"))?;
    let (found, valid) = (&value["schema"], Layout::Two as u32);
    if *found != valid {
        return Err(invalid("metadata.aegis.schema", found.to_string(), valid.to_string()));
    }
    serde_json::from_value(value)
        .map_err(|error| invalid(field, error.to_string(), "what `aegis experiment run` writes"))
}

/// Columns of one record batch, with their types.
struct Columns<'a> {
    arm: &'a StringArray,
    step: &'a UInt32Array,
    strong: &'a BooleanArray,
    success: &'a BooleanArray,
    action: &'a FixedSizeListArray,
    end_effector: &'a FixedSizeListArray,
    /// Columns that only layout 2 has.
    more: Option<More<'a>>,
}

struct More<'a> {
    boundary: &'a BooleanArray,
    fired: &'a BooleanArray,
    handed_over: &'a BooleanArray,
    score: &'a Float64Array,
    prefix: &'a FixedSizeBinaryArray,
    path: &'a FixedSizeBinaryArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch, layout: Layout) -> Result<Self, TraceFileError> {
        let column = |name: &'static str, valid: &'static str, ok: &dyn Fn(&DataType) -> bool| {
            let found = batch.column_by_name(name).ok_or_else(|| invalid(name, "no such column", valid))?;
            if ok(found.data_type()) && found.null_count() == 0 {
                return Ok(found);
            }
            Err(invalid(name, format!("{} with {} nulls", found.data_type(), found.null_count()), valid))
        };
        let booleans = |name| {
            let found = column(name, "boolean without nulls", &|found| *found == DataType::Boolean)?;
            Ok::<_, TraceFileError>(found.as_boolean())
        };
        let halves = |name| {
            let kind = DataType::FixedSizeBinary(16);
            let found = column(name, "16 bytes a row without nulls", &|found| *found == kind)?;
            Ok::<_, TraceFileError>(found.as_fixed_size_binary())
        };
        let list = |name, item: DataType, width: Option<i32>, valid| {
            let ok = |found: &DataType| match found {
                DataType::FixedSizeList(field, found) => {
                    *field.data_type() == item && width.is_none_or(|width| width == *found)
                }
                _ => false,
            };
            Ok::<_, TraceFileError>(column(name, valid, &ok)?.as_fixed_size_list())
        };
        let more = match layout {
            Layout::One => None,
            Layout::Two => Some(More {
                boundary: booleans("boundary")?,
                fired: booleans("fired")?,
                handed_over: booleans("handed_over")?,
                score: column("score", "float64 without nulls", &|found| *found == DataType::Float64)?
                    .as_primitive::<Float64Type>(),
                prefix: halves("prefix")?,
                path: halves("path")?,
            }),
        };
        Ok(Self {
            arm: column("arm", "text without nulls", &|found| *found == DataType::Utf8)?.as_string(),
            step: column("step", "uint32 without nulls", &|found| *found == DataType::UInt32)?
                .as_primitive::<UInt32Type>(),
            strong: booleans("strong")?,
            success: booleans("success")?,
            action: list("action", DataType::Float32, None, "a fixed-size list of float32")?,
            end_effector: list("end_effector", DataType::Float64, Some(3), "three float64 a row")?,
            more,
        })
    }

    fn row(&self, row: usize) -> Result<Row, TraceFileError> {
        let position = self.end_effector.value(row);
        let mut end_effector = [0.0; 3];
        end_effector.copy_from_slice(position.as_primitive::<Float64Type>().values());
        let mut made = Row {
            arm: self.arm.value(row).to_owned(),
            step: self.step.value(row),
            strong: self.strong.value(row),
            success: self.success.value(row),
            action: self.action.value(row).as_primitive::<Float32Type>().values().to_vec(),
            end_effector,
            boundary: None,
            path: [0; 16],
        };
        let Some(more) = &self.more else { return Ok(made) };
        made.path = half(more.path, row);
        let boundary = Boundary {
            fired: more.fired.value(row),
            handed_over: more.handed_over.value(row),
            score: more.score.value(row),
            prefix: half(more.prefix, row),
        };
        if more.boundary.value(row) {
            made.boundary = Some(boundary);
            return Ok(made);
        }
        for (name, blank) in [
            ("fired", boundary.fired == NO_BOUNDARY.fired),
            ("handed_over", boundary.handed_over == NO_BOUNDARY.handed_over),
            ("score", boundary.score.to_bits() == NO_BOUNDARY.score.to_bits()),
            ("prefix", boundary.prefix == NO_BOUNDARY.prefix),
        ] {
            if !blank {
                let found = format!("a value at control step {} of arm {}", made.step, made.arm);
                return Err(invalid(name, found, "none where no chunk begins"));
            }
        }
        Ok(made)
    }
}

fn half(column: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(column.value(row));
    half
}
