//! Feeds a recorded run through the same controller again, and compares every decision and command bit for bit. Names the
//! first control period that differs. A record that is cut or damaged is checked up to that point.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::time::Duration;

use aegis_core::control::{Counters, Mode, Output, StopReason, TickRecord};
use aegis_recorder::run_log::{Ending, Layout, RunLogError, RunReader};

use crate::exit::{Exit, Failure, OrExit, failure};

/// Result of a check that found no difference.
pub struct Checked {
    /// Number of control periods that were read. They were also compared where the file begins with the first period of the
    /// run.
    pub periods: u64,
    /// Number of the first period in the file.
    pub first: u64,
    /// Message on where and how the record is damaged; `None` for a complete record.
    pub fault: Option<String>,
    /// Whether the run's policies read cameras.
    pub has_cameras: bool,
    /// The controller's counters, over the periods that were compared.
    pub counters: Counters,
    /// The latched modes that the run entered, in order, with their stop reasons.
    pub stops: Vec<(Mode, Option<StopReason>)>,
    layout: Layout,
}

#[cfg(test)]
impl Checked {
    /// Makes the result for a complete record with this many periods.
    pub fn whole(periods: u64, counters: Counters, stops: Vec<(Mode, Option<StopReason>)>) -> Self {
        Self { periods, first: 0, fault: None, has_cameras: false, counters, stops, layout: Layout::Chained }
    }
}

impl Display for Checked {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} control periods, ", self.periods)?;
        formatter.write_str(match (self.first, &self.fault) {
            (0, _) => "every decision and every command the same",
            (_, None) => "undamaged; not compared, because they are the end of a run",
            (_, Some(_)) => "undamaged so far",
        })?;
        formatter.write_str(match self.layout {
            Layout::Chained => "",
            Layout::Checked => " (format 3: their order is known by their times)",
            Layout::Plain => {
                " (format 2 has no checksums and no end mark: what changed of times and ages, and how many periods are \
                 missing at its end, is not known)"
            }
        })
    }
}

/// Feeds the control periods of a file through the controller that the file's header describes. The periods of a file that
/// begins in the middle of a run are only read.
///
/// # Errors
/// The first period that differs, is out of order or cannot be decoded; a file that cannot be opened.
pub fn check(path: &Path) -> Result<Checked, Failure> {
    let wrong = |reason: String| failure(Exit::Failed, format!("{}: {reason}", path.display()));
    let mut reader = RunReader::open(path).map_err(|error| {
        // A file that does not begin as a record does may be a damaged record, so the failure is not one of the arguments.
        let exit = if matches!(error, RunLogError::Read { .. }) { Exit::Input } else { Exit::Failed };
        failure(exit, error)
    })?;
    let (first, layout) = (reader.header.first, reader.layout());
    let mut controller = reader.header.recipe.controller().or_exit(Exit::Input)?;
    let (mut periods, mut stops, mut mode) = (0, Vec::new(), Mode::Idle);
    let mut before: Option<Duration> = None;
    let fault = loop {
        let number = first + periods;
        let bytes = match next(&mut reader, number) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        };
        let period: TickRecord<'_> =
            rmp_serde::from_slice(&bytes).map_err(|error| wrong(format!("period {number}: {error}")))?;
        let now = period.inputs.now;
        if let Some(before) = before.filter(|before| now <= *before) {
            let reason = "periods were moved, or left out and repeated";
            return Err(wrong(format!(
                "period {number}: its time, {now:?}, is not after that of the one before, {before:?}: {reason}"
            )));
        }
        before = Some(now);
        if first == 0 {
            let output = controller.tick(&period.inputs);
            if let Some(difference) = difference(&period, &output, controller.command()) {
                let step = period.output.step;
                return Err(wrong(format!("period {number}, control step {step}: {difference}")));
            }
        }
        let now = period.output.mode;
        if now != mode && now.is_latched() {
            stops.push((now, period.output.cause));
        }
        mode = now;
        periods += 1;
    };
    let has_cameras = !reader.header.recipe.settings.cameras.is_empty();
    let counters = controller.counters().clone();
    Ok(Checked { periods, first, fault, has_cameras, counters, stops, layout })
}

/// Returns the bytes of period `number`, `None` after the last period, or the reason why the bytes cannot be read.
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

/// Describes the first difference between a recorded period and the controller's output. Values are compared bit for bit, so NaN
/// equals itself.
fn difference(period: &TickRecord<'_>, output: &Output, command: &[f32]) -> Option<String> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    if bits(&period.command) != bits(command) {
        return Some(format!("command: recorded {:?}, now {command:?}", period.command));
    }
    let written = |output: &Output| rmp_serde::to_vec_named(output).ok();
    (written(&period.output) != written(output))
        .then(|| format!("decision: recorded {:?}, now {output:?}", period.output))
}
