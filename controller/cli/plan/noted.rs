//! Starts of the confirmation range that a verb runs outside the study: said on the spot, and noted in a log beside the plan.
//! What a lock of the plan lacks of its log is taken over into the lock's chain, wherever the lock lies.

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

/// One line of a plan's log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    when: String,
    what: String,
    /// How many sets; of an older line its words alone say it.
    #[serde(default)]
    sets: u64,
}

impl Line {
    /// As a lock has it that was made later.
    fn sentence(&self) -> String {
        format!("Before it was registered, {}, {}.", self.what, self.when)
    }
}

/// The plan's file, by whatever link it was named.
fn real(plan: &Path) -> PathBuf {
    if !plan.is_symlink() {
        return plan.to_owned();
    }
    plan.canonicalize().unwrap_or_else(|_| plan.to_owned())
}

/// Where what is noted of a plan lies: beside its file.
fn log_path(plan: &Path) -> PathBuf {
    real(plan).with_extension("seen.jsonl")
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
    let log = log_path(path);
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
    tell!("{begin}; noted in {place}, and in its report; --range tuning leaves it alone");
    Ok(())
}

/// The beginning of a line, for an error.
fn brief(line: &str) -> String {
    const MOST: usize = 60;
    let begin: String = line.chars().take(MOST).collect();
    if begin.len() < line.len() { format!("{begin:?} …") } else { format!("{begin:?}") }
}

/// What was noted of a plan before it was registered, as sentences for its lock.
pub fn before(plan: &Path) -> Result<Vec<String>, Failure> {
    Ok(lines(plan)?.iter().map(Line::sentence).collect())
}

/// Takes what a plan's log has and a lock of it lacks over into the lock.
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

/// Refuses a lock that lacks what is noted in the plan's log.
pub fn check_lock(plan: &Path, place: &Path, lock: &Lock) -> Result<(), Failure> {
    let lines = lines(plan)?;
    let Some(Line { when, what, .. }) = lacks(&lines, lock).first().copied() else { return Ok(()) };
    let message = format!(
        "{}: found \"{what}, {when}\", which is not in {}; valid is a lock that has it: `aegis experiment report` takes it over",
        log_path(plan).display(),
        place.display()
    );
    Err(failure(Exit::Input, message))
}

/// The lines that a lock has neither as a note of its registration nor as an entry of its chain. Each stands for one run, so
/// equal ones are counted.
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

/// A plan's log.
fn lines(plan: &Path) -> Result<Vec<Line>, Failure> {
    let place = log_path(plan);
    let text = match std::fs::read_to_string(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(Exit::Input, format!("{}: cannot read: {error}", place.display()))),
    };
    let line = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|_| {
            let found = if line.trim().is_empty() { "an empty line".into() } else { brief(line) };
            let valid = "valid is {\"when\": …, \"what\": …}, as `aegis demo` and `aegis collect` note it";
            let advice = "an empty line may be removed; of one that was cut off, only its writer knows what it said, so complete it";
            let place = place.display();
            failure(Exit::Input, format!("{place}: line {}: found {found}; {valid}: {advice}", index + 1))
        })
    };
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A plan with a study in a folder of its own, and its lock as `name` there.
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
    fn a_lock_elsewhere_takes_over_what_was_noted_and_is_refused_until_it_has() {
        let (folder, lock, plan) = registered("elsewhere", "locks.toml");
        let path = folder.join("study.toml");
        let lacks = |lock: &Path| check_lock(&path, lock, &Lock::load(lock).expect("a lock"));
        lacks(&lock).expect("nothing was noted");
        // By a link to the plan it is the same plan.
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
    fn each_of_many_at_once_is_in_the_lock_once() {
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
