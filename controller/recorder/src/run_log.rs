//! A controller's run on disk: a header that its controller can be made from, then every control period as it was.
//! One file format for the whole run and for the black box; a file that ends early is read as far as it goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aegis_core::control::Recipe;
use serde::{Deserialize, Serialize};

/// First bytes of a run's file, the format's version among them.
const MAGIC: [u8; 8] = *b"AEGSRUN2";
/// The largest header and the largest period.
const LARGEST: u32 = 1024 * 1024;

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
    /// The file.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// Not such a file, or one of another version.
    #[error("{path}: {found}; valid is a file that `aegis run` wrote, of format {}", String::from_utf8_lossy(&MAGIC))]
    Format {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        found: String,
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
    /// [`RunLogError::Io`].
    pub fn create(path: &Path, header: &RunHeader) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Io { path: path.into(), source };
        let file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
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
    /// [`RunLogError::Io`], for example of a disk that is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), RunLogError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let written = self.file.write_all(&length).and_then(|()| self.file.write_all(bytes));
        written.map_err(|source| RunLogError::Io { path: self.path.clone(), source })
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// [`RunLogError::Io`].
    pub fn flush(&mut self) -> Result<(), RunLogError> {
        self.file.flush().map_err(|source| RunLogError::Io { path: self.path.clone(), source })
    }
}

/// Reads a run.
pub struct RunReader {
    file: BufReader<File>,
    /// What the run was.
    pub header: RunHeader,
}

impl RunReader {
    /// Opens a file.
    ///
    /// # Errors
    /// See [`RunLogError`].
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Io { path: path.into(), source };
        let format = |found: String| RunLogError::Format { path: path.into(), found };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let mut magic = [0; MAGIC.len()];
        let begins = file.read_exact(&mut magic).is_ok() && magic == MAGIC;
        let bytes = if begins { frame(&mut file).map_err(failed)? } else { None };
        let bytes = bytes.ok_or_else(|| format(format!("it begins with {magic:02x?}, or ends early")))?;
        let header = rmp_serde::from_slice(&bytes).map_err(|error| format(format!("header: {error}")))?;
        Ok(Self { file, header })
    }

    /// The next period's bytes; none at the end, be it where it should be or early.
    ///
    /// # Errors
    /// What the system reports.
    pub fn next_period(&mut self) -> io::Result<Option<Vec<u8>>> {
        frame(&mut self.file)
    }
}

fn frame(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if !read_whole(file, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes in one period")));
    }
    let mut bytes = vec![0; length as usize];
    Ok(read_whole(file, &mut bytes)?.then_some(bytes))
}

fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
