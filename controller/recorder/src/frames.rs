//! Files of frames. A frame is a byte string behind its length and a checksum of both and of everything before the frame. A
//! file that ends early is read as far as it goes. A changed bit, and a frame that was moved, are detected.

use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

/// Largest frame of a file that sets no other limit, bytes.
pub const LARGEST: u32 = 1024 * 1024;
/// Bytes of a frame's length and checksum.
const HEAD: u64 = 8;
/// Number of bytes before the first frame: the name and the version of the format.
pub const MAGIC_BYTES: usize = 8;

/// Layout of a file's frames. Numbers are little-endian; a checksum is the CRC-32 of IEEE 802.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A `u32` length, then the bytes.
    Plain,
    /// A `u32` length, a `u32` checksum of length and bytes, then the bytes. An end mark is a frame of length 0, whose
    /// checksum is of that length and of the number of frames before it, a `u64`. Frames that changed places are not
    /// detected.
    Checked,
    /// As `Checked`, but each checksum covers first the checksum of the previous frame, then length and bytes. The previous
    /// checksum of the first frame is 0.
    Chained,
}

/// Next item of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Whole(Vec<u8>),
    /// The beginning of a frame, cut off by the end of the file.
    Cut,
    /// The end mark, and the end of the file.
    End,
    /// The end of the file, without an end mark.
    None,
}

/// Why a file gives no further frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// The file's bytes differ from those that were written.
    #[error("damaged: frame {frame}, at byte {offset}, {reason}")]
    Damaged {
        /// Number of the frame; a run's header is frame 0.
        frame: u64,
        /// Byte offset at which the frame begins in the file.
        offset: u64,
        /// What is wrong with the frame.
        reason: String,
    },
}

/// Writer of a file of [`Layout::Chained`].
#[derive(Debug)]
pub struct FrameWriter<W> {
    file: W,
    largest: u32,
    frames: u64,
    /// Checksum of the previous frame.
    before: u32,
}

impl<W: Write> FrameWriter<W> {
    /// Writes the magic bytes to an empty file.
    pub fn begin(mut file: W, magic: [u8; MAGIC_BYTES]) -> io::Result<Self> {
        file.write_all(&magic)?;
        Ok(Self { file, largest: LARGEST, frames: 0, before: 0 })
    }

    /// Sets the size of the largest frame, bytes.
    pub fn with_largest(self, largest: u32) -> Self {
        Self { largest, ..self }
    }

    /// Appends a frame of 1 byte to the largest size.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let largest = self.largest;
        if !(1..=largest).contains(&length) {
            let reason = format!("found a frame of {} bytes; valid is 1 to {largest}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.put(length, bytes)?;
        self.file.write_all(bytes)?;
        self.frames += 1;
        Ok(())
    }

    /// Returns the output that the frames are written to.
    pub fn output(&self) -> &W {
        &self.file
    }

    /// Flushes the buffered bytes to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Writes the end mark and flushes the buffered bytes to the operating system.
    pub fn finish(mut self) -> io::Result<()> {
        let count = self.frames.to_le_bytes();
        self.put(0, &count)?;
        self.flush()
    }

    /// Writes a length, and the checksum of the previous checksum, the length and the `covered` bytes.
    fn put(&mut self, length: u32, covered: &[u8]) -> io::Result<()> {
        self.before = checksum(Some(self.before), length, covered);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&self.before.to_le_bytes())
    }
}

/// Reader of a file's frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    file: R,
    layout: Layout,
    largest: u32,
    frames: u64,
    offset: u64,
    /// Checksum of the previous frame, as read from the file.
    before: u32,
}

impl<R: BufRead> FrameReader<R> {
    /// Makes a reader for a file whose magic bytes have been read already.
    pub fn new(file: R, layout: Layout) -> Self {
        Self { file, layout, largest: LARGEST, frames: 0, offset: MAGIC_BYTES as u64, before: 0 }
    }

    /// Sets the size of the largest frame, bytes. Nothing larger is allocated, whatever the file says.
    pub fn with_largest(self, largest: u32) -> Self {
        Self { largest, ..self }
    }

    /// Returns the layout of the file.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the number of frames that were read.
    pub fn count(&self) -> u64 {
        self.frames
    }

    /// Returns the byte offset at which the next frame begins in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// A file that cannot be read, or a frame whose bytes differ from those that were written.
    pub fn read(&mut self) -> Result<Frame, FrameError> {
        if self.is_at_end()? {
            return Ok(Frame::None);
        }
        let Some(length) = self.number()? else { return Ok(Frame::Cut) };
        let largest = self.largest;
        if length > largest {
            return Err(self.damaged(format!("has a length of {length} bytes; valid is at most {largest}")));
        }
        let mut expected = None;
        if self.layout != Layout::Plain {
            let Some(checksum) = self.number()? else { return Ok(Frame::Cut) };
            expected = Some(checksum);
        }
        let mut bytes = vec![0; length as usize];
        if !read_whole(&mut self.file, &mut bytes)? {
            return Ok(Frame::Cut);
        }
        if let Some(expected) = expected {
            let count = self.frames.to_le_bytes();
            let covered: &[u8] = if length == 0 { &count } else { &bytes };
            let before = (self.layout == Layout::Chained).then_some(self.before);
            let found = checksum(before, length, covered);
            if found != expected {
                return Err(self.damaged(format!("has checksum {found:08x}; valid is {expected:08x}")));
            }
            if length == 0 {
                return if self.is_at_end()? {
                    Ok(Frame::End)
                } else {
                    Err(self.damaged("is the end mark, and bytes follow it".into()))
                };
            }
        }
        self.before = expected.unwrap_or_default();
        self.frames += 1;
        self.offset += u64::from(length) + if expected.is_some() { HEAD } else { 4 };
        Ok(Frame::Whole(bytes))
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        self.file.fill_buf().map(|bytes| bytes.is_empty())
    }

    /// Reads the next four bytes as a number. Returns `None` where the file ends before them.
    fn number(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = [0; 4];
        let whole = read_whole(&mut self.file, &mut bytes)?;
        Ok(whole.then(|| u32::from_le_bytes(bytes)))
    }

    fn damaged(&self, reason: String) -> FrameError {
        FrameError::Damaged { frame: self.frames, offset: self.offset, reason }
    }
}

/// Reads the bytes of a whole frame of [`Layout::Checked`] or [`Layout::Chained`] that begins at `offset`. Its checksum is not
/// checked again: a [`FrameReader`] has read the frame before.
///
/// # Errors
/// A file that cannot be read, or that has changed since.
pub fn frame_at(file: &mut (impl Read + Seek), offset: u64, largest: u32) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut head = [0; HEAD as usize];
    file.read_exact(&mut head)?;
    let [a, b, c, d, ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if !(1..=largest).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no frame at byte {offset}")));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns the CRC-32 of the previous frame's checksum, if given, the length and the bytes.
fn checksum(before: Option<u32>, length: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    before.into_iter().for_each(|before| hasher.update(&before.to_le_bytes()));
    hasher.update(&length.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Fills `bytes` from a file. Returns false where the file ends before `bytes` is full.
pub fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; MAGIC_BYTES] = *b"AEGSTST1";

    /// Three frames and an end mark.
    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = FrameWriter::begin(&mut file, MAGIC).unwrap();
        for bytes in [&b"header"[..], b"1", b"22"] {
            writer.append(bytes).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    /// The same frames in [`Layout::Checked`], where no checksum depends on another frame.
    fn checked() -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        let mut put = |bytes: &[u8], covered: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap();
            file.extend(length.to_le_bytes());
            file.extend(checksum(None, length, covered).to_le_bytes());
            file.extend_from_slice(bytes);
        };
        [&b"header"[..], b"1", b"22"].into_iter().for_each(|bytes| put(bytes, bytes));
        put(b"", &3_u64.to_le_bytes());
        file
    }

    /// Returns the number of whole frames in a file, and the result of reading after the last of them.
    fn read(file: &[u8]) -> (u64, Result<Frame, FrameError>) {
        read_as(file, Layout::Chained)
    }

    fn read_as(file: &[u8], layout: Layout) -> (u64, Result<Frame, FrameError>) {
        let mut reader = FrameReader::new(&file[MAGIC_BYTES..], layout);
        loop {
            match reader.read() {
                Ok(Frame::Whole(_)) => {}
                end => return (reader.frames, end),
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        let mut both = 3_u32.to_le_bytes().to_vec();
        both.extend_from_slice(b"abc");
        assert_eq!(checksum(None, 3, b"abc"), crc32fast::hash(&both), "length and bytes");
        let all = [&7_u32.to_le_bytes()[..], &both].concat();
        assert_eq!(checksum(Some(7), 3, b"abc"), crc32fast::hash(&all), "and what came before");
    }

    #[test]
    fn every_bit_that_changes_and_every_cut_is_found() {
        let whole = file();
        assert!(matches!(read(&whole), (3, Ok(Frame::End))));
        for byte in MAGIC_BYTES..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[byte] ^= 1 << bit;
                let (_, end) = read(&damaged);
                // A length that was changed to a larger value looks like a file that ends within the frame.
                assert!(
                    matches!(end, Ok(Frame::Cut) | Err(FrameError::Damaged { .. })),
                    "{byte}.{bit}: {end:?}"
                );
            }
        }
        for length in MAGIC_BYTES..whole.len() {
            let (_, end) = read(&whole[..length]);
            assert!(matches!(end, Ok(Frame::Cut | Frame::None)), "{length}: {end:?}");
        }
    }

    #[test]
    fn frames_that_are_missing_or_too_many_are_found() {
        let whole = file();
        // Without the last frame, which is 8 bytes and its own 2, before an end mark of 8.
        let (begin, end) = (whole.len() - 18, whole.len() - 8);
        let missing = [&whole[..begin], &whole[end..]].concat();
        assert!(matches!(read(&missing), (2, Err(FrameError::Damaged { frame: 2, .. }))));
        let twice = [&whole[..end], &whole[begin..]].concat();
        assert!(matches!(read(&twice), (3, Err(FrameError::Damaged { frame: 3, .. }))));
        let more = [&whole[..], b"0"].concat();
        assert!(matches!(read(&more), (3, Err(FrameError::Damaged { frame: 3, .. }))));
    }

    #[test]
    fn frames_that_changed_places_or_took_each_others_are_found() {
        let frames = |file: &[u8]| -> Vec<Vec<u8>> {
            // The header of 6 bytes, then 1 and 2, each behind 8; the end mark of 8.
            let ends = [0, 14, 23, 33, 41].map(|end| MAGIC_BYTES + end);
            assert_eq!(ends[4], file.len());
            ends.windows(2).map(|pair| file[pair[0]..pair[1]].to_vec()).collect()
        };
        let (now, before) = (frames(&file()), frames(&checked()));
        for order in [[0, 2, 1, 3], [0, 1, 1, 3], [0, 2, 2, 3], [1, 0, 2, 3]] {
            let put = |frames: &[Vec<u8>]| {
                [&MAGIC[..], &order.map(|frame| frames[frame].clone()).concat()].concat()
            };
            assert!(matches!(read(&put(&now)), (_, Err(FrameError::Damaged { .. }))), "{order:?}");
            let end = read_as(&put(&before), Layout::Checked);
            assert!(matches!(end, (3, Ok(Frame::End))), "the layout before does not see it: {end:?}");
        }
        assert!(matches!(read_as(&checked(), Layout::Checked), (3, Ok(Frame::End))));
    }

    #[test]
    fn a_frame_that_no_reader_takes_is_not_written() {
        let mut writer = FrameWriter::begin(Vec::new(), MAGIC).unwrap();
        assert!(writer.append(b"").is_err());
        assert!(writer.append(&vec![0; LARGEST as usize + 1]).is_err());
        assert!(writer.append(&vec![0; LARGEST as usize]).is_ok());
    }
}
