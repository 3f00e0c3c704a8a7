//! Rollouts of other programs: `.npz` files of NumPy and Parquet files of pandas and pyarrow are read with any types, and invalid
//! ones are refused with column and row. `fixtures/activations.py` made the Parquet files.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::io::Write;
use std::path::{Path, PathBuf};

use aegis_core::{EpisodeKey, Start};
use aegis_files::Scratch;
use aegis_probe::foreign::{ForeignRollouts, StepGrid, Tasks, read};
use aegis_probe::rollout::digest;
use zip::write::SimpleFileOptions;

const GRID: StepGrid = StepGrid { horizon_steps: 6, chunk_steps: 2 };

/// An array of NumPy: its type, its shape and its data.
#[derive(Clone)]
struct Array(&'static str, &'static str, Vec<u8>);

fn npy(Array(descr, shape, data): &Array) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn npz(path: &Path, arrays: &[(&str, Array)]) {
    let mut file = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, array) in arrays {
        file.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        file.write_all(&npy(array)).unwrap();
    }
    file.finish().unwrap();
}

fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Three episodes of one to three boundaries, the last of them lost; rows in no order.
fn arrays() -> Vec<(&'static str, Array)> {
    vec![
        ("task", Array("<i8", "(6,)", longs(&[0, 1, 0, 1, 0, 0]))),
        ("episode", Array("<i8", "(6,)", longs(&[2, 1, 2, 1, 2, 0]))),
        ("step", Array("<i8", "(6,)", longs(&[4, 0, 0, 2, 2, 0]))),
        ("success", Array("|b1", "(6,)", vec![0, 1, 0, 1, 0, 1])),
        (
            "activation",
            Array(
                "<f8",
                "(6, 2)",
                doubles(&[2.5, -2.5, 1.0, -1.0, 2.0, -2.0, 1.25, -1.25, 2.25, -2.25, 0.0, 0.0]),
            ),
        ),
    ]
}

/// Checks that the rollouts have the values of [`arrays`].
fn hold(found: &ForeignRollouts, name: &str) {
    let keys: Vec<EpisodeKey> = found.rollouts.iter().map(|rollout| rollout.key).collect();
    let key = |task, initial_state| EpisodeKey { start: Start { task, initial_state }, replicate: 0 };
    assert_eq!(keys, [key(0, 0), key(0, 2), key(1, 1)], "{name}");
    for rollout in &found.rollouts {
        let episode = rollout.key.start.initial_state;
        assert_eq!((rollout.success, rollout.steps as usize), (episode != 2, 2 * (episode + 1)), "{name}");
        assert_eq!(rollout.boundaries.len(), episode + 1, "{name}");
        for (index, boundary) in rollout.boundaries.iter().enumerate() {
            let mark = episode as f64 + index as f64 / 4.0;
            assert_eq!((boundary.step as usize, &boundary.chunks), (2 * index, &None), "{name}");
            assert_eq!(boundary.features, [mark, -mark], "{name}");
        }
    }
}

fn place() -> (Scratch, PathBuf) {
    let place = Scratch::within(&std::env::temp_dir()).unwrap();
    let path = place.path().join("rollouts.npz");
    (place, path)
}

#[test]
fn arrays_of_numpy_are_read_in_any_order_and_of_any_type() {
    let (_place, path) = place();
    let read_with = |column: &str, array: Array| {
        let mut all = arrays();
        all.retain(|(name, _)| *name != column);
        all.push((Box::leak(column.to_owned().into_boxed_str()), array));
        npz(&path, &all);
        read(&path, GRID, None).unwrap()
    };
    npz(&path, &arrays());
    let plain = read(&path, GRID, None).unwrap();
    hold(&plain, "plain");
    assert_eq!((&plain.tasks, plain.has_starts), (&Tasks::Numbers, false));
    hold(&read_with("task", Array("|u1", "(6,)", vec![0, 1, 0, 1, 0, 0])), "u1");
    hold(&read_with("success", Array("<f8", "(6,)", doubles(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]))), "floats");
    hold(&read_with("note", Array("|S1", "(2,)", vec![b'a', b'b'])), "others are ignored");
    let singles = [2.5_f32, -2.5, 1.0, -1.0, 2.0, -2.0, 1.25, -1.25, 2.25, -2.25, 0.0, 0.0];
    let singles: Vec<u8> = singles.iter().flat_map(|value| value.to_le_bytes()).collect();
    let found = read_with("activation", Array("<f4", "(6, 2)", singles));
    hold(&found, "f4");
    assert_eq!(digest(&found.rollouts), digest(&plain.rollouts));
    let halves = [2.5, -2.5, 1.0, -1.0, 2.0, -2.0, 1.25, -1.25, 2.25, -2.25, 0.0, 0.0];
    let halves: Vec<u8> = halves.iter().flat_map(|value| half::f16::from_f64(*value).to_le_bytes()).collect();
    hold(&read_with("activation", Array("<f2", "(6, 2)", halves)), "f2");
    let whole = read_with("activation", Array("<i8", "(6, 1)", longs(&[3, 1, 1, 2, 2, 0])));
    assert_eq!(whole.rollouts[1].boundaries[2].features, [3.0]);
}

#[test]
fn text_is_numbered_and_known_names_keep_their_numbers() {
    let (_place, path) = place();
    let mut all = arrays();
    all[0].1 = Array("|S4", "(6,)", b"pushliftpushliftpushpush".to_vec());
    npz(&path, &all);
    let first = read(&path, GRID, None).unwrap();
    assert_eq!(first.tasks, Tasks::Names(vec!["lift".into(), "push".into()]));
    assert_eq!(first.rollouts[0].key.start, Start { task: 0, initial_state: 1 });
    let known = Tasks::Names(vec!["wipe".into(), "push".into()]);
    let second = read(&path, GRID, Some(&known)).unwrap();
    assert_eq!(second.tasks, Tasks::Names(vec!["wipe".into(), "push".into(), "lift".into()]));
    assert_eq!(second.rollouts[0].key.start, Start { task: 1, initial_state: 0 });
    let error = read(&path, GRID, Some(&Tasks::Numbers)).unwrap_err().to_string();
    assert!(error.contains("task: found text; valid is whole numbers"), "{error}");
}

#[test]
fn episodes_of_one_start_are_replicates_of_it() {
    let (_place, path) = place();
    let mut all = arrays();
    all[0].1 = Array("<i8", "(6,)", longs(&[0; 6]));
    all.push(("start", Array("<i8", "(6,)", longs(&[40, 41, 40, 41, 40, 40]))));
    npz(&path, &all);
    let found = read(&path, GRID, None).unwrap();
    let keys: Vec<(usize, u64)> =
        found.rollouts.iter().map(|one| (one.key.start.initial_state, one.key.replicate)).collect();
    assert_eq!((keys, found.has_starts), (vec![(40, 0), (40, 2), (41, 1)], true));
}

#[test]
fn an_invalid_value_is_named_by_column_and_row() {
    let (_place, path) = place();
    let mut wrong = Vec::new();
    for (column, array, expected) in [
        (
            "step",
            Array("<i8", "(6,)", longs(&[4, 0, 0, 2, 1, 0])),
            "step: found row 4: step 1 after 0 (row 2) of task 0, episode 2",
        ),
        ("step", Array("<i8", "(6,)", longs(&[4, 0, 0, 2, 4, 0])), "step: found row 0: step 4 after 0"),
        (
            "step",
            Array("<i8", "(6,)", longs(&[4, 0, 0, 2, 0, 0])),
            "step: found rows 2 and 4: step 0 of task 0, episode 2 twice",
        ),
        (
            "step",
            Array("<i8", "(6,)", longs(&[4, 0, 0, 2, 2, 2])),
            "step: found row 5: step 2 as the first of task 0, episode 0; valid is 0",
        ),
        (
            "step",
            Array("<i8", "(6,)", longs(&[6, 0, 0, 2, 2, 0])),
            "step: found row 0: 6; valid is 0 to 5, below the 6 control steps",
        ),
        ("step", Array("<i8", "(6,)", longs(&[-4, 0, 0, 2, 2, 0])), "step: found row 0: -4"),
        (
            "step",
            Array("<f8", "(6,)", doubles(&[0.0; 6])),
            "step: found <f8 of shape (6,); valid is the control step",
        ),
        (
            "success",
            Array("|b1", "(6,)", vec![0, 1, 1, 1, 0, 1]),
            "success: found rows 2 and 4: true and false in task 0, episode 2",
        ),
        (
            "success",
            Array("<f8", "(6,)", doubles(&[0.0, 0.5, 0.0, 1.0, 0.0, 1.0])),
            "success: found row 1: 0.5",
        ),
        (
            "success",
            Array("|b1", "(3,)", vec![1, 1, 0]),
            "success: found |b1 of shape (3,); valid is shape (6,)",
        ),
        (
            "success",
            Array("|S1", "(6,)", b"yynnyy".to_vec()),
            "success: found |S1 of shape (6,); valid is the outcome",
        ),
        (
            "episode",
            Array("<i8", "(6,)", longs(&[2, -1, 2, -1, 2, 0])),
            "episode: found row 1: -1; valid is 0 to 4294967295",
        ),
        (
            "task",
            Array("|O", "(6,)", vec![0; 6]),
            "task: found Python objects (a pickle, which is never read)",
        ),
        (
            "activation",
            Array("<f8", "(12,)", doubles(&[0.0; 12])),
            "activation: found <f8 of shape (12,); valid is shape (rows, width)",
        ),
        ("activation", Array("<f8", "(6, 1, 2)", doubles(&[0.0; 12])), "pool more axes first"),
        ("activation", Array("<f8", "(6, 0)", Vec::new()), "activation: found row 0: 0 values"),
        ("activation", Array("|O", "(6,)", vec![0; 6]), "activation: found Python objects"),
        (
            "activation",
            Array("<f8", "(6, 1)", doubles(&[0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0])),
            "activation: found row 3: NaN as value 0",
        ),
        (
            "activation",
            Array("<f8", "(6, 1)", doubles(&[0.0, f64::INFINITY, 0.0, 0.0, 0.0, 0.0])),
            "activation: found row 1: inf as value 0",
        ),
        ("activation", Array("<f8", "(6, 900000000000)", Vec::new()), "at most 8589934592 bytes"),
        (
            "start",
            Array("<i8", "(6,)", longs(&[3, 1, 4, 1, 4, 0])),
            "start: found rows 4 and 0: two starts in task 0, episode 2",
        ),
    ] {
        let mut all = arrays();
        all.retain(|(name, _)| *name != column);
        all.push((column, array));
        npz(&path, &all);
        let error = read(&path, GRID, None).unwrap_err().to_string();
        if !error.contains("rollouts.npz: ") || !error.contains(expected) || !error.contains("valid is") {
            wrong.push(format!("{expected:?} is missing from: {error}"));
        }
    }
    let mut all = arrays();
    all.retain(|(name, _)| *name != "success");
    npz(&path, &all);
    let error = read(&path, GRID, None).unwrap_err().to_string();
    if !error
        .contains("success: found no such array among activation, episode, step, task; valid is the outcome")
    {
        wrong.push(error);
    }
    let empty = ["task", "episode", "step", "success"].map(|name| (name, Array("<i8", "(0,)", Vec::new())));
    npz(&path, &[&empty[..], &[("activation", Array("<f8", "(0, 3)", Vec::new()))]].concat());
    let error = read(&path, GRID, None).unwrap_err().to_string();
    if !error.contains("rows: found none") {
        wrong.push(error);
    }
    npz(&path, &arrays());
    let bytes = std::fs::read(&path).unwrap();
    for (bytes, said) in [
        (&bytes[..bytes.len() - 30], "an .npz file that is cut short or damaged"),
        (b"task,episode,step", "found text; valid is an .npz file of numpy.savez or a Parquet file"),
        (b"\x80\x04abc", "a pickle of Python; valid is"),
        (b"", "empty"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path, GRID, None).unwrap_err().to_string();
        if !error.contains(said) {
            wrong.push(format!("{said:?} is missing from: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_pandas_and_pyarrow_are_read_with_any_codec_and_types() {
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/activations").join(name);
    for name in ["pandas-snappy.parquet", "pandas-gzip.parquet", "pyarrow-half.parquet"] {
        hold(&read(&fixture(name), GRID, None).unwrap(), name);
    }
    let named = read(&fixture("pandas-names.parquet"), GRID, None).unwrap();
    assert_eq!(named.tasks, Tasks::Names(vec!["lift".into(), "push".into()]));
    for (name, said) in [
        ("ragged.parquet", "activation: found row 1: 1 values; valid is 2, as in row 0"),
        ("nulls.parquet", "success: found row 1: a null; valid is the outcome"),
        ("missing.parquet", "success: found no such column among task, episode, step, activation"),
        ("numbers.parquet", "activation: found Float64; valid is a column of lists of numbers"),
    ] {
        let error = read(&fixture(name), GRID, None).unwrap_err().to_string();
        assert!(error.contains(said), "{said:?} is missing from: {error}");
    }
}
