//! Records the starts of the confirmation range that a verb runs outside the study, in a message and in a log beside the plan. Lines
//! of the log that a lock of the plan lacks are added to the lock's chain, in whatever folder the lock is.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aegis_experiments::data::lock_file::lock_path;
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure, OrExit, failure, tell};

/// Name of the range on which a study is judged.
const CONFIRMATION: &str = "confirmation";

/// One line of a plan's log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    when: String,
    what: String,
    /// Number of sets that were run; 0 in an older line, which gives the number only in words.
    #[serde(default)]
    sets: u64,
}

impl Line {
    /// Returns the line as a note in a lock that was made later.
    fn sentence(&self) -> String {
        format!("Before it was registered, {}, {}.", self.what, self.when)
    }
}

/// Returns the path of the plan's file. A path that is a symbolic link is resolved.
fn real(plan: &Path) -> PathBuf {
    if !plan.is_symlink() {
        return plan.to_owned();
    }
    plan.canonicalize().unwrap_or_else(|_| plan.to_owned())
}

/// Returns the path of a plan's log, which lies beside the plan's file.
fn log_path(plan: &Path) -> PathBuf {
    real(plan).with_extension("seen.jsonl")
}

/// Records that a verb is about to run `sets` sets of the confirmation range of a plan that was `given` on the command line.
/// Prints a message; where the plan has a `[study]`, also writes to the plan's log and to its locks. Does nothing for any
/// other range.
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
        tell!("{begin}; --range tuning uses other starts");
        return Ok(());
    }
    let log = log_path(path);
    if log.exists() && !log.is_file() {
        let valid = "valid is a file, to which a line is added, or none";
        return Err(failure(
            Exit::Input,
            format!("{}: found a folder, a pipe or a device; {valid}", log.display()),
        ));
    }
    let line = serde_json::to_string(&Line { when: now(), what, sets: sets as u64 }).or_exit(Exit::Failed)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .and_then(|mut file| file.write_all((line + "\n").as_bytes()))
        .map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", log.display())))?;
    let mut places = Vec::new();
    for place in [lock_path(path), lock_path(&real(path))] {
        if place.exists() && !places.contains(&place) {
            take_over(path, &place)?;
            places.push(place);
        }
    }
    let place = places.first().unwrap_or(&log).display();
    tell!("{begin}; recorded in {place}, and in its report; --range tuning uses other starts");
    Ok(())
}

/// Returns the beginning of a line, quoted, for an error.
fn brief(line: &str) -> String {
    const MOST: usize = 60;
    let begin: String = line.chars().take(MOST).collect();
    if begin.len() < line.len() { format!("{begin:?} …") } else { format!("{begin:?}") }
}

/// Returns the lines of a plan's log from before its registration, as sentences for the lock.
pub fn before(plan: &Path) -> Result<Vec<String>, Failure> {
    Ok(lines(plan)?.iter().map(Line::sentence).collect())
}

/// Adds to the lock at `place` the lines of the plan's log that the lock lacks. Does nothing where there is no lock.
pub fn take_over(plan: &Path, place: &Path) -> Result<(), Failure> {
    let lines = lines(plan)?;
    if lines.is_empty()
        || !place.exists()
        || lacks(&lines, &Lock::load(place).or_exit(Exit::Input)?).is_empty()
    {
        return Ok(());
    }
    let changed = Lock::change(place, |lock| {
        let mut lacks = lacks(&lines, lock).into_iter();
        lacks.try_fold(lock.clone(), |lock, line| lock.note(line.when.clone(), &line.what, line.sets))
    });
    changed.or_exit(Exit::Failed).map(|_| ())
}

/// Refuses a lock that lacks a line of the plan's log.
pub fn check_lock(plan: &Path, place: &Path, lock: &Lock) -> Result<(), Failure> {
    let lines = lines(plan)?;
    let Some(Line { when, what, .. }) = lacks(&lines, lock).first().copied() else { return Ok(()) };
    let message = format!(
        "{}: found \"{what}, {when}\", which is not in {}; valid is a lock that has it: `aegis experiment report` adds it",
        log_path(plan).display(),
        place.display()
    );
    Err(failure(Exit::Input, message))
}

/// Returns the lines that a lock has neither as a note of its registration nor as an entry of its chain. Each line stands
/// for one run, so equal lines are counted.
fn lacks<'a>(lines: &'a [Line], lock: &Lock) -> Vec<&'a Line> {
    let mut notes: Vec<&String> = lock.notes.iter().collect();
    let mut entries: Vec<(&String, &String)> =
        lock.amendments.iter().map(|entry| (&entry.when, &entry.why)).collect();
    let lacking = lines.iter().filter(|line| {
        let sentence = line.sentence();
        if let Some(index) = notes.iter().position(|note| **note == sentence) {
            notes.swap_remove(index);
            return false;
        }
        match entries.iter().position(|entry| *entry == (&line.when, &line.what)) {
            Some(index) => {
                entries.swap_remove(index);
                false
            }
            None => true,
        }
    });
    lacking.collect()
}

/// Reads a plan's log. Returns no lines if the plan has no log.
fn lines(plan: &Path) -> Result<Vec<Line>, Failure> {
    let place = log_path(plan);
    let read = aegis_files::read_any(&place).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
    });
    let text = match read {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(Exit::Input, format!("{}: cannot read: {error}", place.display()))),
    };
    let line = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|_| {
            let found = if line.trim().is_empty() { "an empty line".into() } else { brief(line) };
            let valid = "valid is {\"when\": …, \"what\": …}, as `aegis demo` and `aegis collect` write it";
            let advice = "remove an empty line, and complete a line that was cut off";
            let place = place.display();
            failure(Exit::Input, format!("{place}: line {}: found {found}; {valid}: {advice}", index + 1))
        })
    };
    text.lines().enumerate().map(line).collect()
}

/// Returns the current time in RFC 3339 format, UTC, to the second.
pub fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Copies the shipped study's plan to a new folder, and its lock as `name`. Returns the folder, the lock's path and the
    /// plan.
    fn registered(test: &str, name: &str) -> (PathBuf, PathBuf, Plan) {
        let folder = std::env::temp_dir().join(format!("aegis-noted-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        std::fs::copy(shipped.join("study.toml"), folder.join("study.toml")).expect("copied");
        std::fs::copy(shipped.join("study.lock.toml"), folder.join(name)).expect("copied");
        let plan = Plan::read(&folder.join("study.toml")).expect("a plan");
        (folder.clone(), folder.join(name), plan)
    }

    fn entries(lock: &Path) -> usize {
        Lock::load(lock).expect("a whole lock").amendments.len()
    }

    #[test]
    fn a_lock_in_another_folder_is_refused_until_it_has_the_lines_of_the_log() {
        let (folder, lock, plan) = registered("elsewhere", "locks.toml");
        let path = folder.join("study.toml");
        let lacks = |lock: &Path| check_lock(&path, lock, &Lock::load(lock).expect("a lock"));
        lacks(&lock).expect("nothing was noted");
        // A link to the plan names the same plan.
        symlink("study.toml", folder.join("alias.toml")).expect("a link");
        note(Some(&folder.join("alias.toml")), &plan, "aegis collect", "confirmation", 7).expect("noted");
        note(Some(&path), &plan, "aegis collect", "tuning", 7).expect("nothing to note");
        let refused = lacks(&lock).expect_err("it lacks a line").to_string();
        assert!(refused.contains("study.seen.jsonl: found \"`aegis collect` ran 7 sets"), "{refused}");
        for _ in 0..2 {
            take_over(&path, &lock).expect("taken over");
            lacks(&lock).expect("it has it");
            assert_eq!(entries(&lock), 1);
        }
        let noted = Lock::load(&lock).expect("a lock").amendments.remove(0);
        assert_eq!(noted.episodes_seen, 7);
        assert_eq!(before(&path).expect("one sentence").len(), 1);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn each_of_many_concurrent_lines_is_in_the_lock_once() {
        let (folder, lock, plan) = registered("together", "study.lock.toml");
        symlink("study.toml", folder.join("alias.toml")).expect("a link");
        std::thread::scope(|scope| {
            for name in ["study.toml", "alias.toml"].repeat(4) {
                let (path, plan) = (folder.join(name), &plan);
                scope.spawn(move || {
                    note(Some(&path), plan, "aegis demo", "confirmation", 1).expect("noted");
                });
            }
        });
        assert_eq!(entries(&lock), 8);
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
