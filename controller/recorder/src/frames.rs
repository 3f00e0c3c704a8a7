//! Byte strings one after another in a file, each behind its length; a file that ends early is read as far as it goes.

use std::io::{self, BufRead, Read, Write};

/// The largest of them.
const LARGEST: u32 = 1024 * 1024;

/// What a file has next.
pub enum Frame {
    Whole(Vec<u8>),
    /// The beginning of one.
    Cut,
    None,
}

pub fn write(file: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    file.write_all(&length).and_then(|()| file.write_all(bytes))
}

pub fn read(file: &mut impl BufRead) -> io::Result<Frame> {
    if file.fill_buf()?.is_empty() {
        return Ok(Frame::None);
    }
    let mut length = [0; 4];
    if !read_whole(file, &mut length)? {
        return Ok(Frame::Cut);
    }
    let length = u32::from_le_bytes(length);
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes in one piece")));
    }
    let mut bytes = vec![0; length as usize];
    Ok(if read_whole(file, &mut bytes)? { Frame::Whole(bytes) } else { Frame::Cut })
}

/// Whether there were that many bytes.
pub fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
