//! A recorded run through the same controller again, decision for decision and bit for bit.
//! Says that all agree, or names the first period that differs; a record that is cut or damaged is checked up to there.

use std::path::Path;

use aegis_core::control::{Output, Period};
use aegis_recorder::run_log::{Ending, RunLogError, RunReader};

use crate::exit::{Exit, Failure, OrExit, failure};

/// Result of a check that found no difference.
pub struct Checked {
    /// Control periods that were compared.
    pub periods: u64,
    /// Why the record is not whole, and where.
    pub fault: Option<String>,
}

/// Feeds a file's periods back through the controller that its header describes.
pub fn check(path: &Path) -> Result<Checked, Failure> {
    let wrong = |reason: String| failure(Exit::Failed, format!("{}: {reason}", path.display()));
    let mut reader = RunReader::open(path).map_err(|error| {
        // A file that does not begin as a record does may be a damaged one.
        let exit = if matches!(error, RunLogError::Read { .. }) { Exit::Input } else { Exit::Failed };
        failure(exit, error)
    })?;
    let first = reader.header.first;
    if first > 0 {
        let (periods, fault) = read_through(&mut reader);
        if let Some(fault) = fault {
            return Err(wrong(fault));
        }
        let found = format!("it begins at period {first}, and its {periods} periods are undamaged");
        let valid = "to compare them, valid is a run from period 0 on";
        return Err(failure(Exit::Input, format!("{}: {found}; {valid}", path.display())));
    }
    let mut controller = reader.header.recipe.controller().or_exit(Exit::Input)?;
    let mut periods = 0;
    let fault = loop {
        let bytes = match next(&mut reader, periods) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        };
        let period: Period<'_> =
            rmp_serde::from_slice(&bytes).map_err(|error| wrong(format!("period {periods}: {error}")))?;
        let output = controller.tick(&period.inputs);
        if let Some(difference) = difference(&period, &output, controller.command()) {
            let step = period.output.step;
            return Err(wrong(format!("period {periods}, control step {step}: {difference}")));
        }
        periods += 1;
    };
    Ok(Checked { periods, fault })
}

/// Reads a file to its end: how many periods it has, and why it is not whole.
fn read_through(reader: &mut RunReader) -> (u64, Option<String>) {
    let (first, mut periods) = (reader.header.first, 0);
    loop {
        match next(reader, first + periods) {
            Ok(Some(_)) => periods += 1,
            Ok(None) => return (periods, None),
            Err(fault) => return (periods, Some(fault)),
        }
    }
}

/// The bytes of period `number`, none behind the last, or why they cannot be read.
fn next(reader: &mut RunReader, number: u64) -> Result<Option<Vec<u8>>, String> {
    if let Some(bytes) = reader.next_period().map_err(|error| format!("period {number}: {error}"))? {
        return Ok(Some(bytes));
    }
    match reader.ending() {
        Some(Ending::Within { offset }) => {
            Err(format!("the record ends early, within period {number}, which begins at byte {offset}"))
        }
        Some(Ending::Unmarked { offset }) => Err(format!(
            "the record ends early, before period {number}, at byte {offset} and without an end mark"
        )),
        Some(Ending::Whole) | None => Ok(None),
    }
}

/// What differs, bit for bit: NaN equals itself here.
fn difference(period: &Period<'_>, output: &Output, command: &[f32]) -> Option<String> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    if bits(&period.command) != bits(command) {
        return Some(format!("command: recorded {:?}, now {command:?}", period.command));
    }
    let written = |output: &Output| rmp_serde::to_vec_named(output).ok();
    (written(&period.output) != written(output))
        .then(|| format!("decision: recorded {:?}, now {output:?}", period.output))
}
