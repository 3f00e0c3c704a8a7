//! Starts of the confirmation range that a verb runs outside the study: said on the spot, and noted in the plan's log.
//! A registered plan's log is its lock; before there is one, lines lie beside the plan until it is registered.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aegis_experiments::plan::Plan;
use aegis_experiments::registration::{Lock, lock_path};
use serde::{Deserialize, Serialize};

use super::register::now;
use crate::exit::{Exit, Failure, OrExit, failure, tell};

/// The range that a study is judged on.
const CONFIRMATION: &str = "confirmation";

/// One line of the log of a plan that is not registered.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    when: String,
    what: String,
}

/// Where what is noted of a plan lies until it is registered.
fn log_path(plan: &Path) -> PathBuf {
    plan.with_extension("seen.jsonl")
}

/// Says that a verb is about to run so many sets of a range, where it is the confirmation range of a plan that was given,
/// and notes it where the plan has a `[study]`.
pub fn note(
    given: Option<&PathBuf>,
    plan: &Plan,
    verb: &str,
    range: &str,
    sets: usize,
) -> Result<(), Failure> {
    let (Some(path), CONFIRMATION, 1..) = (given, range, sets) else { return Ok(()) };
    let share = plan.ranges.confirmation;
    let (first, last) = (share.first, share.end.saturating_sub(1));
    let what =
        format!("`{verb}` ran {sets} sets of the confirmation range, {first} to {last}, outside the study");
    let begin =
        format!("{}: {sets} sets of the confirmation range, on which the plan is judged", path.display());
    if plan.study.is_none() {
        tell!("{begin}; --range tuning leaves it alone");
        return Ok(());
    }
    let lock = lock_path(path);
    let place = if lock.exists() {
        let noted =
            Lock::load(&lock).or_exit(Exit::Input)?.note(now(), &what, sets as u64).or_exit(Exit::Failed)?;
        noted.replace(&lock).or_exit(Exit::Failed)?;
        lock
    } else {
        let place = log_path(path);
        let line = serde_json::to_string(&Line { when: now(), what }).or_exit(Exit::Failed)? + "\n";
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&place)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", place.display())))?;
        place
    };
    tell!("{begin}; noted in {}, and in its report; --range tuning leaves it alone", place.display());
    Ok(())
}

/// What was noted of a plan before it was registered, as sentences for its lock.
pub fn before(plan: &Path) -> Result<Vec<String>, Failure> {
    let place = log_path(plan);
    let text = match std::fs::read_to_string(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(Exit::Input, format!("{}: cannot read: {error}", place.display()))),
    };
    let sentence = |(index, line): (usize, &str)| {
        let Line { when, what } = serde_json::from_str(line).map_err(|error| {
            failure(Exit::Input, format!("{}: line {}: {error}", place.display(), index + 1))
        })?;
        Ok(format!("Before it was registered, {what}, {when}."))
    };
    text.lines().enumerate().map(sentence).collect()
}
