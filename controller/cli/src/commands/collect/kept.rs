//! Episodes of a collection on a robot that is not complete: one line of JSON each, behind a line that says what they are of, in a file
//! beside the output that one process at a time holds.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aegis_core::Start;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure, OrExit, failure};

/// What a collection is of; all calls of it have to agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// SHA-256 of both models and of both cards, by role.
    pub digests: BTreeMap<String, String>,
    /// Graph output that the probe is to read.
    pub tensor: String,
    /// The robot file, but for what may differ from one day to the next.
    pub robot: Value,
}

/// One kept episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptEpisode {
    /// Start, as in the robot file.
    pub start: Start,
    /// Whether it succeeded.
    pub success: bool,
    /// Pooled activation at each chunk boundary, `[boundaries, width]`.
    pub activations: Vec<Vec<f64>>,
}

/// Kept episodes of a collection.
pub struct Kept {
    /// Path of the file.
    pub path: PathBuf,
    file: File,
    /// Kept episodes, the oldest first.
    pub episodes: Vec<KeptEpisode>,
}

impl Kept {
    /// Returns the path of the file beside an output.
    pub fn place(out: &Path) -> PathBuf {
        let mut path = out.as_os_str().to_owned();
        path.push(".collecting");
        path.into()
    }

    /// Opens the episodes that wait beside `out`, or begins the file.
    ///
    /// # Errors
    /// A file that cannot be used, that another process holds, or that is of another collection, with what differs.
    pub fn open(out: &Path, about: &About) -> Result<Self, Failure> {
        let path = Self::place(out);
        let io = |error: std::io::Error| {
            let reason = if error.kind() == ErrorKind::IsADirectory {
                "a folder is there".into()
            } else {
                error.to_string()
            };
            let valid = "valid is a place for a file in a folder that is there";
            failure(Exit::Input, format!("--out: {}: cannot be opened: {reason}; {valid}", path.display()))
        };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let valid =
                "valid is one collection at a time in a file: wait for its end, or choose another --out";
            return Err(failure(
                Exit::Input,
                format!("{}: another process collects into it; {valid}", path.display()),
            ));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io)?;
        let text = String::from_utf8_lossy(&text);
        // A process that was killed may have left a part of a line.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].lines().enumerate();
        let wrong = |line: usize, reason: String| {
            let valid =
                "valid is what an earlier call of this command wrote: move the file away to begin anew";
            failure(Exit::Input, format!("{}: line {}: {reason}; {valid}", path.display(), line + 1))
        };
        let mut episodes = Vec::new();
        let found = lines.next().map(|(line, text)| {
            serde_json::from_str::<About>(text).map_err(|error| wrong(line, error.to_string()))
        });
        let rest: Vec<(usize, &str)> = lines.collect();
        match found.transpose()? {
            // Without an episode nothing is lost, so the collection begins anew, with other settings too.
            Some(found) if !rest.is_empty() => {
                if let Some(difference) = difference(&found, about) {
                    return Err(wrong(0, difference));
                }
                for (line, text) in rest {
                    episodes
                        .push(serde_json::from_str(text).map_err(|error| wrong(line, error.to_string()))?);
                }
                file.set_len(whole as u64).map_err(io)?;
                file.seek(SeekFrom::End(0)).map_err(io)?;
            }
            _ => {
                file.set_len(0).map_err(io)?;
                file.seek(SeekFrom::Start(0)).map_err(io)?;
                writeln!(file, "{}", serde_json::to_string(about).or_exit(Exit::Failed)?).map_err(io)?;
            }
        }
        Ok(Self { path, file, episodes })
    }

    /// Returns the indices of the starts that have no episode yet. A start that the file has twice needs two.
    ///
    /// # Errors
    /// A kept episode whose start is not among `starts`.
    pub fn missing(&self, starts: &[Start]) -> Result<Vec<usize>, Failure> {
        let mut missing: Vec<usize> = (0..starts.len()).collect();
        for KeptEpisode { start, .. } in &self.episodes {
            let Some(place) = missing.iter().position(|index| starts[*index] == *start) else {
                let Start { task, initial_state } = start;
                let message = format!(
                    "{}: has an episode from task {task}, initial state {initial_state}, which the robot file's `starts` lack; valid are \
                     starts that have those of all kept episodes, and others: put it back, or move the file away to begin anew",
                    self.path.display()
                );
                return Err(failure(Exit::Input, message));
            };
            missing.remove(place);
        }
        Ok(missing)
    }

    /// Adds an episode, and returns once it is on the disk.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&mut self, episode: KeptEpisode) -> Result<(), Failure> {
        let line = serde_json::to_string(&episode).or_exit(Exit::Failed)?;
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            failure(Exit::Failed, format!("{}: cannot write: {error}", self.path.display()))
        })?;
        self.episodes.push(episode);
        Ok(())
    }

    /// Removes the file, whose episodes are in the output now. A file that is gone already is no error.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failure(Exit::Failed, format!("{}: cannot remove: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the first thing in which two collections differ.
fn difference(found: &About, now: &About) -> Option<String> {
    let value = |about: &About| serde_json::to_value(about).unwrap_or_default();
    differing("", &value(found), &value(now))
}

fn differing(key: &str, found: &Value, now: &Value) -> Option<String> {
    if found == now {
        return None;
    }
    if let (Value::Object(one), Value::Object(other)) = (found, now) {
        let names = one.keys().chain(other.keys());
        return names
            .filter_map(|name| {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                differing(&key, &of(one), &of(other))
            })
            .next();
    }
    let text = |value: &Value| if value.is_null() { "nothing".into() } else { value.to_string() };
    Some(format!("{key}: found {}, and it is {} now", text(found), text(now)))
}
