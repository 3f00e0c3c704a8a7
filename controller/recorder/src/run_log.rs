//! A controller's run on disk: a header from which the run's controller can be made again, then the record of every control
//! period. The whole run and the black box use the same file format. A file that ends early is read as far as it goes, and
//! the reader reports the early end. A changed bit, and a period that was moved, are detected.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use aegis_core::control::{ControllerConfig, LimitScope};
use serde::{Deserialize, Serialize};

use crate::frames::{self, Frame, FrameReader, FrameWriter, MAGIC_BYTES};
pub use crate::frames::{FrameError, Layout};

/// First bytes of a run's file; the last one is the version of the format.
const MAGIC: [u8; MAGIC_BYTES] = *b"AEGSRUN4";
/// Readable formats, the newest first.
const FORMATS: [([u8; MAGIC_BYTES], Layout); 3] =
    [(MAGIC, Layout::Chained), (*b"AEGSRUN3", Layout::Checked), (*b"AEGSRUN2", Layout::Plain)];
/// Reason given for a file that is shorter than its header.
const EARLY: &str = "the header ends early";

/// Header of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHeader {
    /// Version and commit of the program.
    pub program: String,
    /// Name of the plant.
    pub plant: String,
    /// When the run's clock began, nanoseconds since 1970. For people only; nothing depends on it.
    pub began_unix_ns: i64,
    /// SHA-256 of each model and of the probe, by role.
    pub digests: BTreeMap<String, String>,
    /// Complete configuration of the controller.
    pub recipe: ControllerConfig,
    /// Number of the first period in this file: 0 for a whole run, larger in a black box that holds only the end of a run.
    pub first: u64,
}

/// Errors of a run's file.
#[derive(Debug, thiserror::Error)]
pub enum RunLogError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}")]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file exists already; a record is never overwritten.
    #[error("{path}: found a recording; valid is none yet, so choose another --out")]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is no longer at the path where it was made, or no longer begins as it was begun.
    #[error("{path}: the record is gone: it was removed, replaced or emptied while it was written")]
    Gone {
        /// Path where the file was made.
        path: PathBuf,
    },
    /// The file is not of the expected format, or is of an unknown version.
    #[error(
        "{path}: {found}; valid is a file that `aegis run` wrote, of format {}",
        String::from_utf8_lossy(format)
    )]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        found: String,
        /// First bytes of a valid file.
        format: [u8; 8],
    },
    /// The header's bytes differ from those that were written.
    #[error("{path}: header: {source}")]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Where the header is damaged, and how.
        source: FrameError,
    },
}

/// The ways in which a run's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last period. Format 2 has no end mark: a file of that format may have been cut between two periods.
    Whole,
    /// Within the frame of a period.
    Within {
        /// Byte offset at which that frame begins.
        offset: u64,
    },
    /// Between two periods, without an end mark: the file was cut, or its run did not end properly.
    Unmarked {
        /// Size of the file, bytes.
        offset: u64,
    },
}

/// Writer of a run's file.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    frames: FrameWriter<BufWriter<File>>,
}

impl RunLog {
    /// Makes a new file and writes its header. An existing file is never overwritten. No file is left behind where the
    /// header cannot be written.
    ///
    /// # Errors
    /// [`RunLogError::Exists`] and [`RunLogError::Write`].
    pub fn create(path: &Path, header: &RunHeader) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Write { path: path.into(), source };
        let file = File::options().read(true).write(true).create_new(true).open(path).map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            if exists { RunLogError::Exists { path: path.into() } } else { failed(error) }
        })?;
        let begun = rmp_serde::to_vec_named(header).map_err(io::Error::other).and_then(|header| {
            let mut frames = FrameWriter::begin(BufWriter::new(file), MAGIC)?;
            frames.append(&header)?;
            frames.flush()?;
            Ok(frames)
        });
        if begun.is_err() {
            // The error to report is the first one.
            let _ = std::fs::remove_file(path);
        }
        begun.map(|frames| Self { path: path.into(), frames }).map_err(failed)
    }

    /// Appends a period's bytes.
    ///
    /// # Errors
    /// [`RunLogError::Write`], for example when the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), RunLogError> {
        self.frames.append(bytes).map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Flushes the buffered bytes to the operating system.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn flush(&mut self) -> Result<(), RunLogError> {
        self.frames.flush().map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Checks that the file is still at its path and begins as it was begun. A file that was removed can still be written, but
    /// cannot be found again; one that was emptied has a hole where its first periods were.
    ///
    /// # Errors
    /// [`RunLogError::Gone`].
    pub fn check_there(&self) -> Result<(), RunLogError> {
        let identity = |file: std::fs::Metadata| (file.dev(), file.ino());
        let file = self.frames.output().get_ref();
        let mut first = MAGIC;
        let begins = file.read_exact_at(&mut first, 0).is_ok() && first == MAGIC;
        let written = file.metadata().map(identity);
        let found = std::fs::metadata(&self.path).map(identity);
        let there = matches!((written, found), (Ok(written), Ok(found)) if written == found);
        if there && begins { Ok(()) } else { Err(RunLogError::Gone { path: self.path.clone() }) }
    }

    /// Writes the end mark and flushes the file to the operating system. Without the end mark a reader reports that the
    /// file ends early.
    ///
    /// # Errors
    /// [`RunLogError::Write`], and [`RunLogError::Gone`].
    pub fn finish(self) -> Result<(), RunLogError> {
        let there = self.check_there();
        let Self { path, frames } = self;
        frames.finish().map_err(|source| RunLogError::Write { path, source })?;
        there
    }
}

/// Reader of a run's file.
pub struct RunReader {
    frames: FrameReader<BufReader<File>>,
    ending: Option<Ending>,
    /// Header of the run.
    pub header: RunHeader,
}

impl RunReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// See [`RunLogError`].
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        let format = |found: String| RunLogError::Format { path: path.into(), found, format: MAGIC };
        let mut frames = open(path, &FORMATS)?;
        let first = frames.read().map_err(|error| match error {
            FrameError::Read(source) => RunLogError::Read { path: path.into(), source },
            source => RunLogError::Damaged { path: path.into(), source },
        })?;
        let Frame::Whole(bytes) = first else { return Err(format(EARLY.into())) };
        let mut header: RunHeader =
            rmp_serde::from_slice(&bytes).map_err(|error| format(format!("header: {error}")))?;
        if frames.layout() == Layout::Plain {
            // Programs of that version limited commands in this way; the setting did not exist yet.
            header.recipe.settings.limits = LimitScope::UntilCaughtUp;
        }
        Ok(Self { frames, ending: None, header })
    }

    /// Reads the next period's bytes. Returns `None` at the end of the file, whether the end is marked or early.
    ///
    /// # Errors
    /// What the operating system reports, and a frame whose bytes differ from those that were written.
    pub fn next_period(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let (offset, plain) = (self.frames.offset(), self.frames.layout() == Layout::Plain);
        self.ending = Some(match self.frames.read()? {
            Frame::Whole(bytes) => return Ok(Some(bytes)),
            Frame::Cut => Ending::Within { offset },
            Frame::None if !plain => Ending::Unmarked { offset },
            Frame::None | Frame::End => Ending::Whole,
        });
        Ok(None)
    }

    /// Returns the layout of the file, which tells which changes to the file are detected.
    pub fn layout(&self) -> Layout {
        self.frames.layout()
    }

    /// Returns how the file ends; known once [`next_period`](Self::next_period) has returned `None`.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

/// Opens a file of one of these formats, finds the format by the first bytes, and returns a reader behind them.
pub(crate) fn open(
    path: &Path,
    formats: &[([u8; MAGIC_BYTES], Layout)],
) -> Result<FrameReader<BufReader<File>>, RunLogError> {
    let failed = |source| RunLogError::Read { path: path.into(), source };
    let format = |found| RunLogError::Format { path: path.into(), found, format: formats[0].0 };
    let mut file = BufReader::new(aegis_files::open_file(path).map_err(failed)?);
    let mut begins = [0; MAGIC_BYTES];
    if !frames::read_whole(&mut file, &mut begins).map_err(failed)? {
        return Err(format(EARLY.into()));
    }
    match formats.iter().find(|(magic, _)| *magic == begins) {
        Some((_, layout)) => Ok(FrameReader::new(file, *layout)),
        None => {
            let found = String::from_utf8_lossy(&begins).escape_default().to_string();
            Err(format(format!("it begins with {found}")))
        }
    }
}

#[cfg(test)]
mod earlier;

#[cfg(test)]
mod tests {
    use aegis_core::GateLimits;
    use aegis_core::control::{
        Channel, ChannelKind, ChunkChecks, ControlSettings, Overlap, StrongLoss, Treatment,
    };
    use aegis_core::gate::BudgetUnit;
    use aegis_core::trigger::{Rule, Thresholds};

    use super::*;

    pub(super) const PERIODS: [&[u8]; 3] = [b"the first", b"2", b"the third and last"];

    pub(super) fn header() -> RunHeader {
        let channel = Channel {
            kind: ChannelKind::Rate,
            low: -1.0,
            high: 1.0,
            velocity: 1.0,
            acceleration: 0.2,
            jerk: 0.1,
        };
        let recipe = ControllerConfig {
            settings: ControlSettings {
                rate_hz: 20.0,
                lead_steps: 1,
                overlap: Overlap::Replace,
                weak_misses: 3,
                strong_patience_steps: 4,
                on_strong_loss: StrongLoss::Stop,
                max_age_ms: 150.0,
                stale_steps: 3,
                frozen_ms: 0.0,
                plant_timeout_ms: 500.0,
                out_of_bounds: Treatment::Clamp,
                chunk: ChunkChecks::default(),
                limits: LimitScope::Always,
                start_within: f64::INFINITY,
                follow_within: f64::INFINITY,
                channels: vec![channel],
                cameras: Vec::new(),
            },
            limits: GateLimits {
                return_chunks: 1,
                guard_fraction: 0.2,
                budget_fraction: 0.05,
                budget_unit: BudgetUnit::Chunks,
                duty_cap: 0.75,
                hold_chunks: 1,
                whole_holds: false,
                horizon_steps: 220,
                chunk_steps: 8,
            },
            rule: Rule::Conformal(Thresholds { fire: 0.9, hand_back: 0.3 }),
            horizons: [10; 2],
            rest: vec![0.0],
            ask_strong: true,
            take_over: None,
            operator: None,
        };
        RunHeader {
            program: "test".into(),
            plant: "cell".into(),
            began_unix_ns: 0,
            digests: BTreeMap::new(),
            recipe,
            first: 0,
        }
    }

    /// Returns a path that only the named test uses.
    pub(super) fn path(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aegis-run-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(test);
        let _ = std::fs::remove_file(&path);
        path
    }

    /// Writes a complete record and returns its bytes.
    fn record(path: &Path) -> Vec<u8> {
        let mut log = RunLog::create(path, &header()).unwrap();
        PERIODS.iter().for_each(|period| log.append(period).unwrap());
        log.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    /// Returns the number of periods in a file and its ending, or the error.
    pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(usize, Ending), String> {
        std::fs::write(path, bytes).unwrap();
        let mut reader = RunReader::open(path).map_err(|error| error.to_string())?;
        let mut periods = 0;
        while let Some(bytes) = reader.next_period().map_err(|error| error.to_string())? {
            assert_eq!(bytes, PERIODS[periods]);
            periods += 1;
        }
        Ok((periods, reader.ending().unwrap()))
    }

    #[test]
    fn every_bit_of_a_record_that_changes_is_found() {
        let path = path("flipped");
        let whole = record(&path);
        assert_eq!(read(&path, &whole), Ok((3, Ending::Whole)));
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[byte] ^= 1 << bit;
                let found = read(&path, &damaged);
                assert!(!matches!(found, Ok((_, Ending::Whole))), "bit {bit} of byte {byte}: {found:?}");
            }
        }
        // The error names the place: the last period comes after its length and checksum, and before an end mark of 8
        // bytes.
        let mut damaged = whole.clone();
        let (last, begin) = (whole.len() - 9, whole.len() - 16 - PERIODS[2].len());
        damaged[last] ^= 1;
        let said = read(&path, &damaged).unwrap_err();
        assert!(said.contains(&format!("damaged: frame 3, at byte {begin}, has checksum")), "{said}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_record_that_is_cut_at_any_byte_is_said_to_end_early() {
        let path = path("cut");
        let whole = record(&path);
        for length in 0..whole.len() {
            let found = read(&path, &whole[..length]);
            assert!(!matches!(found, Ok((_, Ending::Whole))), "{length} bytes: {found:?}");
        }
        let end = whole.len() - 8;
        let unmarked = Ending::Unmarked { offset: end as u64 };
        assert_eq!(read(&path, &whole[..end]), Ok((3, unmarked)), "cut exactly between two frames");
        let begin = end - 8 - PERIODS[2].len();
        let within = Ending::Within { offset: begin as u64 };
        assert_eq!(read(&path, &whole[..end - 1]), Ok((2, within)));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_record_that_was_removed_replaced_or_emptied_while_it_was_written_is_said_to_be_gone() {
        let path = path("gone");
        let begin = || {
            let mut log = RunLog::create(&path, &header()).unwrap();
            log.append(PERIODS[0]).unwrap();
            log.check_there().unwrap();
            log
        };
        let log = begin();
        std::fs::remove_file(&path).unwrap();
        let said = log.check_there().unwrap_err().to_string();
        assert!(said.contains("gone: the record is gone"), "{said}");
        assert!(matches!(log.finish(), Err(RunLogError::Gone { .. })));
        let log = begin();
        // The other file is made beside the record first, so that its inode number differs.
        let other = path.with_extension("other");
        std::fs::write(&other, "another").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(matches!(log.finish(), Err(RunLogError::Gone { .. })));
        std::fs::remove_file(&path).unwrap();
        let mut log = begin();
        // As `> run.aegis` does in a shell: the same file, and what is written later lands behind a hole.
        File::options().write(true).truncate(true).open(&path).unwrap();
        assert!(matches!(log.check_there(), Err(RunLogError::Gone { .. })));
        log.append(PERIODS[1]).unwrap();
        log.flush().unwrap();
        assert!(matches!(log.finish(), Err(RunLogError::Gone { .. })));
        std::fs::remove_file(&path).unwrap();
        begin().finish().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
