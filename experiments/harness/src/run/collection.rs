//! Folder in which rollouts are stored, one file each, while a collection runs. A run that was stopped continues from
//! these files; they are removed once the complete file is written.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_files::Scratch;
use serde_json::{Map, Value};

use aegis_core::EpisodeKey;
use aegis_files::{read_text, write_atomically};
use aegis_probe::origin::Starts;
use aegis_probe::rollout::Rollout;
use aegis_probe::rollout_file::{self, Provenance, RolloutFileError};

/// File name of the settings under which a folder's rollouts were collected.
const ABOUT: &str = "collection.json";

/// Error of a collection's folder.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The folder is not that of a collection.
    #[error("{}: {reason}; valid is a folder that `aegis collect` made: move this one away, or choose another --out", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Reason.
        reason: String,
    },
    /// The rollouts in the folder were collected under other settings.
    #[error(
        "{}: found episodes that were collected under other settings: {differences}; continue with those settings, remove the \
         folder, or choose another --out", folder.display()
    )]
    Differs {
        /// The folder.
        folder: PathBuf,
        /// Settings that differ, with their old and new values.
        differences: String,
    },
    /// The folder, or a file in it, cannot be created, listed or removed.
    #[error("{}: cannot make or change it: {source}", path.display())]
    System {
        /// Path of the folder or file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// An episode's file cannot be written or read.
    #[error(transparent)]
    Rollout(#[from] RolloutFileError),
}

/// Folder of rollouts that are collected into one file.
pub struct Collection {
    folder: PathBuf,
    provenance: Provenance,
}

impl Collection {
    /// Returns the path of the folder for the rollouts of the file `out`.
    pub fn place(out: &Path) -> PathBuf {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".collecting");
        out.with_file_name(name)
    }

    /// Opens the folder or creates it. `about` has all settings that determine the episodes, by name.
    ///
    /// # Errors
    /// A folder that is not a collection's, one of other settings, and one that cannot be created.
    pub fn open(
        folder: &Path,
        about: &Map<String, Value>,
        provenance: Provenance,
    ) -> Result<Self, CollectionError> {
        let system = |source| CollectionError::System { path: folder.to_owned(), source };
        let collection = Self { folder: folder.to_owned(), provenance };
        let begun = Scratch::beside(folder).and_then(|scratch| {
            let text = format!("{:#}\n", Value::Object(about.clone()));
            write_atomically(&scratch.path().join(ABOUT), text.as_bytes())?;
            scratch.become_folder(folder)
        });
        match begun {
            Ok(()) => return Ok(collection),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(system(error)),
            Err(_) => {}
        }
        let foreign = |reason| CollectionError::Foreign { folder: folder.to_owned(), reason };
        let text = read_text(&folder.join(ABOUT))
            .map_err(|error| foreign(format!("{ABOUT}: cannot read: {error}")))?;
        let there: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| foreign(format!("{ABOUT}: {error}")))?;
        if there == *about {
            return Ok(collection);
        }
        let names: BTreeSet<&String> = there.keys().chain(about.keys()).collect();
        let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        let differences: Vec<String> = names
            .into_iter()
            .filter(|name| there.get(*name) != about.get(*name))
            .map(|name| format!("{name} was {}, is {}", text(there.get(name)), text(about.get(name))))
            .collect();
        Err(CollectionError::Differs { folder: folder.to_owned(), differences: differences.join("; ") })
    }

    /// Returns the keys without a stored rollout.
    pub fn missing(&self, keys: &[EpisodeKey]) -> Vec<EpisodeKey> {
        keys.iter().filter(|key| !self.file(**key).exists()).copied().collect()
    }

    /// Stores a rollout.
    ///
    /// # Errors
    /// [`RolloutFileError::Write`].
    pub fn keep(&self, rollout: &Rollout) -> Result<(), RolloutFileError> {
        rollout_file::write(&self.file(rollout.key), &self.of(rollout.key), std::slice::from_ref(rollout))
    }

    /// Reads the rollouts of all keys, in the order of the keys, bit for bit as stored.
    ///
    /// # Errors
    /// A rollout that is missing or belongs to another episode.
    pub fn all(&self, keys: &[EpisodeKey]) -> Result<Vec<Rollout>, CollectionError> {
        let one = |key: &EpisodeKey| {
            let path = self.file(*key);
            let (provenance, rollouts) = rollout_file::read(&path)?;
            match <[Rollout; 1]>::try_from(rollouts) {
                Ok([rollout]) if rollout.key == *key && provenance == self.of(*key) => Ok(rollout),
                _ => Err(CollectionError::Foreign {
                    folder: self.folder.clone(),
                    reason: format!("{}: found another episode", path.display()),
                }),
            }
        };
        keys.iter().map(one).collect()
    }

    /// Removes the rollouts of these keys and the files `beside` them, and the folder if it is then empty.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(self, keys: &[EpisodeKey], beside: &[&str]) -> Result<(), CollectionError> {
        let named = beside.iter().chain(&[ABOUT]).map(|name| self.folder.join(name));
        for path in keys.iter().map(|key| self.file(*key)).chain(named) {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(CollectionError::System { path, source });
                }
                _ => {}
            }
        }
        match std::fs::remove_dir(&self.folder) {
            // A folder with other files in it is left in place.
            Err(source) if source.kind() != ErrorKind::DirectoryNotEmpty => {
                Err(CollectionError::System { path: self.folder, source })
            }
            _ => Ok(()),
        }
    }

    /// Returns the provenance of one episode's file.
    fn of(&self, key: EpisodeKey) -> Provenance {
        Provenance { starts: Some(Starts::of([key])), ..self.provenance.clone() }
    }

    fn file(&self, key: EpisodeKey) -> PathBuf {
        self.folder.join(key.file_name())
    }
}
