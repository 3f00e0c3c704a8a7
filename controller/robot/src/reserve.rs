//! Disk space that is reserved when a run begins, for the files that must be written even when the disk is full: the
//! summary and the black boxes. A file of zeros occupies the space and is removed when the run is over.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aegis_core::control::{ControllerConfig, MAX_OPERATORS};

/// Name of the reserve file in a run's folder.
pub const RESERVE: &str = "reserve";
/// Smallest size of the reserve, bytes.
const LEAST: u64 = 8 << 20;
/// Part of the reserve that is kept for the summary and never used for a black box, bytes.
const SUMMARY: u64 = 1 << 20;
/// Number of full-length black boxes that the reserve has space for.
const BLACK_BOXES: u64 = 2;
/// Bytes of one recorded control period without its values (`PERIOD`), and of one value (`VALUE`).
const PERIOD: usize = 256;
const VALUE: usize = 5;
/// Bytes of one operator's command without its values, where the backup is a person.
const TELEOP: usize = 80;
/// Bytes of a black box beyond its control periods: its header and the overhead of the file system.
const BESIDE: u64 = 64 << 10;

/// Returns the size of the reserve for one summary and `BLACK_BOXES` black boxes of `periods` control periods each,
/// bytes.
pub fn room(recipe: &ControllerConfig, periods: usize) -> u64 {
    let width = recipe.rest.len();
    let chunks: usize = recipe.horizons.iter().map(|horizon| horizon * width).sum();
    // Each policy answers once a chunk.
    let values = width + chunks / recipe.limits.chunk_steps.max(1) as usize;
    let operators = if recipe.operator.is_some() { MAX_OPERATORS } else { 0 };
    let by_hand = operators * (TELEOP + VALUE * width);
    let black_box = periods.saturating_mul(PERIOD + VALUE * values + by_hand) as u64 + BESIDE;
    black_box.saturating_mul(BLACK_BOXES).saturating_add(SUMMARY).max(LEAST)
}

/// The reserved disk space of one run.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    left: Mutex<u64>,
}

impl Reserve {
    /// Reserves `bytes` in `folder`.
    ///
    /// # Errors
    /// A reserve file that exists already, or a write that fails.
    pub fn set_aside(folder: &Path, bytes: u64) -> io::Result<Self> {
        let path = folder.join(RESERVE);
        let mut file = File::create_new(&path)?;
        let reserve = Self { path, left: Mutex::new(bytes) };
        // The zeros are written and synchronised: setting a size alone occupies no space, and some file systems account for
        // written data late.
        io::copy(&mut io::repeat(0).take(bytes), &mut file)?;
        file.sync_all()?;
        Ok(reserve)
    }

    /// Calls `write` for a black box of `bytes`. When `write` fails, releases that much of the reserve and calls `write`
    /// once more.
    pub fn for_black_box<T, E>(&self, bytes: u64, write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        self.spend(bytes.saturating_add(BESIDE), SUMMARY, write)
    }

    /// Calls `write` for the summary. When `write` fails, releases the whole reserve and calls `write` once more.
    pub fn for_summary<T, E>(&self, write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        self.spend(u64::MAX, 0, write)
    }

    fn spend<T, E>(&self, bytes: u64, keep: u64, mut write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        match write() {
            Err(_) if self.give_back(bytes, keep) => write(),
            written => written,
        }
    }

    /// Releases up to `bytes` of the reserve to the file system, but always keeps `keep` bytes. Returns whether any space
    /// was released.
    fn give_back(&self, bytes: u64, keep: u64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left <= keep {
            return false;
        }
        *left = left.saturating_sub(bytes).max(keep);
        let size = *left;
        let given = if size == 0 {
            std::fs::remove_file(&self.path)
        } else {
            File::options().write(true).open(&self.path).and_then(|file| file.set_len(size))
        };
        given.is_ok()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // The file is gone already when the whole reserve was released.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an empty folder that only the named test uses.
    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aegis-reserve-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_does_not_fit_is_written_into_the_room_set_aside() {
        let folder = folder("spent");
        let file = folder.join(RESERVE);
        let size = || std::fs::metadata(&file).map_or(0, |file| file.len());
        let reserve = Reserve::set_aside(&folder, 2 * SUMMARY).unwrap();
        assert_eq!(size(), 2 * SUMMARY);
        assert!(Reserve::set_aside(&folder, 1).is_err(), "another run's room is not touched");
        assert_eq!(reserve.for_black_box(1000, || Ok::<_, ()>(1)), Ok(1));
        assert_eq!(size(), 2 * SUMMARY, "nothing is given back without need");
        // A write that succeeds once enough of the reserve has been released.
        let needs =
            |room: u64| move |size: u64| if size <= 2 * SUMMARY - room { Ok(()) } else { Err("full") };
        let black_box = needs(1000);
        assert_eq!(reserve.for_black_box(1000, || black_box(size())), Ok(()));
        assert_eq!(size(), 2 * SUMMARY - 1000 - BESIDE);
        assert_eq!(reserve.for_black_box(u64::MAX, || Err::<(), _>("full")), Err("full"));
        assert_eq!(size(), SUMMARY, "the summary's part is kept");
        let mut tries = 0;
        let summary = reserve.for_summary(|| {
            tries += 1;
            needs(2 * SUMMARY)(size())
        });
        assert_eq!((summary, tries, file.exists()), (Ok(()), 2, false));
        assert_eq!(reserve.for_summary(|| Err::<(), _>("full")), Err("full"), "none is left");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_room_is_gone_when_the_run_is_over() {
        let folder = folder("over");
        drop(Reserve::set_aside(&folder, LEAST).unwrap());
        assert!(!folder.join(RESERVE).exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
