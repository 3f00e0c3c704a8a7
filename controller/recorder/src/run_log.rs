//! A controller's run on disk: a header that its controller can be made from, then every control period as it was.
//! One file format for the whole run and for the black box; a file that ends early is read as far as it goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use aegis_core::control::Recipe;
use serde::{Deserialize, Serialize};

use crate::frames::{self, Frame};

/// First bytes of a run's file, the format's version among them.
const MAGIC: [u8; 8] = *b"AEGSRUN2";
/// A file that is shorter than its header.
const EARLY: &str = "the header ends early";

/// What a run was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHeader {
    /// Version and commit of the program.
    pub program: String,
    /// Name of the plant.
    pub plant: String,
    /// When the run's clock began, nanoseconds since 1970; for people, and nothing is decided by it.
    pub began_unix_ns: i64,
    /// SHA-256 of each model and of the probe, by their role.
    pub digests: BTreeMap<String, String>,
    /// Everything that the controller was made of.
    pub recipe: Recipe,
    /// Number of the first period in this file: 0 for a whole run, more for the end of one.
    pub first: u64,
}

/// Why a run's file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunLogError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// A recording is never written over.
    #[error("{path}: found a recording; valid is none yet, so choose another --out")]
    Exists {
        /// Which one.
        path: PathBuf,
    },
    /// Not such a file, or one of another version.
    #[error(
        "{path}: {found}; valid is a file that `aegis run` wrote, of format {}",
        String::from_utf8_lossy(format)
    )]
    Format {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// First bytes of such a file.
        format: [u8; 8],
    },
}

/// Writes a run.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl RunLog {
    /// A new file; one that is there is never written over.
    ///
    /// # Errors
    /// [`RunLogError::Exists`] and [`RunLogError::Write`].
    pub fn create(path: &Path, header: &RunHeader) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Write { path: path.into(), source };
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            if exists { RunLogError::Exists { path: path.into() } } else { failed(error) }
        })?;
        let mut log = Self { path: path.into(), file: BufWriter::new(file) };
        let header = rmp_serde::to_vec_named(header).map_err(|error| failed(io::Error::other(error)))?;
        log.file.write_all(&MAGIC).map_err(failed)?;
        log.append(&header)?;
        log.flush()?;
        Ok(log)
    }

    /// Appends a period's bytes.
    ///
    /// # Errors
    /// [`RunLogError::Write`], for example of a disk that is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), RunLogError> {
        frames::write(&mut self.file, bytes)
            .map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn flush(&mut self) -> Result<(), RunLogError> {
        self.file.flush().map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }
}

/// Reads a run.
pub struct RunReader {
    file: BufReader<File>,
    is_cut: bool,
    /// What the run was.
    pub header: RunHeader,
}

impl RunReader {
    /// Opens a file.
    ///
    /// # Errors
    /// See [`RunLogError`].
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        let format = |found: String| RunLogError::Format { path: path.into(), found, format: MAGIC };
        let mut file = open(path, MAGIC)?;
        let failed = |source| RunLogError::Read { path: path.into(), source };
        let early = || format(EARLY.into());
        let Frame::Whole(bytes) = frames::read(&mut file).map_err(failed)? else { return Err(early()) };
        let header = rmp_serde::from_slice(&bytes).map_err(|error| format(format!("header: {error}")))?;
        Ok(Self { file, is_cut: false, header })
    }

    /// The next period's bytes; none at the end, be it where it should be or early.
    ///
    /// # Errors
    /// What the system reports.
    pub fn next_period(&mut self) -> io::Result<Option<Vec<u8>>> {
        match frames::read(&mut self.file)? {
            Frame::Whole(bytes) => return Ok(Some(bytes)),
            Frame::Cut => self.is_cut = true,
            Frame::None => {}
        }
        Ok(None)
    }

    /// Whether the file ended within a period; known once [`next_period`](Self::next_period) gives none.
    pub fn ends_early(&self) -> bool {
        self.is_cut
    }
}

/// Opens a file that begins with these bytes, and reads as far as behind them.
pub(crate) fn open(path: &Path, magic: [u8; 8]) -> Result<BufReader<File>, RunLogError> {
    let failed = |source| RunLogError::Read { path: path.into(), source };
    let format = |found| RunLogError::Format { path: path.into(), found, format: magic };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut begins = [0; 8];
    if !frames::read_whole(&mut file, &mut begins).map_err(failed)? {
        return Err(format(EARLY.into()));
    }
    if begins != magic {
        let found = String::from_utf8_lossy(&begins).escape_default().to_string();
        return Err(format(format!("it begins with {found}")));
    }
    Ok(file)
}
