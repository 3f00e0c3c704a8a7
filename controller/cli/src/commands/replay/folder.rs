//! Checks every file in a run's folder: feeds the record through the controller again, and checks each file beside the
//! record as far as possible. Each line of the output states how far.

use std::collections::BTreeSet;
use std::path::Path;

use aegis_core::control::{Mode, StopReason};
use aegis_recorder::entry_log::{Entry, EntryReader};
use aegis_recorder::observations::{OBSERVATION_FILE, ObservationEntry};
use aegis_recorder::pictures::{PICTURE_FILE, RecordedPicture};
use aegis_recorder::snapshots::{PlantSnapshot, SNAPSHOT_FILE};
use serde_json::{Value, json};

use super::check::{self, Checked};
use crate::exit::{Exit, Failure, OrExit, failure, say};

const RECORD: &str = "run.aegis";
const SUMMARY: &str = "summary.json";
const EVENTS: &str = "events.jsonl";
const RESERVE: &str = "reserve";

/// Checks a run's folder, and prints the result for each file. The error names every fault.
pub fn check(folder: &Path) -> Result<(), Failure> {
    let mut names = names(folder)?;
    let mut faults = Faults { folder, all: Vec::new(), exit: Exit::Failed };
    let record = check::check(&folder.join(RECORD));
    names.remove(RECORD);
    let record = match record {
        Ok(record) => {
            faults.say(RECORD, &record.to_string(), record.fault.clone());
            Some(record)
        }
        Err(failure) => {
            faults.exit = failure.exit();
            faults.all.push(failure.to_string());
            None
        }
    };
    let black_boxes: Vec<String> = names
        .iter()
        .filter(|name| name.starts_with("black-box-") && name.ends_with(".aegis"))
        .cloned()
        .collect();
    for name in &black_boxes {
        names.remove(name);
        match check::check(&folder.join(name)) {
            Ok(checked) => faults.say(name, &checked.to_string(), checked.fault.clone()),
            Err(failure) => faults.all.push(failure.to_string()),
        }
    }
    if names.remove(SUMMARY) {
        let text = aegis_files::read_text(&folder.join(SUMMARY)).map_err(|error| error.to_string());
        let checked = text.and_then(|text| summary(&text, record.as_ref(), &black_boxes));
        faults.take(SUMMARY, checked);
    }
    if names.remove(EVENTS) {
        let text = aegis_files::read_text(&folder.join(EVENTS)).map_err(|error| error.to_string());
        faults.take(EVENTS, text.and_then(|text| events(&text)));
    }
    if names.remove(SNAPSHOT_FILE) {
        faults.take_entries::<PlantSnapshot>(SNAPSHOT_FILE, "snapshots of the plant");
    }
    if names.remove(PICTURE_FILE) {
        faults.take_entries::<RecordedPicture>(PICTURE_FILE, "pictures");
    } else if record.as_ref().is_some_and(|record| record.has_cameras) {
        let reason = "missing; a run with cameras writes the pictures that its policies read";
        faults.all.push(format!("{}: {reason}", folder.join(PICTURE_FILE).display()));
    }
    if names.remove(OBSERVATION_FILE) {
        faults.take_entries::<ObservationEntry>(OBSERVATION_FILE, "entries");
    }
    if names.remove(RESERVE) {
        say!("{}: left by a run that was killed", folder.join(RESERVE).display());
    }
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        say!("{}: not checked, because a run writes no such files: {names}", folder.display());
    }
    let Faults { all, exit, .. } = faults;
    if all.is_empty() { Ok(()) } else { Err(failure(exit, all.join("; "))) }
}

/// Returns the names of the entries in a folder.
fn names(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let read = |error| failure(Exit::Input, format!("{}: cannot read: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(read)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().or_exit(Exit::Input)
}

/// The faults of a folder's files.
struct Faults<'a> {
    folder: &'a Path,
    all: Vec<String>,
    exit: Exit,
}

impl Faults<'_> {
    /// Prints the result of a file's check, and adds its fault where it has one.
    fn say(&mut self, name: &str, good: &str, fault: Option<String>) {
        let path = self.folder.join(name);
        say!("{}: {good}", path.display());
        self.all.extend(fault.map(|fault| format!("{}: {fault}", path.display())));
    }

    /// Reads a file of entries, of which `what` is the plural.
    fn take_entries<T: Entry>(&mut self, name: &str, what: &str) {
        match EntryReader::<T>::open(&self.folder.join(name)) {
            Ok(entries) => {
                let (count, fault) = entries.check();
                self.say(name, &format!("{count} {what}, undamaged"), fault);
            }
            Err(error) => self.all.push(error.to_string()),
        }
    }

    fn take(&mut self, name: &str, checked: Result<String, String>) {
        match checked {
            Ok(good) => self.say(name, &good, None),
            Err(fault) => self.all.push(format!("{}: {fault}", self.folder.join(name).display())),
        }
    }
}

/// Checks a summary against the black boxes in the folder, and against the record where the record is complete.
fn summary(text: &str, record: Option<&Checked>, black_boxes: &[String]) -> Result<String, String> {
    let summary: Value = serde_json::from_str(text).map_err(|error| format!("damaged: {error}"))?;
    let listed = summary["stops"].as_array().ok_or("stops: found no list; valid is what a run wrote")?;
    for name in listed.iter().filter_map(|stop| stop["black_box"].as_str()) {
        if !black_boxes.iter().any(|there| there == name) {
            return Err(format!("stops: found {name}, which is missing from the folder"));
        }
    }
    let dropped = summary["dropped_records"]
        .as_u64()
        .ok_or("dropped_records: found no number; valid is what a run wrote")?;
    if !summary["counters"].is_object() {
        return Err("counters: found none; valid is what a run wrote".into());
    }
    let Some(record) = record.filter(|record| record.fault.is_none()) else {
        return Ok("readable; not compared with the record, which is incomplete".into());
    };
    if dropped > 0 {
        // Periods that the ring had no room for are counted only in the summary.
        let periods = summary["periods"].as_u64().unwrap_or_default();
        let valid = record.periods.saturating_add(dropped);
        if periods > valid || periods < record.periods {
            return Err(format!(
                "periods: found {periods}; valid is {} to {valid}, the number in the record",
                record.periods
            ));
        }
        return Ok(format!(
            "{dropped} periods are missing from the record by its own count, so its stops and counters are not checked"
        ));
    }
    let stops: Vec<Value> = record.stops.iter().map(|stop| recorded_stop(*stop)).collect();
    let said: Vec<Value> =
        listed.iter().map(|stop| json!({ "mode": stop["mode"], "cause": stop["cause"] })).collect();
    same("stops", &json!(said), &json!(stops))?;
    same("periods", &summary["periods"], &json!(record.periods))?;
    // The summary counts notices under other names, their texts. A counter that only one version of the program has is not
    // compared.
    let counters = serde_json::to_value(&record.counters).map_err(|error| error.to_string())?;
    let mut compared = 0;
    for (name, count) in counters.as_object().into_iter().flatten().filter(|(name, _)| *name != "notices") {
        if let Some(said) = summary["counters"].get(name) {
            same(&format!("counters.{name}"), said, count)?;
            compared += 1;
        }
    }
    if compared == 0 {
        return Err("counters: found none that a run counts; valid is what a run wrote".into());
    }
    Ok("periods, stops and counters equal the record's; times are not checked".into())
}

fn recorded_stop((mode, cause): (Mode, Option<StopReason>)) -> Value {
    json!({ "mode": mode, "cause": cause })
}

fn same(field: &str, found: &Value, recorded: &Value) -> Result<(), String> {
    if found == recorded { Ok(()) } else { Err(format!("{field}: found {found}; the record has {recorded}")) }
}

/// Checks that each line of the events is an event.
fn events(text: &str) -> Result<String, String> {
    for (index, line) in text.lines().enumerate() {
        let event = serde_json::from_str::<Value>(line);
        let is_event = event.is_ok_and(|event| event["timestamp"].is_string() && event["level"].is_string());
        if !is_event {
            return Err(format!(
                "line {}: found no event; valid is a JSON object with timestamp and level",
                index + 1
            ));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("found a last line that is cut; valid is a line feed at the end".into());
    }
    Ok(format!("{} complete events; without checksums, their content is not checked", text.lines().count()))
}

#[cfg(test)]
mod tests {
    use aegis_core::control::Counters;

    use super::*;

    #[test]
    fn events_are_checked_line_by_line() {
        let line =
            |text: &str| format!("{{\"timestamp\":\"t\",\"level\":\"INFO\",\"message\":\"{text}\"}}\n");
        let whole = line("a") + &line("b");
        assert!(events(&whole).unwrap().starts_with("2 complete events"));
        assert!(events("").unwrap().starts_with("0 complete events"));
        for (text, said) in [
            (whole.replacen('{', "", 1), "line 1: found no event"),
            (whole.clone() + "\u{0}\u{0}\n", "line 3: found no event"),
            (whole.clone() + "{}\n", "line 3: found no event"),
            (whole[..whole.len() - 1].to_owned(), "found a last line that is cut"),
            (whole[..whole.len() - 5].to_owned(), "line 2: found no event"),
        ] {
            assert!(events(&text).unwrap_err().contains(said), "{text:?}");
        }
    }

    #[test]
    fn a_summary_is_checked_against_the_record_and_the_black_boxes() {
        let counters = Counters { periods: 9, stops: 1, ..Counters::default() };
        let stops = vec![(Mode::SafeStop, Some(StopReason::Asked))];
        let record = Checked::whole(9, counters.clone(), stops);
        let mut said = json!({
            "periods": 9, "dropped_records": 0, "counters": counters,
            "stops": [{ "mode": Mode::SafeStop, "cause": StopReason::Asked, "black_box": "black-box-1.aegis" }],
        });
        said["counters"]["notices"] = json!({ "a text": 3 });
        let there = ["black-box-1.aegis".to_owned()];
        let check = |said: &Value| summary(&said.to_string(), Some(&record), &there);
        check(&said).unwrap();
        assert!(summary(&said.to_string(), Some(&record), &[]).unwrap_err().contains("which is missing"));
        assert!(summary(&said.to_string(), None, &there).unwrap().contains("not compared with the record"));
        assert!(summary("{\"periods\": 9", Some(&record), &there).unwrap_err().contains("damaged"));
        for counters in [json!(null), json!({})] {
            let mut changed = said.clone();
            changed["counters"] = counters;
            assert!(check(&changed).unwrap_err().contains("counters: found none"));
        }
        let mut dropped = said.clone();
        dropped["dropped_records"] = json!(7);
        assert!(check(&dropped).unwrap().contains("7 periods are missing from the record"));
        dropped["periods"] = json!(1);
        assert!(check(&dropped).unwrap_err().contains("periods: found 1; valid is 9 to 16"));
        for (field, value) in [
            ("/periods", json!(8)),
            ("/stops", json!([])),
            ("/stops/0/cause", json!(null)),
            ("/counters/stops", json!(0)),
            ("/counters/periods", json!("9")),
        ] {
            let mut changed = said.clone();
            *changed.pointer_mut(field).unwrap() = value;
            assert!(check(&changed).unwrap_err().contains("the record has"), "{field}");
        }
    }
}
