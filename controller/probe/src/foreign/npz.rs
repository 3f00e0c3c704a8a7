//! Columns of an `.npz` file, as `numpy.savez` and `numpy.savez_compressed` write it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::npy::{Array, HEAD_BYTES, head};
use super::{COLUMNS, Columns, ColumnsError, Labels, OPTIONAL, valid};
use crate::columns::{Lists, complaint};
use aegis_files::open_file;

/// Largest array, bytes.
const MOST_BYTES: usize = 8 << 30;
const DAMAGED: &str = "an .npz file that is cut short or damaged, so write or copy it again";

/// Reads the columns.
pub(super) fn columns(path: &Path) -> Result<Columns, ColumnsError> {
    let read = |reason: String| ColumnsError::Read(reason);
    let file = open_file(path).map_err(|error| read(error.to_string()))?;
    let mut archive = ZipArchive::new(file).map_err(|error| read(format!("{DAMAGED} ({error})")))?;
    check_names(path, archive.len())?;
    let names: Vec<String> =
        archive.file_names().filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned())).collect();
    let mut arrays = Vec::new();
    for column in COLUMNS {
        if names.iter().any(|name| name == column) {
            arrays.push((column, array(&mut archive, column)?));
        } else if column != OPTIONAL {
            let mut names = names.clone();
            names.sort();
            let among = if names.is_empty() { "no arrays".into() } else { names.join(", ") };
            let found = format!("no such array among {among}");
            return Err(complaint(column, found, valid(column)).into());
        }
    }
    let array = |column: &str| arrays.iter().find(|(name, _)| *name == column).map(|(_, array)| array);
    let wrong = |column: &str, array: &Array, valid: &str| {
        let found = format!("{} of shape {}", array.head.descr, shape(&array.head.shape));
        ColumnsError::from(complaint(column, found, valid))
    };
    // All arrays were pushed above except the optional one.
    let needed =
        |column: &str| array(column).ok_or_else(|| complaint(column, "no such array", valid(column)));
    let activation = needed("activation")?;
    let [rows, width] = activation.head.shape[..] else {
        let valid = "shape (rows, width): pool more axes first, as by activation.mean(axis=1)";
        return Err(wrong("activation", activation, valid));
    };
    let values = activation.numbers().ok_or_else(|| wrong("activation", activation, valid("activation")))?;
    let activation = Lists { rows: (0..rows).map(|row| row * width..(row + 1) * width).collect(), values };
    let one_axis = |column: &str| -> Result<Option<&Array>, ColumnsError> {
        let Some(array) = array(column) else { return Ok(None) };
        if array.head.shape != [rows] {
            let valid = format!(
                "shape ({rows},), one value for each row of activation: repeat it in every row of its episode"
            );
            return Err(wrong(column, array, &valid));
        }
        Ok(Some(array))
    };
    let labels = |column: &str| -> Result<Option<Labels>, ColumnsError> {
        let Some(array) = one_axis(column)? else { return Ok(None) };
        let found = array.integers().map(Labels::Numbers).or_else(|| array.text().map(Labels::Text));
        Ok(Some(found.ok_or_else(|| wrong(column, array, valid(column)))?))
    };
    let missing = |column: &str| ColumnsError::from(complaint(column, "no such array", valid(column)));
    let plain = |column: &str| one_axis(column)?.ok_or_else(|| missing(column));
    let (step, success) = (plain("step")?, plain("success")?);
    Ok(Columns {
        task: labels("task")?.ok_or_else(|| missing("task"))?,
        episode: labels("episode")?.ok_or_else(|| missing("episode"))?,
        start: labels(OPTIONAL)?,
        step: step.integers().ok_or_else(|| wrong("step", step, valid("step")))?,
        success: success.numbers().ok_or_else(|| wrong("success", success, valid("success")))?,
        activation,
    })
}

/// Refuses an archive with two arrays of one name, of which it is unknown which is meant: its directory has more entries than names.
fn check_names(path: &Path, names: usize) -> Result<(), ColumnsError> {
    let read = |error: std::io::Error| ColumnsError::Read(error.to_string());
    let mut file = open_file(path).map_err(read)?;
    // The end record of the directory is the last record of the file, followed by at most 64 KiB of comment.
    let size = file.seek(SeekFrom::End(0)).map_err(read)?;
    file.seek(SeekFrom::Start(size.saturating_sub(1 << 16))).map_err(read)?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).map_err(read)?;
    let record = end.windows(12).rev().find(|bytes| bytes.starts_with(b"PK\x05\x06"));
    let entries = record.map(|bytes| usize::from(u16::from_le_bytes([bytes[10], bytes[11]])));
    match entries {
        Some(entries) if entries > names => Err(ColumnsError::Read(format!(
            "found {entries} arrays of {names} names; valid is one array for each name: write the file again"
        ))),
        _ => Ok(()),
    }
}

/// Formats a shape as NumPy does.
fn shape(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    if sizes.len() == 1 { format!("({},)", sizes[0]) } else { format!("({})", sizes.join(", ")) }
}

/// Reads one array of the archive.
fn array(archive: &mut ZipArchive<File>, column: &str) -> Result<Array, ColumnsError> {
    let damaged =
        |error: &dyn std::fmt::Display| ColumnsError::Read(format!("{DAMAGED} ({column}: {error})"));
    let mut entry = archive.by_name(&format!("{column}.npy")).map_err(|error| match error {
        ZipError::UnsupportedArchive(what) => ColumnsError::Read(format!(
            "an .npz file with a compression that NumPy does not use ({column}: {what}); valid is a file of numpy.savez or \
             numpy.savez_compressed"
        )),
        other => damaged(&other),
    })?;
    let mut data = Vec::new();
    entry.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut data).map_err(|error| damaged(&error))?;
    let head = head(&data).map_err(|found| {
        let valid = format!("{}: write it with numpy.asarray(values, dtype=…)", valid(column));
        ColumnsError::from(complaint(column, found, valid))
    })?;
    let bytes = head.bytes().filter(|bytes| *bytes <= MOST_BYTES).ok_or_else(|| {
        let found = format!("an array of shape {}", shape(&head.shape));
        ColumnsError::from(complaint(
            column,
            found,
            format!("at most {MOST_BYTES} bytes: record fewer inferences"),
        ))
    })?;
    data.drain(..head.begins.min(data.len()));
    let rest = (bytes.saturating_sub(data.len()) as u64).saturating_add(1);
    entry.take(rest).read_to_end(&mut data).map_err(|error| damaged(&error))?;
    if data.len() != bytes {
        let found = if data.len() < bytes { data.len().to_string() } else { "more".into() };
        return Err(damaged(&format!("found {found} bytes; valid is {bytes}, the number in its header")));
    }
    Ok(Array { head, data })
}
