//! Room on the disk that is set aside when a run begins, for what is written when the disk is full: its summary and its
//! black boxes. A file of zeros holds it, and is gone when the run is over.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aegis_core::control::ControllerConfig;

/// Name of the file in a run's folder.
pub const RESERVE: &str = "reserve";
/// Least room, in bytes.
const LEAST: u64 = 8 << 20;
/// Part of the room that no black box takes, in bytes: the summary's.
const SUMMARY: u64 = 1 << 20;
/// Black boxes of full length that there is room for.
const BLACK_BOXES: u64 = 2;
/// Bytes of a control period in a record without its values, and of one value.
const PERIOD: usize = 256;
const VALUE: usize = 5;
/// What a black box takes beside its periods, in bytes: its header, and the file system's own.
const BESIDE: u64 = 64 << 10;

/// Room for a run's summary and for black boxes of `periods` control periods, in bytes.
pub fn room(recipe: &ControllerConfig, periods: usize) -> u64 {
    let width = recipe.rest.len();
    let chunks: usize = recipe.horizons.iter().map(|horizon| horizon * width).sum();
    // Each policy answers once a chunk.
    let values = width + chunks / recipe.limits.chunk_steps.max(1) as usize;
    let black_box = periods.saturating_mul(PERIOD + VALUE * values) as u64 + BESIDE;
    black_box.saturating_mul(BLACK_BOXES).saturating_add(SUMMARY).max(LEAST)
}

/// The room.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    left: Mutex<u64>,
}

impl Reserve {
    /// Sets `bytes` aside in `folder`.
    pub fn set_aside(folder: &Path, bytes: u64) -> io::Result<Self> {
        let path = folder.join(RESERVE);
        let mut file = File::create_new(&path)?;
        let reserve = Self { path, left: Mutex::new(bytes) };
        // Written and synchronised: a size alone takes no room, and some file systems count it late.
        io::copy(&mut io::repeat(0).take(bytes), &mut file)?;
        file.sync_all()?;
        Ok(reserve)
    }

    /// Writes a black box of `bytes`; where that fails, gives as much of the room back and writes once more.
    pub fn for_black_box<T, E>(&self, bytes: u64, write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        self.spend(bytes.saturating_add(BESIDE), SUMMARY, write)
    }

    /// Writes the summary; where that fails, gives all of the room back and writes once more.
    pub fn for_summary<T, E>(&self, write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        self.spend(u64::MAX, 0, write)
    }

    fn spend<T, E>(&self, bytes: u64, keep: u64, mut write: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        match write() {
            Err(_) if self.give_back(bytes, keep) => write(),
            written => written,
        }
    }

    /// Gives up to `bytes` back to the file system, and `keep` never; whether any were.
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
        // Gone already where all of it was needed.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test's own.
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
        // Fits once there is room.
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
