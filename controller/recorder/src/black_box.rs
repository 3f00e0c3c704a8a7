//! Black box: the newest control periods of a run, kept in memory and written on every stop, so that the cause of a stop
//! survives even where the record did not. The file is whole or absent: it is written under another name and then moved.

use std::collections::VecDeque;
use std::path::Path;

use crate::run_log::{RunHeader, RunLog, RunLogError};

/// Bytes of the length and checksum before each period in the file.
const FRAME_BYTES: u64 = 8;

/// Buffer of the newest control periods.
#[derive(Debug)]
pub struct BlackBox {
    most: usize,
    periods: VecDeque<Vec<u8>>,
    /// Number of periods that were dropped before the oldest one kept.
    gone: u64,
}

impl BlackBox {
    /// Makes a buffer of the newest `most` periods.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), periods: VecDeque::new(), gone: 0 }
    }

    /// Adds a period's bytes and drops the oldest period where the buffer is full.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.periods.len() == self.most {
            // The dropped buffer is not reused: every buffer would grow to the size of the largest period.
            self.periods.pop_front();
            self.gone += 1;
        }
        self.periods.push_back(bytes.to_vec());
    }

    /// Returns the size of the file without the header, bytes.
    pub fn size(&self) -> u64 {
        self.periods.iter().map(|period| period.len() as u64 + FRAME_BYTES).sum()
    }

    /// Writes the kept periods to `path`, which must not exist yet.
    ///
    /// # Errors
    /// [`RunLogError::Write`], and [`RunLogError::Exists`] for a temporary file that is there already.
    pub fn write(&self, path: &Path, header: &RunHeader) -> Result<(), RunLogError> {
        let part = path.with_extension("part");
        let written = (|| {
            let mut log = RunLog::create(&part, &RunHeader { first: self.gone, ..header.clone() })?;
            self.periods.iter().try_for_each(|period| log.append(period))?;
            log.finish()?;
            std::fs::rename(&part, path).map_err(|source| RunLogError::Write { path: path.into(), source })
        })();
        if written.is_err() {
            // An incomplete black box is removed. A failure to remove it is not reported: the first error is.
            let _ = std::fs::remove_file(&part);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept() {
        let mut kept = BlackBox::new(3);
        (0..5_u8).for_each(|number| kept.push(&[number]));
        assert_eq!(kept.periods, [vec![2], vec![3], vec![4]]);
        assert_eq!(kept.gone, 2);
        assert_eq!(kept.size(), 3 * (8 + 1));
    }
}
