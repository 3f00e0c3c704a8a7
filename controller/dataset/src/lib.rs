//! Data sets of runs and episodes, in the layout LeRobotDataset v3.0, for programs that train policies. A [`DatasetWriter`]
//! writes rows as they come; [`run`] reads them of a run's folder. docs/reference/dataset.md describes the columns.
//!
//! ```no_run
//! use aegis_dataset::{Export, Selection};
//!
//! let mut export = Export::new("runs/interventions".as_ref(), "aegis 0.1.0")?;
//! let selection = Selection { only_interventions: true, ..Selection::default() };
//! let notes = aegis_dataset::run::export("runs/robot/2026-11-27T12-00-00".as_ref(), &selection, &mut export)?;
//! notes.iter().for_each(|note| println!("{note}"));
//! println!("{} rows", export.finish()?.rows);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod columns;
mod episode_index;
mod episode_plan;
mod export;
mod features;
mod metadata;
mod parquet_output;
mod picture;
pub mod run;
mod statistics;
mod writer;

use std::path::{Path, PathBuf};

pub use export::{Export, Finished, Selection};
pub use features::Features;
pub use picture::Picture;
pub use writer::{DatasetWriter, EpisodeNote, Row};

/// Errors of a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or folder of the data set cannot be written.
    #[error("{path}: cannot write: {reason}", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// A source cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Source {
        /// The source's file or folder.
        path: PathBuf,
        /// What is wrong, in words: the field, what was found, what is valid.
        reason: String,
    },
    /// What was chosen of the sources holds no row.
    #[error("found no row to write: {0}")]
    Empty(String),
    /// A signal has ended the export.
    #[error("a signal ended the export; nothing of it is kept")]
    Told,
}

impl DatasetError {
    /// Returns the error of a source, whose file or folder is `path`.
    pub fn source(path: &Path, reason: impl ToString) -> Self {
        Self::Source { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn write(path: &Path, reason: impl ToString) -> Self {
        Self::Write { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Returns whether writing failed, so that the request itself was valid.
    pub fn is_of_the_system(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}
