//! Files of entries beside a run's record: snapshots of the plant, and pictures. They serve people only: no decision depends on
//! them, and any entry may be missing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frames::{Frame, FrameReader, FrameWriter, Layout, MAGIC_BYTES};
use crate::run_log::{self, RunLogError};

/// An entry of a file, and the formats of such files.
pub trait Entry: Serialize + DeserializeOwned {
    /// First bytes of each format that can be read, with its layout, the newest first. Files are written in the newest.
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)];
    /// Noun for an entry, in messages.
    const NAME: &'static str;
}

/// Writer of entries.
#[derive(Debug)]
pub struct EntryLog<T> {
    path: PathBuf,
    frames: FrameWriter<BufWriter<File>>,
    entries: PhantomData<fn(T)>,
}

impl<T: Entry> EntryLog<T> {
    /// Makes a new file. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn create(path: &Path) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Write { path: path.into(), source };
        let file = BufWriter::new(File::create_new(path).map_err(failed)?);
        let frames = FrameWriter::begin(file, T::FORMATS[0].0).map_err(failed)?;
        Ok(Self { path: path.into(), frames, entries: PhantomData })
    }

    /// Appends an entry and flushes it to the operating system.
    ///
    /// # Errors
    /// [`RunLogError::Write`], for example when the disk is full.
    pub fn append(&mut self, entry: &T) -> Result<(), RunLogError> {
        let bytes = rmp_serde::to_vec(entry).map_err(io::Error::other);
        let written = bytes.and_then(|bytes| self.frames.append(&bytes));
        let written = written.and_then(|()| self.frames.flush());
        written.map_err(|source| RunLogError::Write { path: self.path.clone(), source })
    }

    /// Writes the end mark.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn finish(self) -> Result<(), RunLogError> {
        let Self { path, frames, .. } = self;
        frames.finish().map_err(|source| RunLogError::Write { path, source })
    }
}

/// Reader of entries, in the order in which they were written, up to the end of the file or the first damaged one.
pub struct EntryReader<T> {
    frames: FrameReader<BufReader<File>>,
    entries: PhantomData<fn() -> T>,
}

impl<T: Entry> EntryReader<T> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`RunLogError::Read`], and [`RunLogError::Format`] for a file of another kind.
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        run_log::open(path, T::FORMATS).map(|frames| Self { frames, entries: PhantomData })
    }

    /// Reads the whole file. Returns the number of entries, and why the file is not complete where that can be known.
    pub fn check(mut self) -> (u64, Option<String>) {
        let (mut count, name) = (0, T::NAME);
        loop {
            let at = self.frames.offset();
            let fault = match self.frames.read() {
                Ok(Frame::Whole(bytes)) => match rmp_serde::from_slice::<T>(&bytes) {
                    Ok(_) => {
                        count += 1;
                        continue;
                    }
                    Err(error) => Some(format!("{name} {count}, at byte {at}: {error}")),
                },
                Ok(Frame::Cut) => {
                    Some(format!("it ends early, within {name} {count}, which begins at byte {at}"))
                }
                Ok(Frame::None) if self.frames.layout() == Layout::Chained => {
                    Some(format!("it ends early, at byte {at} and without an end mark"))
                }
                Ok(Frame::End | Frame::None) => None,
                Err(error) => Some(error.to_string()),
            };
            return (count, fault);
        }
    }
}

impl<T: Entry> Iterator for EntryReader<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.frames.read() {
            Ok(Frame::Whole(bytes)) => rmp_serde::from_slice(&bytes).ok(),
            Ok(Frame::Cut | Frame::End | Frame::None) | Err(_) => None,
        }
    }
}
