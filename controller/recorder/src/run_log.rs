//! A controller's run on disk: a header that its controller can be made from, then every control period as it was.
//! One file format for the whole run and for the black box. A file that ends early is read as far as it goes, and says so;
//! a bit that changed after it was written is found, and so is a period that was moved.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aegis_core::control::{ControllerConfig, LimitScope};
use serde::{Deserialize, Serialize};

use crate::frames::{self, Frame, FrameReader, FrameWriter, MAGIC_BYTES};
pub use crate::frames::{FrameError, Layout};

/// First bytes of a run's file, the format's version among them.
const MAGIC: [u8; MAGIC_BYTES] = *b"AEGSRUN4";
/// Formats that are read, the newest first.
const FORMATS: [([u8; MAGIC_BYTES], Layout); 3] =
    [(MAGIC, Layout::Chained), (*b"AEGSRUN3", Layout::Checked), (*b"AEGSRUN2", Layout::Plain)];
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
    pub recipe: ControllerConfig,
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
    /// The file is no longer where it was made.
    #[error("{path}: the record is gone: it was removed, or replaced, while it was written")]
    Gone {
        /// Where it was made.
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
    /// The header holds other bytes than were written.
    #[error("{path}: header: {source}")]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// Where, and what does not agree.
        source: FrameError,
    },
}

/// How a run's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last period. Format 2 has no end mark: there it may have been cut between two periods.
    Whole,
    /// Within the frame of a period, which begins at this byte.
    Within {
        /// Where the frame begins.
        offset: u64,
    },
    /// Between two periods, at this byte and without an end mark: it was cut, or its run did not come to an end.
    Unmarked {
        /// Size of the file.
        offset: u64,
    },
}

/// Writes a run.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    frames: FrameWriter<BufWriter<File>>,
}

impl RunLog {
    /// A new file; one that is there is never written over. No file is left behind where its header cannot be written.
    ///
    /// # Errors
    /// [`RunLogError::Exists`] and [`RunLogError::Write`].
    pub fn create(path: &Path, header: &RunHeader) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Write { path: path.into(), source };
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| {
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
    /// [`RunLogError::Write`], for example of a disk that is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), RunLogError> {
        self.frames.append(bytes).map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn flush(&mut self) -> Result<(), RunLogError> {
        self.frames.flush().map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Whether the file is where it was made: one that was removed takes all that is written, and nobody finds it.
    ///
    /// # Errors
    /// [`RunLogError::Gone`].
    pub fn check_there(&self) -> Result<(), RunLogError> {
        let identity = |file: std::fs::Metadata| (file.dev(), file.ino());
        let written = self.frames.output().get_ref().metadata().map(identity);
        let found = std::fs::metadata(&self.path).map(identity);
        let there = matches!((written, found), (Ok(written), Ok(found)) if written == found);
        if there { Ok(()) } else { Err(RunLogError::Gone { path: self.path.clone() }) }
    }

    /// Marks the end, without which a reader says that the file ends early, and hands all to the system.
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

/// Reads a run.
pub struct RunReader {
    frames: FrameReader<BufReader<File>>,
    ending: Option<Ending>,
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
        let mut frames = open(path, &FORMATS)?;
        let first = frames.read().map_err(|error| match error {
            FrameError::Read(source) => RunLogError::Read { path: path.into(), source },
            source => RunLogError::Damaged { path: path.into(), source },
        })?;
        let Frame::Whole(bytes) = first else { return Err(format(EARLY.into())) };
        let mut header: RunHeader =
            rmp_serde::from_slice(&bytes).map_err(|error| format(format!("header: {error}")))?;
        if frames.layout() == Layout::Plain {
            // What that version did, before it was a setting.
            header.recipe.settings.limits = LimitScope::UntilCaughtUp;
        }
        Ok(Self { frames, ending: None, header })
    }

    /// Reads the next period's bytes; none at the end, be it where it should be or early.
    ///
    /// # Errors
    /// What the system reports, and bytes that changed after they were written.
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

    /// How much of a change to it shows.
    pub fn layout(&self) -> Layout {
        self.frames.layout()
    }

    /// How the file ends; known once [`next_period`](Self::next_period) gives none.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

/// Opens a file of one of these formats, by its first bytes, and reads as far as behind them.
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
    use aegis_core::control::{Channel, ChannelKind, ControlSettings, OutOfBounds, Overlap, StrongLoss};
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
                out_of_bounds: OutOfBounds::Clamp,
                limits: LimitScope::Always,
                start_within: f64::INFINITY,
                follow_within: f64::INFINITY,
                channels: vec![channel],
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

    /// A path of the test's own.
    pub(super) fn path(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aegis-run-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(test);
        let _ = std::fs::remove_file(&path);
        path
    }

    /// A whole record.
    fn record(path: &Path) -> Vec<u8> {
        let mut log = RunLog::create(path, &header()).unwrap();
        PERIODS.iter().for_each(|period| log.append(period).unwrap());
        log.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    /// Periods of a file and its ending, or what is said of it.
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
        // With its place: the last period is behind its length and checksum, and before an end mark of 8 bytes.
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
    fn a_record_that_was_removed_or_replaced_while_it_was_written_is_said_to_be_gone() {
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
        // Beside it first, so that its number is another.
        let other = path.with_extension("other");
        std::fs::write(&other, "another").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(matches!(log.finish(), Err(RunLogError::Gone { .. })));
        std::fs::remove_file(&path).unwrap();
        begin().finish().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
