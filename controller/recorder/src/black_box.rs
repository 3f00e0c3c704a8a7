//! The last minute of a run in memory, written on every stop: what led to it survives even where the record did not.
//! A file is whole or not there: it is written beside its place and then moved.

use std::collections::VecDeque;
use std::path::Path;

use crate::run_log::{RunHeader, RunLog, RunLogError};

/// Length and checksum before each period in the file.
const FRAME_BYTES: u64 = 8;

/// The newest control periods.
#[derive(Debug)]
pub struct BlackBox {
    most: usize,
    periods: VecDeque<Vec<u8>>,
    /// Periods that came before the oldest that is kept.
    gone: u64,
}

impl BlackBox {
    /// Keeps the newest `most` periods.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), periods: VecDeque::new(), gone: 0 }
    }

    /// Takes a period's bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.periods.len() == self.most {
            // Its room is not used again: every room would come to be that of the largest period.
            self.periods.pop_front();
            self.gone += 1;
        }
        self.periods.push_back(bytes.to_vec());
    }

    /// Size of its file without the header, in bytes.
    pub fn size(&self) -> u64 {
        self.periods.iter().map(|period| period.len() as u64 + FRAME_BYTES).sum()
    }

    /// Writes what is kept to `path`, which must not be there yet.
    ///
    /// # Errors
    /// [`RunLogError::Write`].
    pub fn write(&self, path: &Path, header: &RunHeader) -> Result<(), RunLogError> {
        let part = path.with_extension("part");
        let written = (|| {
            let mut log = RunLog::create(&part, &RunHeader { first: self.gone, ..header.clone() })?;
            self.periods.iter().try_for_each(|period| log.append(period))?;
            log.finish()?;
            std::fs::rename(&part, path).map_err(|source| RunLogError::Write { path: path.into(), source })
        })();
        if written.is_err() {
            // Half a black box is none; what cannot be removed has been reported already.
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
