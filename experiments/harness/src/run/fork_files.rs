//! Files of forks in the folder of a collection, one for each episode. An episode's file is written before that of its rollout, so a
//! stored rollout always has its forks.

use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_probe::fork_file::{self, ForkProvenance};
use aegis_probe::forks::EpisodeForks;
use aegis_probe::origin::Starts;
use aegis_probe::rollout_file::{Provenance, RolloutFileError};

use crate::run::collection::{Collection, CollectionError};

/// Files of forks of one collection.
pub struct ForkFiles {
    folder: PathBuf,
    provenance: ForkProvenance,
}

impl ForkFiles {
    /// Returns the path of the file of forks beside the file of rollouts `out`: `NAME.forks.parquet`.
    pub fn beside(out: &Path) -> PathBuf {
        out.with_extension("forks.parquet")
    }

    /// Returns the files of forks of the collection of the rollouts `out`.
    pub fn new(out: &Path, provenance: ForkProvenance) -> Self {
        Self { folder: Collection::place(out), provenance }
    }

    /// Returns the name of an episode's file in the collection's folder.
    pub fn name(key: EpisodeKey) -> String {
        Self::beside(Path::new(&key.file_name())).display().to_string()
    }

    /// Stores the forks of an episode.
    ///
    /// # Errors
    /// [`RolloutFileError::Write`].
    pub fn keep(&self, forks: &EpisodeForks) -> Result<(), RolloutFileError> {
        fork_file::write(&self.file(forks.key), &self.of(forks.key), std::slice::from_ref(forks))
    }

    /// Reads the forks of all keys, in the order of the keys.
    ///
    /// # Errors
    /// A file that is missing or belongs to another episode.
    pub fn all(&self, keys: &[EpisodeKey]) -> Result<Vec<EpisodeForks>, CollectionError> {
        let one = |key: &EpisodeKey| {
            let path = self.file(*key);
            let (provenance, episodes) = fork_file::read(&path)?;
            let same_plan = provenance.plan_sha256 == self.provenance.plan_sha256;
            match <[EpisodeForks; 1]>::try_from(episodes) {
                Ok([episode]) if episode.key == *key && same_plan => Ok(episode),
                _ => Err(CollectionError::Foreign {
                    folder: self.folder.clone(),
                    reason: format!("{}: found another episode", path.display()),
                }),
            }
        };
        keys.iter().map(one).collect()
    }

    /// Writes the forks of all episodes into one file.
    ///
    /// # Errors
    /// [`RolloutFileError::Write`].
    pub fn write(&self, out: &Path, episodes: &[EpisodeForks]) -> Result<(), RolloutFileError> {
        fork_file::write(out, &self.provenance, episodes)
    }

    /// Returns the provenance of one episode's file.
    fn of(&self, key: EpisodeKey) -> ForkProvenance {
        let rollouts = Provenance { starts: Some(Starts::of([key])), ..self.provenance.rollouts.clone() };
        ForkProvenance { rollouts, ..self.provenance.clone() }
    }

    fn file(&self, key: EpisodeKey) -> PathBuf {
        self.folder.join(Self::name(key))
    }
}
