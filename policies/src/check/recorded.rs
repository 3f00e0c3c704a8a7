//! Agreement with a recording of the training code: an `.npz` file of the policy's input tensors and actions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aegis_core::PolicyError;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};

use crate::card::ModelCard;
use crate::check::assignment::cheapest;
use crate::check::{Finding, Tensors, Verdict};
use crate::inputs::{ImageInput, Input, PixelLayout};
use crate::onnx::OnnxPolicy;

/// Largest number of bytes of one array.
const MOST_BYTES: u64 = 1 << 30;
/// Name of the array of actions in the file, in place of the name of the graph's output.
const ACTION: &str = "action";
/// Largest difference of actions, as a share of the largest action or of 1, that counts as agreement.
const AGREES: f64 = 1e-3;
/// Distance from the recorded mean, in recorded spreads, beyond which a value counts as different.
const OUTSIDE: f64 = 6.0;
/// Mean distance up to which a value fits another index.
const FITS: f64 = 3.0;
/// Lead in correlation by which a turned picture fits better than the card's.
const LEAD: f64 = 0.1;

/// Error of a recording.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct RecordingError {
    /// The file.
    pub path: PathBuf,
    /// Array, what was found and what would be valid.
    pub reason: String,
}

/// Arrays of a recording, by the names of the graph's tensors: one row for each inference.
#[derive(Clone, Debug)]
pub struct Recording {
    rows: usize,
    arrays: BTreeMap<String, Vec<Vec<f64>>>,
    /// Sizes of one row of each array, without those of 1.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Recording {
    /// Reads the arrays of a file that have the name of an input of the card, of its chunk's tensor, or `action`. The first axis
    /// counts inferences.
    ///
    /// # Errors
    /// [`RecordingError`] for a file that is no `.npz`, none of whose arrays is known, or whose arrays differ in length.
    pub fn load(path: &Path, card: &ModelCard) -> Result<Self, RecordingError> {
        let wrong = |reason: String| RecordingError { path: path.into(), reason };
        let file = File::open(path).map_err(|error| wrong(format!("cannot read: {error}")))?;
        let not_npz =
            |error: &dyn std::fmt::Display| wrong(format!("not an .npz file of numpy.savez: {error}"));
        check_sizes(&file).map_err(&wrong)?;
        let mut archive = NpzReader::new(file).map_err(|error| not_npz(&error))?;
        let names = archive.names().map_err(|error| not_npz(&error))?;
        let known: Vec<&str> =
            (card.inputs.iter().map(Input::tensor)).chain([card.chunk.tensor.as_str(), ACTION]).collect();
        let (mut arrays, mut shapes) = (BTreeMap::new(), BTreeMap::new());
        for entry in &names {
            let name = entry.trim_end_matches(".npy");
            if !known.contains(&name) {
                continue;
            }
            let array =
                numbers(&mut archive, entry).map_err(|reason| wrong(format!("array {name}: {reason}")))?;
            let rows = array.shape().first().copied().unwrap_or(0);
            if rows == 0 {
                return Err(wrong(format!(
                    "array {name}: found shape {:?}; valid is one row or more",
                    array.shape()
                )));
            }
            let inner = array.shape()[1..].iter().copied().filter(|size| *size != 1).collect();
            shapes.insert(name.to_owned(), inner);
            let values: Vec<f64> = array.iter().copied().collect();
            let size = values.len() / rows;
            arrays
                .insert(name.to_owned(), values.chunks(size.max(1)).map(<[f64]>::to_vec).collect::<Vec<_>>());
        }
        let Some((first, one)) = arrays.iter().next() else {
            let (found, valid) = (names.join(", "), known.join(", "));
            return Err(wrong(format!("found arrays {found}; valid are some of {valid}")));
        };
        let rows = one.len();
        if let Some((name, other)) = arrays.iter().find(|(_, other)| other.len() != rows) {
            let reason = format!("array {name}: found {} rows; valid is {rows}, as {first} has", other.len());
            return Err(wrong(reason));
        }
        Ok(Self { rows, arrays, shapes })
    }
}

/// Checks that each array has the number of bytes of its header, before memory is allocated for it.
fn check_sizes(file: &File) -> Result<(), String> {
    let not_npz = |error: &dyn std::fmt::Display| format!("not an .npz file of numpy.savez: {error}");
    let mut archive = zip::ZipArchive::new(file).map_err(|error| not_npz(&error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| not_npz(&error))?;
        let (name, size) = (entry.name().to_owned(), entry.size());
        if size > MOST_BYTES {
            return Err(format!(
                "array {name}: found {size} bytes; valid is at most {MOST_BYTES}: record fewer inferences"
            ));
        }
        let header = announced_values(&mut entry)
            .ok_or_else(|| not_npz(&format!("array {name} has no header of NumPy")))?;
        if header > u128::from(size) {
            return Err(format!(
                "array {name}: found {header} values in its header; valid is the number that its {size} bytes hold"
            ));
        }
    }
    Ok(())
}

/// Returns the number of values that the header of a `.npy` file announces. Source of the layout: NumPy, `numpy.lib.format`.
fn announced_values(entry: &mut impl Read) -> Option<u128> {
    let mut begin = [0; 8];
    entry.read_exact(&mut begin).ok()?;
    let length = match (&begin[..6], begin[6]) {
        (b"\x93NUMPY", 1) => {
            let mut bytes = [0; 2];
            entry.read_exact(&mut bytes).ok()?;
            usize::from(u16::from_le_bytes(bytes))
        }
        (b"\x93NUMPY", 2 | 3) => {
            let mut bytes = [0; 4];
            entry.read_exact(&mut bytes).ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()?
        }
        _ => return None,
    };
    let mut text = vec![0; length.min(1 << 16)];
    entry.read_exact(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let shape = text.split("'shape':").nth(1)?.split('(').nth(1)?.split(')').next()?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.parse::<u128>().ok()).try_fold(1_u128, |all, size| all.checked_mul(size?))
}

/// Reads an array of any of numpy's usual types as doubles.
fn numbers(archive: &mut NpzReader<File>, entry: &str) -> Result<ArrayD<f64>, String> {
    fn read<T: ReadableElement + Copy>(
        archive: &mut NpzReader<File>,
        entry: &str,
        convert: impl Fn(T) -> f64,
    ) -> Result<ArrayD<f64>, ReadNpzError> {
        let array = archive.by_name::<OwnedRepr<T>, IxDyn>(entry)?;
        Ok(array.mapv(convert))
    }
    let found = read::<f32>(archive, entry, f64::from)
        .or_else(|_| read::<f64>(archive, entry, |number| number))
        .or_else(|_| read::<u8>(archive, entry, f64::from))
        .or_else(|_| read::<i64>(archive, entry, |number| number as f64))
        .or_else(|_| read::<i32>(archive, entry, f64::from))
        .or_else(|_| read::<bool>(archive, entry, |is| f64::from(u8::from(is))));
    let valid = "an array of float32, float64, uint8, int64, int32 or bool: convert it with numpy's astype";
    found.map_err(|error| format!("{error}; valid is {valid}"))
}

/// Runs the policy on the recorded inputs and reports the largest difference from the recorded actions.
///
/// # Errors
/// [`PolicyError`] of an inference that fails.
pub fn actions_agree(policy: &mut OnnxPolicy, recording: &Recording) -> Result<Finding, PolicyError> {
    const CHECK: &str = "recorded actions";
    // A missing array is a fault, because the recording was given for this comparison.
    let uncompared = |missing: &str| {
        let here = recording.arrays.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!("not compared: the file has no array {missing}; it has {here}");
        Ok(Finding::new(CHECK, Verdict::Warning, text))
    };
    let chunk = policy.card().chunk.clone();
    let Some(actions) = recording.arrays.get(&chunk.tensor).or_else(|| recording.arrays.get(ACTION)) else {
        return uncompared(
            if chunk.tensor == ACTION { ACTION.into() } else { format!("{} or {ACTION}", chunk.tensor) }
                .as_str(),
        );
    };
    let inputs = policy.card().inputs.clone();
    let first = policy.written()?;
    for (index, input) in inputs.iter().enumerate() {
        let name = input.tensor();
        match (recording.arrays.get(name), input) {
            (Some(rows), _) if rows[0].len() != first[index].len() => {
                let (found, valid) = (rows[0].len(), first[index].len());
                let text =
                    format!("array {name}: found {found} values a row; valid is {valid}, as the graph has");
                return Ok(Finding::new(CHECK, Verdict::Fault, text));
            }
            (Some(_), _) | (None, Input::Constant(_)) => {}
            (None, _) => return uncompared(name),
        }
    }
    let (mut largest, mut place, mut scale) = (0.0_f64, 0, 1.0_f64);
    for row in 0..recording.rows {
        let value = |index: usize| recording.arrays.get(inputs[index].tensor()).map(|rows| rows[row].clone());
        let tensors: Tensors =
            (0..inputs.len()).map(|index| value(index).unwrap_or_else(|| first[index].clone())).collect();
        let found = policy.respond(&tensors)?;
        let begin = chunk.skip * chunk.width;
        let found = match actions[row].len() {
            size if size == found.len() => &found[..],
            size if size == chunk.width => &found[begin..begin + size],
            size => {
                let text = format!(
                    "array of actions: found {size} values a row; valid is {}, a chunk, or {}, an action",
                    found.len(),
                    chunk.width
                );
                return Ok(Finding::new(CHECK, Verdict::Fault, text));
            }
        };
        for (ours, theirs) in found.iter().zip(&actions[row]) {
            // Written so that NaN is the largest difference.
            let difference = (ours - theirs).abs();
            if difference.is_nan() || difference > largest {
                (largest, place) = (if difference.is_nan() { f64::INFINITY } else { difference }, row);
            }
            scale = scale.max(theirs.abs());
        }
    }
    let agrees = largest <= AGREES * scale;
    let text = format!(
        "largest difference {largest:.2e}, in row {place} of {}; largest action {scale:.3}",
        recording.rows
    );
    Ok(Finding::new(CHECK, if agrees { Verdict::Good } else { Verdict::Fault }, text))
}

/// Compares the plant's values with the recorded ones: values far from them, values that fit another index better, and pictures that
/// fit better rotated or mirrored.
pub fn plant_agrees(
    card: &ModelCard,
    recording: &Recording,
    given: &[Tensors],
    labels: &[Vec<String>],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, input) in card.inputs.iter().enumerate() {
        let Some(rows) = recording.arrays.get(input.tensor()) else { continue };
        let given: Vec<&[f64]> = given.iter().map(|tensors| &tensors[index][..]).collect();
        if given.is_empty() || given[0].len() != rows[0].len() {
            continue;
        }
        match input {
            Input::Vector(_) => findings.extend(values(input.tensor(), rows, &given, &labels[index])),
            Input::Image(spec) => {
                findings.push(match other_layout(spec, &recording.shapes[input.tensor()]) {
                    Some(finding) => finding,
                    None => picture(spec, rows, &given),
                })
            }
            Input::Tokens(_)
            | Input::Instruction(_)
            | Input::Mask(_)
            | Input::Noise(_)
            | Input::State(_)
            | Input::Prefix(_)
            | Input::PrefixLength(_)
            | Input::Constant(_) => {}
        }
    }
    findings
}

/// Returns mean and spread of each value of the recording; the spread is at least a thousandth of the mean's size or of 1.
fn recorded(rows: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let count = rows.len() as f64;
    let moments = (0..rows[0].len()).map(|value| {
        let mean = rows.iter().map(|row| row[value]).sum::<f64>() / count;
        let variance = rows.iter().map(|row| (row[value] - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(1e-3 * mean.abs().max(1.0)))
    });
    moments.collect()
}

fn values(tensor: &str, rows: &[Vec<f64>], given: &[&[f64]], labels: &[String]) -> Vec<Finding> {
    const CHECK: &str = "recorded values";
    let moments = recorded(rows);
    let distance = |place: usize, value: usize| {
        let (mean, spread) = moments[place];
        let sum: f64 = given.iter().map(|one| ((one[value] - mean) / spread).abs()).sum();
        (sum / given.len() as f64).min(1e6)
    };
    let outside: Vec<usize> = (0..moments.len()).filter(|place| distance(*place, *place) > OUTSIDE).collect();
    if outside.is_empty() {
        let text = format!("{tensor}: each of {} values is near its recorded ones", moments.len());
        return vec![Finding::new(CHECK, Verdict::Good, text)];
    }
    // A small cost for another index keeps values that fit several indices at their own.
    let price = |place: usize, value: usize| if place == value { 0.0 } else { 0.5 };
    let cost: Vec<Vec<f64>> = (0..moments.len())
        .map(|place| (0..moments.len()).map(|value| distance(place, value) + price(place, value)).collect())
        .collect();
    let order = cheapest(&cost);
    let moved: Vec<(usize, usize)> =
        order.iter().copied().enumerate().filter(|(place, value)| place != value).collect();
    let label = |value: usize| labels.get(value).map_or("", String::as_str);
    let fits = moved.iter().all(|(place, value)| distance(*place, *value) <= FITS);
    if moved.len() >= 2 && fits && outside.iter().all(|place| moved.iter().any(|(moved, _)| moved == place)) {
        let text = moved.iter().map(|(place, value)| {
            format!(
                "{tensor}[{place}] holds {} and was recorded with the values of {}",
                label(*place),
                label(*value)
            )
        });
        let text = format!("the order is permuted: {}", text.collect::<Vec<_>>().join("; "));
        return vec![Finding::new(CHECK, Verdict::Fault, text)];
    }
    let each = outside.iter().map(|place| {
        let (mean, spread) = moments[*place];
        let found = given[0][*place];
        format!("{tensor}[{place}], {}: found {found:.4}, recorded {mean:.4} ± {spread:.4}", label(*place))
    });
    vec![Finding::new(CHECK, Verdict::Warning, each.collect::<Vec<_>>().join("; "))]
}

/// Returns the finding of an array whose axes are in another order than the tensor's.
fn other_layout(spec: &ImageInput, found: &[usize]) -> Option<Finding> {
    let (height, width) = (spec.height as usize, spec.width as usize);
    let valid = match spec.layout {
        PixelLayout::Hwc => vec![height, width, 3],
        PixelLayout::Chw => vec![3, height, width],
    };
    if found == valid {
        return None;
    }
    let text = format!(
        "array {}: found {found:?} for each inference; valid is {valid:?}, as the tensor has",
        spec.tensor
    );
    Some(Finding::new("recorded pictures", Verdict::Fault, text))
}

fn picture(spec: &ImageInput, rows: &[Vec<f64>], given: &[&[f64]]) -> Finding {
    const CHECK: &str = "recorded pictures";
    let mean = |pictures: &[&[f64]]| -> Vec<f64> {
        let sum = |pixel: usize| pictures.iter().map(|one| one[pixel]).sum::<f64>();
        (0..pictures[0].len()).map(|pixel| sum(pixel) / pictures.len() as f64).collect()
    };
    let (theirs, ours) = (mean(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()), mean(given));
    let size = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let (their_size, our_size) = (size(&theirs), size(&ours));
    if our_size > 20.0 * their_size || their_size > 20.0 * our_size {
        let text = format!(
            "{}: values up to {our_size:.3}, recorded up to {their_size:.3}: another range of colours",
            spec.tensor
        );
        return Finding::new(CHECK, Verdict::Fault, text);
    }
    let turned = |half: bool, mirrored: bool| correlation(&theirs, &arranged(spec, &ours, half, mirrored));
    let as_is = turned(false, false);
    let others = [
        ("turned by 180°", turned(true, false)),
        ("mirrored left to right", turned(false, true)),
        ("upside down", turned(true, true)),
    ];
    let (how, best) = others
        .iter()
        .fold(("", f64::NEG_INFINITY), |best, (how, fit)| if *fit > best.1 { (*how, *fit) } else { best });
    let text = format!(
        "{}, camera {}: correlation with the recording {as_is:.2} with the card's settings, {best:.2} {how}",
        spec.tensor, spec.camera
    );
    // Written so that NaN, from a picture of one colour, gives no finding.
    let verdict = if best > as_is + LEAD {
        Verdict::Fault
    } else if as_is >= best {
        Verdict::Good
    } else {
        Verdict::Unknown
    };
    Finding::new(CHECK, verdict, text)
}

/// Returns a picture turned by 180°, then mirrored left to right, in the tensor's own order.
fn arranged(spec: &ImageInput, values: &[f64], half: bool, mirrored: bool) -> Vec<f64> {
    let (rows, columns) = (spec.height as usize, spec.width as usize);
    let place = |row: usize, column: usize, colour: usize| match spec.layout {
        PixelLayout::Hwc => (row * columns + column) * 3 + colour,
        PixelLayout::Chw => (colour * rows + row) * columns + column,
    };
    let mut out = vec![0.0; values.len()];
    for row in 0..rows {
        for column in 0..columns {
            let from_row = if half { rows - 1 - row } else { row };
            let from_column = if half != mirrored { columns - 1 - column } else { column };
            for colour in 0..3 {
                out[place(row, column, colour)] = values[place(from_row, from_column, colour)];
            }
        }
    }
    out
}

/// Returns Pearson's correlation of two lists.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (one_mean, other_mean) = (mean(one), mean(other));
    let (mut product, mut one_square, mut other_square) = (0.0, 0.0, 0.0);
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (one - one_mean, other - other_mean);
        product += one * other;
        one_square += one * one;
        other_square += other * other;
    }
    product / (one_square * other_square).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c", "d"].map(Into::into).to_vec()
    }

    #[test]
    fn values_that_moved_by_one_place_are_named_and_others_are_not() {
        let rows: Vec<Vec<f64>> = (0..20)
            .map(|row| {
                let noise = f64::from(row % 3) * 0.01;
                vec![0.0 + noise, -2.4 + noise, 2.2 - noise, 0.8]
            })
            .collect();
        let verdict = |given: &[f64]| values("state", &rows, &[given], &labels()).remove(0);
        assert_eq!(verdict(&[0.01, -2.39, 2.2, 0.8]).verdict, Verdict::Good);
        let turned = verdict(&[-2.39, 2.19, 0.8, 0.01]);
        assert_eq!(turned.verdict, Verdict::Fault);
        assert!(
            turned.text.contains("state[0] holds a and was recorded with the values of d"),
            "{}",
            turned.text
        );
        let other = verdict(&[0.01, 7.0, 2.2, 0.8]);
        assert_eq!(other.verdict, Verdict::Warning);
        assert!(other.text.contains("state[1], b: found 7.0000, recorded -2.39"), "{}", other.text);
    }

    #[test]
    fn a_picture_upside_down_is_found_in_both_orders_of_axes() {
        for layout in [PixelLayout::Hwc, PixelLayout::Chw] {
            let spec = ImageInput { layout, ..ImageInput::exact("eye", "eye", 4, 4) };
            let upright: Vec<f64> = (0..48).map(|pixel: i32| f64::from((pixel * pixel * 7) % 31)).collect();
            let down = arranged(&spec, &upright, true, true);
            assert_eq!(picture(&spec, std::slice::from_ref(&upright), &[&upright]).verdict, Verdict::Good);
            let found = picture(&spec, std::slice::from_ref(&upright), &[&down]);
            assert!(found.verdict == Verdict::Fault && found.text.contains("1.00 upside down"), "{found:?}");
            let bright: Vec<f64> = upright.iter().map(|value| value * 255.0).collect();
            assert_eq!(picture(&spec, &[upright], &[&bright]).verdict, Verdict::Fault, "0 to 255 for 0 to 1");
        }
    }
}
