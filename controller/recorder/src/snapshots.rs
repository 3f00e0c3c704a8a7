//! Snapshots of a plant during a run, a few each second, on disk beside the run's own record. They serve pictures only: no
//! decision depends on them, and any of them may be missing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use aegis_core::Pose;
use serde::{Deserialize, Serialize};

use crate::frames::{Frame, FrameReader, FrameWriter, Layout, MAGIC_BYTES};
use crate::run_log::{self, RunLogError};

/// First bytes of the file; the last one is the version of the format.
const MAGIC: [u8; MAGIC_BYTES] = *b"AEGSSEE3";
/// Readable formats, the newest first. Version 1 has no checksums; only version 3 has an end mark.
const FORMATS: [([u8; MAGIC_BYTES], Layout); 3] =
    [(MAGIC, Layout::Chained), (*b"AEGSSEE2", Layout::Checked), (*b"AEGSSEE1", Layout::Plain)];
/// Name of the file in a run's folder.
pub const SNAPSHOT_FILE: &str = "sights.aegis";

/// One snapshot of a plant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantSnapshot {
    /// Arrival time of the observation, nanoseconds since the run's clock began.
    pub now_ns: u64,
    /// The plant's episode.
    pub episode: u64,
    /// Control steps since the reset.
    pub step: u32,
    /// Index of the task.
    pub task: u32,
    /// The task in words.
    pub instruction: String,
    /// Pose of the end effector, world frame; `None` where the plant does not offer it.
    pub end_effector: Option<Pose>,
    /// Poses of the movable objects by name, world frame.
    pub objects: Vec<(String, Pose)>,
    /// The plant's whole physical state, in the plant's own layout; empty where the plant does not report it.
    pub state: Vec<f64>,
}

/// Writer of snapshots.
#[derive(Debug)]
pub struct SnapshotLog {
    path: PathBuf,
    frames: FrameWriter<BufWriter<File>>,
}

impl SnapshotLog {
    /// Makes a new file. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn create(path: &Path) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Write { path: path.into(), source };
        let file = BufWriter::new(File::create_new(path).map_err(failed)?);
        let frames = FrameWriter::begin(file, MAGIC).map_err(failed)?;
        Ok(Self { path: path.into(), frames })
    }

    /// Appends a snapshot and flushes it to the operating system.
    ///
    /// # Errors
    /// [`RunLogError::Write`], for example when the disk is full.
    pub fn append(&mut self, sight: &PlantSnapshot) -> Result<(), RunLogError> {
        let bytes = rmp_serde::to_vec(sight).map_err(io::Error::other);
        let written = bytes.and_then(|bytes| self.frames.append(&bytes));
        let written = written.and_then(|()| self.frames.flush());
        written.map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Writes the end mark.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn finish(self) -> Result<(), RunLogError> {
        let Self { path, frames } = self;
        frames.finish().map_err(|source| RunLogError::Write { path, source })
    }
}

/// Reader of snapshots, in the order in which they were written, up to the end of the file or the first damaged one.
pub struct SnapshotReader {
    frames: FrameReader<BufReader<File>>,
}

impl SnapshotReader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`RunLogError::Read`], and [`RunLogError::Format`] for a file that is not a file of snapshots.
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        run_log::open(path, &FORMATS).map(|frames| Self { frames })
    }

    /// Reads the whole file. Returns the number of snapshots, and why the file is not complete where that can be known.
    pub fn check(mut self) -> (u64, Option<String>) {
        let mut looks = 0;
        loop {
            let at = self.frames.offset();
            let fault = match self.frames.read() {
                Ok(Frame::Whole(bytes)) => match rmp_serde::from_slice::<PlantSnapshot>(&bytes) {
                    Ok(_) => {
                        looks += 1;
                        continue;
                    }
                    Err(error) => Some(format!("look {looks}, at byte {at}: {error}")),
                },
                Ok(Frame::Cut) => {
                    Some(format!("it ends early, within look {looks}, which begins at byte {at}"))
                }
                Ok(Frame::None) if self.frames.layout() == Layout::Chained => {
                    Some(format!("it ends early, at byte {at} and without an end mark"))
                }
                Ok(Frame::End | Frame::None) => None,
                Err(error) => Some(error.to_string()),
            };
            return (looks, fault);
        }
    }
}

impl Iterator for SnapshotReader {
    type Item = PlantSnapshot;

    fn next(&mut self) -> Option<PlantSnapshot> {
        match self.frames.read() {
            Ok(Frame::Whole(bytes)) => rmp_serde::from_slice(&bytes).ok(),
            Ok(Frame::Cut | Frame::End | Frame::None) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_back_as_far_as_the_file_goes() {
        let folder = std::env::temp_dir().join(format!("aegis-sights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(SNAPSHOT_FILE);
        let sight = |step: u32| PlantSnapshot {
            now_ns: u64::from(step) * 50_000_000,
            episode: 1,
            step,
            task: 3,
            instruction: "move the box".into(),
            end_effector: (step != 1).then_some(Pose::IDENTITY),
            objects: vec![("box".into(), Pose::IDENTITY)],
            state: vec![0.5, -0.5],
        };
        let mut log = SnapshotLog::create(&path).unwrap();
        (0..3).for_each(|step| log.append(&sight(step)).unwrap());
        assert!(matches!(SnapshotLog::create(&path), Err(RunLogError::Write { .. })), "never written over");
        let all: Vec<PlantSnapshot> = SnapshotReader::open(&path).unwrap().collect();
        assert_eq!(all, [sight(0), sight(1), sight(2)]);
        let checked = || SnapshotReader::open(&path).unwrap().check();
        let (looks, fault) = checked();
        assert!(looks == 3 && fault.unwrap().contains("without an end mark"), "the run goes on");
        log.finish().unwrap();
        assert_eq!(checked(), (3, None));

        let mut bytes = std::fs::read(&path).unwrap();
        // The file without its end mark, and then also without the last byte of the last snapshot.
        bytes.truncate(bytes.len() - 8);
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().count(), 2);
        let (looks, fault) = checked();
        assert!(looks == 2 && fault.unwrap().contains("within look 2"));
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().count(), 2, "a look that is damaged is not shown");
        let (looks, fault) = checked();
        assert!(looks == 2 && fault.unwrap().contains("damaged: frame 2"));
        std::fs::write(&path, b"AEGSRUN2").unwrap();
        let error = SnapshotReader::open(&path).err().unwrap().to_string();
        assert!(error.contains("begins with AEGSRUN2") && error.contains("AEGSSEE3"), "{error}");
        // Files of the first version have no checksums.
        let look = rmp_serde::to_vec(&sight(7)).unwrap();
        let length = u32::try_from(look.len()).unwrap().to_le_bytes();
        std::fs::write(&path, [&b"AEGSSEE1"[..], &length[..], &look[..]].concat()).unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().collect::<Vec<_>>(), [sight(7)]);
        assert_eq!(checked(), (1, None));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
