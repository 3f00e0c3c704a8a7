//! Columns of a step trace: conversion of rows to arrays for writing, and the digest of each column of an arm.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float32Array, Float64Array, StringArray, UInt32Array,
};
use sha2::{Digest, Sha256};

use super::row::{Boundary, Layout, Row};
use aegis_files::hex;
use aegis_probe::parquet_file::list;

/// Columns whose digests a file of layout 2 contains for each arm.
const DIGESTED: [&str; 11] = [
    "action",
    "boundary",
    "end_effector",
    "fired",
    "handed_over",
    "path",
    "prefix",
    "score",
    "step",
    "strong",
    "success",
];

/// Value of the boundary columns at control steps that begin no chunk.
pub(super) const NO_BOUNDARY: Boundary =
    Boundary { fired: false, handed_over: false, score: f64::NAN, prefix: [0; 16] };

/// Returns the names of a layout's columns, in their order.
pub(super) fn names(layout: Layout) -> &'static [&'static str] {
    const NAMES: [&str; 12] = [
        "arm",
        "step",
        "strong",
        "success",
        "action",
        "end_effector",
        "boundary",
        "fired",
        "handed_over",
        "score",
        "prefix",
        "path",
    ];
    match layout {
        Layout::One => &NAMES[..6],
        Layout::Two => &NAMES,
    }
}

fn boundary(row: &Row) -> Boundary {
    row.boundary.unwrap_or(NO_BOUNDARY)
}

/// Returns the columns of a layout as arrays without nulls.
pub(super) fn arrays(rows: &[Row], layout: Layout) -> Result<Vec<(&'static str, ArrayRef)>, String> {
    let width = rows.last().map_or(0, |row| row.action.len());
    let booleans = |of: fn(&Row) -> bool| -> ArrayRef {
        Arc::new(BooleanArray::from(rows.iter().map(of).collect::<Vec<bool>>()))
    };
    let halves = |of: fn(&Row) -> [u8; 16]| {
        let made = FixedSizeBinaryArray::try_from_iter(rows.iter().map(of));
        made.map(|made| Arc::new(made) as ArrayRef).map_err(|error| error.to_string())
    };
    let actions: Vec<f32> = rows.iter().flat_map(|row| row.action.iter().copied()).collect();
    let positions: Vec<f64> = rows.iter().flat_map(|row| row.end_effector).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("arm", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.arm.as_str())))),
        ("step", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.step)))),
        ("strong", booleans(|row| row.strong)),
        ("success", booleans(|row| row.success)),
        ("action", list(Arc::new(Float32Array::from(actions)), width)?),
        ("end_effector", list(Arc::new(Float64Array::from(positions)), 3)?),
    ];
    if layout == Layout::Two {
        let scores = rows.iter().map(|row| boundary(row).score);
        columns.extend([
            ("boundary", booleans(|row| row.boundary.is_some())),
            ("fired", booleans(|row| boundary(row).fired)),
            ("handed_over", booleans(|row| boundary(row).handed_over)),
            ("score", Arc::new(Float64Array::from_iter_values(scores)) as ArrayRef),
            ("prefix", halves(|row| boundary(row).prefix)?),
            ("path", halves(|row| row.path)?),
        ]);
    }
    Ok(columns)
}

/// Returns the SHA-256 of each column over the rows: values in row order, numbers as little-endian bytes, booleans as
/// one byte.
pub(super) fn digests<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeMap<String, String> {
    let mut hashers: BTreeMap<&str, Sha256> =
        DIGESTED.into_iter().map(|name| (name, Sha256::new())).collect();
    for row in rows {
        let boundary = boundary(row);
        for (name, hasher) in &mut hashers {
            match *name {
                "action" => row.action.iter().for_each(|value| hasher.update(value.to_le_bytes())),
                "boundary" => hasher.update([u8::from(row.boundary.is_some())]),
                "end_effector" => {
                    row.end_effector.iter().for_each(|value| hasher.update(value.to_le_bytes()))
                }
                "fired" => hasher.update([u8::from(boundary.fired)]),
                "handed_over" => hasher.update([u8::from(boundary.handed_over)]),
                "path" => hasher.update(row.path),
                "prefix" => hasher.update(boundary.prefix),
                "score" => hasher.update(boundary.score.to_le_bytes()),
                "step" => hasher.update(row.step.to_le_bytes()),
                "strong" => hasher.update([u8::from(row.strong)]),
                _ => hasher.update([u8::from(row.success)]),
            }
        }
    }
    hashers.into_iter().map(|(name, hasher)| (name.to_owned(), hex(&hasher.finalize()))).collect()
}
