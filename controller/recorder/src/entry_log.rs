//! Files of entries beside a run's record: snapshots of the plant, pictures, and observations. No decision depends on them, and any
//! entry may be missing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frames::{self, Frame, FrameReader, FrameWriter, Layout, MAGIC_BYTES};
use crate::run_log::{self, RunLogError};

/// An entry of a file, and the formats of such files.
pub trait Entry: Serialize + DeserializeOwned {
    /// First bytes of each format that can be read, with its layout, the newest first. Files are written in the newest.
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)];
    /// Noun for an entry, in messages.
    const NAME: &'static str;
    /// Largest size of an entry, bytes.
    const LARGEST: u32 = frames::LARGEST;
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
        Ok(Self { path: path.into(), frames: frames.with_largest(T::LARGEST), entries: PhantomData })
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
        let frames = run_log::open(path, T::FORMATS)?.with_largest(T::LARGEST);
        Ok(Self { frames, entries: PhantomData })
    }

    /// Reads the next entry, or finds the end of the file.
    pub fn next_entry(&mut self) -> Next<T> {
        let (at, number, name) = (self.frames.offset(), self.frames.count(), T::NAME);
        match self.frames.read() {
            Ok(Frame::Whole(bytes)) => match rmp_serde::from_slice::<T>(&bytes) {
                Ok(entry) => Next::Entry(at, entry),
                Err(error) => Next::Over(Some(format!("{name} {number}, at byte {at}: {error}"))),
            },
            Ok(Frame::Cut) => {
                Next::Over(Some(format!("it ends early, within {name} {number}, which begins at byte {at}")))
            }
            Ok(Frame::None) if self.frames.layout() == Layout::Chained => {
                Next::Over(Some(format!("it ends early, at byte {at} and without an end mark")))
            }
            Ok(Frame::End | Frame::None) => Next::Over(None),
            Err(error) => Next::Over(Some(error.to_string())),
        }
    }

    /// Reads the whole file. Returns the number of entries, and why the file is not complete where that can be known.
    pub fn check(mut self) -> (u64, Option<String>) {
        let mut count = 0;
        loop {
            match self.next_entry() {
                Next::Entry(..) => count += 1,
                Next::Over(fault) => return (count, fault),
            }
        }
    }
}

impl<T: Entry> Iterator for EntryReader<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.next_entry() {
            Next::Entry(_, entry) => Some(entry),
            Next::Over(_) => None,
        }
    }
}

/// Result of reading the next entry of a file.
#[derive(Debug, PartialEq)]
pub enum Next<T> {
    /// An entry, and the byte offset at which it begins.
    Entry(u64, T),
    /// The end of what can be read, with the reason where it is not the end of a complete file.
    Over(Option<String>),
}

/// File of entries that are read again, in any order, by the offsets that an [`EntryReader`] gave.
#[derive(Debug)]
pub struct EntryFile<T> {
    path: PathBuf,
    file: File,
    entries: PhantomData<fn() -> T>,
}

impl<T: Entry> EntryFile<T> {
    /// Opens a file that an [`EntryReader`] reads too.
    ///
    /// # Errors
    /// [`RunLogError::Read`].
    pub fn open(path: &Path) -> Result<Self, RunLogError> {
        let failed = |source| RunLogError::Read { path: path.into(), source };
        let file = aegis_files::open_file(path).map_err(failed)?;
        Ok(Self { path: path.into(), file, entries: PhantomData })
    }

    /// Reads the entry that begins at this byte offset.
    ///
    /// # Errors
    /// [`RunLogError::Read`], also for a file that has changed since its entries were read in order.
    pub fn entry(&mut self, offset: u64) -> Result<T, RunLogError> {
        let bytes = frames::frame_at(&mut self.file, offset, T::LARGEST);
        let entry = bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).map_err(io::Error::other));
        entry.map_err(|source| RunLogError::Read { path: self.path.clone(), source })
    }
}
