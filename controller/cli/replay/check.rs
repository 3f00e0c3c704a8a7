//! A recorded run through the same controller again, decision for decision and bit for bit.
//! Says that all agree, or names the first period that differs.

use std::path::Path;

use aegis_core::control::{Output, Period};
use aegis_recorder::run_log::RunReader;

use crate::exit::{Exit, Failure, OrExit, failure};

/// Feeds a file back; how many periods it has, and whether it ends within one.
pub fn check(path: &Path) -> Result<(u64, bool), Failure> {
    let wrong = |reason: String| failure(Exit::Failed, format!("{}: {reason}", path.display()));
    let mut reader = RunReader::open(path).or_exit(Exit::Input)?;
    if reader.header.first > 0 {
        let reason = format!("it begins at period {}; valid is a run from period 0 on", reader.header.first);
        return Err(failure(Exit::Input, format!("{}: {reason}", path.display())));
    }
    let mut controller = reader.header.recipe.controller().or_exit(Exit::Input)?;
    let mut number = 0;
    while let Some(bytes) = reader.next_period().map_err(|error| wrong(error.to_string()))? {
        let period: Period<'_> =
            rmp_serde::from_slice(&bytes).map_err(|error| wrong(format!("period {number}: {error}")))?;
        let output = controller.tick(&period.inputs);
        if let Some(difference) = difference(&period, &output, controller.command()) {
            return Err(wrong(format!("period {number}, control step {}: {difference}", period.output.step)));
        }
        number += 1;
    }
    Ok((number, reader.ends_early()))
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
