//! Words that were retired: identifiers of the private dialect that docs/GLOSSARY.md replaced, and phrases of comments and pages
//! that say nothing with the code hidden.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::{Path, PathBuf};

/// Identifiers, and the terms that replaced them.
const IDENTIFIERS: [(&str, &str); 36] = [
    ("Sighted", "ObservationReceiver"),
    ("Sightings", "ObservationSender"),
    ("SightLog", "SnapshotLog"),
    ("Looker", "SnapshotRecorder"),
    ("Looked", "PlantCheck"),
    ("Watched", "ProbedPolicy"),
    ("Shown", "RerunStream"),
    ("Film", "EpisodeRecording"),
    ("Thinker", "InferenceWorker"),
    ("Thought", "InferenceOutput"),
    ("Seat", "PolicyClient"),
    ("Wish", "OperatorCommand"),
    ("Wishes", "OperatorCommands"),
    ("WishBox", "CommandMailbox"),
    ("Ears", "PlantListener"),
    ("Taken", "RunSummary"),
    ("Taker", "RecordWorker"),
    ("People", "LogSink"),
    ("Stretch", "BoundaryState"),
    ("Recipe", "ControllerConfig"),
    ("Cause", "StopReason"),
    ("Notices", "Diagnostics"),
    ("Parties", "EpisodeContext"),
    ("Course", "EpisodeState"),
    ("AtBoundary", "BoundaryHook"),
    ("Trail", "WeakTrajectory"),
    ("Moment", "TimePoint"),
    ("Calibrator", "PlattScaling"),
    ("KeyFolder", "Credentials"),
    ("Heart", "Heartbeat"),
    ("FreePlant", "FreeRunningPlant"),
    ("Patience", "Timeouts"),
    ("GLANCE", "POLL_INTERVAL"),
    ("ROOM", "CAPACITY"),
    ("EVERY", "INTERVAL"),
    ("PATIENCE", "TIMEOUT"),
];

/// Phrases that are not written in comments or pages.
const PHRASES: [&str; 8] = [
    "held against",
    "what it came to",
    "what came of",
    "with its papers",
    "people are told",
    "and what not",
    "who is there",
    "what they come to",
];

/// Files of a kind at or below the folders of the project.
fn files(extension: &str) -> Vec<PathBuf> {
    ["controller", "policies", "sim_bridge", "experiments", "tests", "xtask", "docs"]
        .iter()
        .flat_map(|name| common::files_below(&common::repository().join(name), extension))
        .collect()
}

fn is_this_file(path: &Path) -> bool {
    path.ends_with("tests/words.rs")
}

#[test]
fn no_retired_identifier_is_in_the_code() {
    for path in files("rs").into_iter().filter(|path| !is_this_file(path)) {
        let text = std::fs::read_to_string(&path).expect("the source can be read");
        // A local variant of a test's own type, an import of another crate's and words in strings do not count.
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            let line = line.split('"').step_by(2).collect::<Vec<_>>().join(" ");
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let retired = words.find_map(|word| IDENTIFIERS.iter().find(|(old, _)| *old == word));
            if let Some((old, new)) = retired {
                panic!("{}:{}: {old} was retired; write {new}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn no_retired_phrase_is_in_a_comment_or_on_a_page() {
    let sources = files("rs").into_iter().chain(files("py")).chain(files("md"));
    for path in sources.filter(|path| !is_this_file(path)) {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            if is_page || trimmed.starts_with("//") || trimmed.starts_with('#') {
                let phrase = PHRASES.iter().find(|phrase| line.to_lowercase().contains(*phrase));
                assert!(phrase.is_none(), "{}:{}: {phrase:?} was retired", path.display(), number + 1);
            }
        }
    }
}
