//! Rollout files written by pandas and pyarrow: every value is read, and invalid files are refused with the reason.
//! `fixtures/rollouts.py` made the files.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::EpisodeKey;
use aegis_core::Start;
use aegis_files::Scratch;
use aegis_probe::rollout::Rollout;
use aegis_probe::rollout_file::read;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rollouts").join(name)
}

/// Checks that the rollouts have the values that `fixtures/rollouts.py` writes into each file.
fn hold(rollouts: &[Rollout], name: &str) {
    assert_eq!(rollouts.len(), 3, "{name}");
    for (episode, rollout) in rollouts.iter().enumerate() {
        let start = Start { task: episode % 2, initial_state: 40 + episode };
        assert_eq!(rollout.key, EpisodeKey { start, replicate: 0 }, "{name}");
        assert_eq!((rollout.success, rollout.steps as usize), (episode != 2, 2 * (episode + 1)), "{name}");
        assert_eq!(rollout.boundaries.len(), episode + 1, "{name}");
        for (index, boundary) in rollout.boundaries.iter().enumerate() {
            let mark = episode as f64 + index as f64 / 4.0;
            assert_eq!(boundary.step as usize, 2 * index, "{name}");
            assert_eq!(boundary.features, [mark, -mark, 0.5], "{name}");
            let chunks = boundary.chunks.as_ref().expect("a file of `aegis collect` has chunks");
            assert_eq!(chunks.weak.values(), [mark as f32 / 2.0, 0.25], "{name}");
            assert_eq!(chunks.strong.values(), [0.125, -mark as f32], "{name}");
        }
    }
}

#[test]
fn files_of_pandas_and_pyarrow_are_read_with_any_codec_and_types() {
    let names = ["pandas", "pandas-small", "pyarrow-brotli", "pyarrow-lz4", "pyarrow-none", "pyarrow-zstd"];
    for name in names {
        let (provenance, rollouts) = read(&fixture(&format!("{name}.parquet"))).unwrap();
        assert_eq!((provenance.tensor.as_str(), provenance.action_width), ("tokens", 1), "{name}");
        hold(&rollouts, name);
    }
}

/// Types that pandas writes beside the columns where they are categories. Arrow's reader cannot make some of them.
#[test]
fn a_category_of_pandas_over_booleans_is_read_in_any_column() {
    let place = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = place.path().join("categories.parquet");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; 6]));
    for (name, rows) in [("success", rows()), ("seen", with("seen", Some(flags)))] {
        let fields: Vec<Field> = rows
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Boolean));
                let kind = if field.name() == name { kind } else { field.data_type().clone() };
                Field::new(field.name(), kind, true)
            })
            .collect();
        let said = encode_arrow_schema(&Schema::new(fields));
        let mut pairs = vec![KeyValue::new("ARROW:schema".to_owned(), said)];
        let metadata = rows.schema().metadata().clone();
        pairs.extend(metadata.into_iter().map(|(key, value)| KeyValue::new(key, value)));
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new_with_options(file, rows.schema(), options).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        hold(&read(&path).unwrap().1, name);
    }
}

/// Returns all rows of the file that pandas writes with its default settings.
fn rows() -> RecordBatch {
    let file = std::fs::File::open(fixture("pandas.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Returns the same rows with another column of this name, or without that column.
fn with(name: &str, column: Option<ArrayRef>) -> RecordBatch {
    let rows = rows();
    let mut columns: Vec<(String, ArrayRef)> = rows
        .schema()
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .filter(|(known, _)| known != name)
        .collect();
    columns.extend(column.map(|column| (name.to_owned(), column)));
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.iter().map(|(name, column)| (name, Arc::clone(column), true)),
    )
    .unwrap();
    let schema = batch.schema().as_ref().clone().with_metadata(rows.schema().metadata().clone());
    batch.with_schema(Arc::new(schema)).unwrap()
}

fn lists(of: &[Option<&[Option<f64>]>]) -> ArrayRef {
    let rows = of.iter().map(|row| row.map(|values| values.to_vec()));
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))
}

#[test]
fn an_invalid_value_is_named_by_column_and_row() {
    let place = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = place.path().join("wrong.parquet");
    let refused = |batch: &RecordBatch| {
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        read(&path).unwrap_err().to_string()
    };
    let whole =
        |values: [Option<i64>; 6]| -> Option<ArrayRef> { Some(Arc::new(Int64Array::from(values.to_vec()))) };
    let good: [&[Option<f64>]; 6] = [&[Some(1.0), Some(2.0)]; 6];
    let but = |row: usize, values: Option<&'static [Option<f64>]>| {
        let mut all = good.map(Some);
        all[row] = values;
        Some(lists(&all))
    };
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.0; 6]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["0.5"; 6]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, true, true, true, false, false]));
    for (name, column, expected) in [
        ("strong_chunk", None, "strong_chunk: found no such column among task, initial_state"),
        ("task", Some(doubles), "task: found Float64; valid is a column of whole numbers"),
        (
            "step",
            whole([Some(0), Some(-2), Some(0), Some(0), Some(0), Some(0)]),
            "step: found row 1: -2; valid is 0 to 4294967295",
        ),
        (
            "episode_steps",
            whole([Some(1 << 40); 6]),
            "episode_steps: found row 0: 1099511627776; valid is 0 to",
        ),
        // Values that contradict each other or the file's metadata.
        (
            "episode_steps",
            whole([Some(0), Some(4), Some(4), Some(6), Some(6), Some(6)]),
            "episode_steps: found row 0: 0; valid is 1 to 6, metadata.aegis.horizon_steps",
        ),
        (
            "episode_steps",
            whole([Some(2), Some(8), Some(8), Some(6), Some(6), Some(6)]),
            "episode_steps: found row 1: 8; valid is 1 to 6",
        ),
        (
            "episode_steps",
            whole([Some(2), Some(2), Some(2), Some(6), Some(6), Some(6)]),
            "step: found row 2: step 2 after 0, of an episode of 2 steps; valid is a row after each 2 steps",
        ),
        (
            "episode_steps",
            whole([Some(2), Some(6), Some(6), Some(6), Some(6), Some(6)]),
            "step: found row 2: step 2 as the last of task 1, initial state 41, replicate 0, of 6 steps",
        ),
        (
            "step",
            whole([Some(2), Some(0), Some(2), Some(0), Some(2), Some(4)]),
            "step: found row 0: step 2 as the first of task 0, initial state 40, replicate 0; valid is 0",
        ),
        (
            "step",
            whole([Some(0), Some(0), Some(3), Some(0), Some(2), Some(4)]),
            "step: found row 2: step 3 after 0, of an episode of 4 steps; valid is a row after each 2 steps",
        ),
        (
            "replicate",
            whole([Some(0), None, Some(0), Some(0), Some(0), Some(0)]),
            "replicate: found row 1: a null; valid is a column of whole numbers from 0 without nulls",
        ),
        ("success", Some(Arc::clone(&words)), "success: found Utf8; valid is a column of booleans"),
        ("success", Some(flags), "step: found row 4: step 2 after 0, success false"),
        ("activation", Some(words), "activation: found Utf8; valid is a column of lists of numbers"),
        (
            "activation",
            but(4, Some(&[Some(1.0)])),
            "activation: found row 4: 1 values; valid is 2, as in row 0",
        ),
        ("activation", but(2, None), "activation: found row 2: a null"),
        ("activation", but(3, Some(&[Some(1.0), None])), "activation: found row 3: a null in the list"),
        (
            "weak_chunk",
            but(5, Some(&[])),
            "weak_chunk: found row 5: 0 values; valid is one or more actions of 1",
        ),
        (
            "strong_chunk",
            but(2, Some(&[Some(1.0)])),
            "strong_chunk: found row 2: 1 actions; valid is 2, as in weak_chunk",
        ),
        ("strong_chunk", but(1, Some(&[Some(f64::NAN)])), "strong_chunk: found row 1: 1 values; valid is"),
    ] {
        let error = refused(&with(name, column));
        assert!(
            error.contains(expected) && error.contains("wrong.parquet"),
            "{expected:?} is missing from: {error}"
        );
    }
    // Rows sorted by step, so that an episode's rows are not consecutive.
    let mixed = UInt32Array::from(vec![0, 1, 3, 2, 4, 5]);
    let error = refused(&take_record_batch(&rows(), &mixed).unwrap());
    assert!(error.contains("row 3: task 1") && error.contains("began in row 1"), "{error}");
    // A truncated file, and a duplicate column.
    let error = refused(&take_record_batch(&rows(), &UInt32Array::from(vec![0, 1, 2, 3, 4])).unwrap());
    assert!(error.contains("step: found row 4: step 2 as the last of task 0, initial state 42"), "{error}");
    let whole = rows();
    let fields = whole
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([whole.schema().fields()[0].clone()])
        .collect::<Vec<_>>();
    let columns = whole.columns().iter().cloned().chain([whole.column(0).clone()]).collect();
    let schema = arrow::datatypes::Schema::new(fields).with_metadata(whole.schema().metadata().clone());
    let error = refused(&RecordBatch::try_new(Arc::new(schema), columns).unwrap());
    assert!(
        error.contains("task: found more than one among") && error.contains("valid is one column"),
        "{error}"
    );
    // Metadata that is missing, as pandas may drop it, or of another schema.
    let bare = with("note", None);
    let bare = RecordBatch::try_new(
        Arc::new(bare.schema().as_ref().clone().with_metadata(Default::default())),
        bare.columns().to_vec(),
    )
    .unwrap();
    let error = refused(&bare);
    assert!(
        error.contains("metadata.aegis: found no such key") && error.contains("docs/reference/rollouts.md"),
        "{error}"
    );
    let later = std::collections::HashMap::from([("aegis".to_owned(), "{\"schema\": 7}".to_owned())]);
    let schema = bare.schema().as_ref().clone().with_metadata(later);
    let error = refused(&RecordBatch::try_new(Arc::new(schema), bare.columns().to_vec()).unwrap());
    assert!(error.contains("metadata.aegis.schema: found 7; valid is 2, or 1"), "{error}");
}
