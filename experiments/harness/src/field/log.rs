//! Log of a field trial's attempts: one entry for what began, what ended and who looked at the results when, in a chain of seals. A
//! seal is a digest over an entry and the seal before it, so that an entry that was edited, left out or moved breaks the chain there.

use aegis_core::Start;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::OutcomeSource;
use crate::episode::arm::ArmName;
use crate::plan::registration::digest;

/// Attempt at one episode of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Index of the episode in the order of the trial.
    pub episode: usize,
    /// Number of the attempt at it, from 1.
    pub number: u32,
}

/// Entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// An attempt begins: nothing has moved yet. The arm is not stated, since a person may read the log.
    Begun {
        /// Time, RFC 3339, UTC.
        when: String,
        /// The attempt.
        attempt: Attempt,
        /// Newest seal of the plan's lock.
        lock: String,
        /// Name of the folder of its record.
        folder: String,
    },
    /// An attempt that had begun ended before its episode did begin, so that nothing had moved. It does not count. Only the process that
    /// began the attempt writes this, since it alone knows that no command was sent.
    Withdrawn {
        /// Time, RFC 3339, UTC.
        when: String,
        /// The attempt.
        attempt: Attempt,
        /// Why.
        reason: String,
    },
    /// An attempt is over.
    Ended {
        /// Time, RFC 3339, UTC.
        when: String,
        /// The attempt.
        attempt: Attempt,
        /// The arm.
        arm: ArmName,
        /// Start of the episode.
        start: Start,
        /// Result.
        outcome: Outcome,
        /// Use of the policies.
        usage: Usage,
        /// SHA-256 of the attempt's `run.aegis`.
        record_sha256: String,
    },
    /// The process ended during an attempt, or before its outcome was entered, and nothing proves that no command was sent.
    Abandoned {
        /// Time at which the next call noticed it, RFC 3339, UTC.
        when: String,
        /// The attempt.
        attempt: Attempt,
    },
    /// A report was made before every episode had its outcome, which shows the arms' results.
    Inspected {
        /// Time, RFC 3339, UTC.
        when: String,
        /// Number of attempts that were over.
        ended: usize,
    },
}

impl Entry {
    /// Returns the time of the entry, RFC 3339, UTC.
    pub fn when(&self) -> &str {
        match self {
            Self::Begun { when, .. }
            | Self::Withdrawn { when, .. }
            | Self::Ended { when, .. }
            | Self::Abandoned { when, .. }
            | Self::Inspected { when, .. } => when,
        }
    }
}

/// Result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The episode ran to its end.
    Done {
        /// Whether it succeeded.
        success: bool,
        /// Source of that statement.
        by: OutcomeSource,
        /// A person's remark.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A stop ended the episode.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A person asked to repeat the episode, before the arm was known.
    Repeated {
        /// A person's reason.
        reason: String,
    },
}

/// Use of both policies in an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Control steps that a policy drove.
    pub steps: u32,
    /// Control steps that the strong policy drove.
    pub strong_steps: u32,
    /// Fires of the gate.
    pub fires: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entry: Entry,
    seal: String,
}

/// Error of a log's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LogError {
    /// Number of the line, from 1.
    pub line: usize,
    /// Reason, with the valid values.
    pub reason: String,
}

/// Entries of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Entries, the oldest first.
    pub entries: Vec<Entry>,
    /// Newest seal; the registration's for a log without entries.
    pub head: String,
    /// Number of bytes of all whole lines. A killed process may leave a part of a line after them.
    pub whole: usize,
}

/// Reads the text of a log. `registration` is the seal of the plan's registration, with which the chain begins.
///
/// # Errors
/// The first line that is no entry, or whose seal does not follow from the lines before it.
pub fn read(text: &str, registration: &str) -> Result<Entries, LogError> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let (mut entries, mut head) = (Vec::new(), registration.to_owned());
    for (index, line) in text[..whole].lines().enumerate() {
        let wrong = |reason: String| LogError { line: index + 1, reason };
        let Line { entry, seal } = serde_json::from_str(line)
            .map_err(|error| wrong(format!("not an entry of a trial's log: {error}")))?;
        if seal != sealed(&entry, &head).map_err(|error| wrong(error.to_string()))? {
            let valid = "valid is the log of this registration, as it was written: it, or a line before it, was edited, moved or left out";
            return Err(wrong(format!("seal: found {seal}; {valid}")));
        }
        head = seal;
        entries.push(entry);
    }
    Ok(Entries { entries, head, whole })
}

/// Returns the line of an entry after the seal `head`, and the line's own seal.
///
/// # Errors
/// None for entries that this module makes.
pub fn line(entry: Entry, head: &str) -> Result<(String, String), serde_json::Error> {
    let seal = sealed(&entry, head)?;
    let text = serde_json::to_string(&Line { entry, seal: seal.clone() })?;
    Ok((text + "\n", seal))
}

fn sealed(entry: &Entry, head: &str) -> Result<String, serde_json::Error> {
    let entry: Value = serde_json::to_value(entry)?;
    Ok(digest(&json!({ "previous": head, "entry": entry })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let attempt = Attempt { episode: 0, number: 1 };
        let begun = Entry::Begun { when: "a".into(), attempt, lock: "seal".into(), folder: "0001".into() };
        let outcome = Outcome::Done { success: true, by: OutcomeSource::Person, note: None };
        let ended = Entry::Ended {
            when: "b".into(),
            attempt,
            arm: "weak".into(),
            start: Start { task: 0, initial_state: 3 },
            outcome,
            usage: Usage { steps: 9, strong_steps: 0, fires: 0 },
            record_sha256: "0".into(),
        };
        let (first, head) = line(begun, "registration").unwrap();
        let (second, _) = line(ended, &head).unwrap();
        first + &second
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let text = text();
        let found = read(&text, "registration").unwrap();
        assert_eq!((found.entries.len(), found.whole), (2, text.len()));
        // A part of a line, as a killed process leaves it.
        let cut = read(&text[..text.len() - 1], "registration").unwrap();
        assert_eq!((cut.entries.len(), &cut.entries[0]), (1, &found.entries[0]));
        assert_eq!(read("", "registration").unwrap().head, "registration");
    }

    #[test]
    fn every_edit_breaks_the_chain() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        for (edited, line) in [
            (text.replace("\"success\":true", "\"success\":false"), 2),
            (text.replace("\"weak\"", "\"strong\""), 2),
            (text.replace("\"when\":\"a\"", "\"when\":\"c\""), 1),
            (format!("{}\n", lines[1]), 1),
            (format!("{}\n{}\n", lines[1], lines[0]), 1),
            (text.replace("\"fires\":0", "\"fires\":0,\"more\":1"), 2),
        ] {
            let error = read(&edited, "registration").unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
        assert_eq!(read(&text, "another").unwrap_err().line, 1);
    }
}
