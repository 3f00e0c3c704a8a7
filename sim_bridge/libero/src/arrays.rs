//! Reader for arrays of doubles in NumPy's format. Memory is allocated for the data in the file, not for the size that the
//! header claims.

use ndarray::Array2;
use ndarray_npy::{ReadNpyError, ReadNpyExt};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a two-dimensional array of doubles from a file's bytes.
///
/// # Errors
/// The bytes are not an array, have another element type or number of axes, or have less data than the header claims.
pub fn read_doubles(bytes: &[u8]) -> Result<Array2<f64>, ReadNpyError> {
    if bytes.starts_with(MAGIC) {
        let (header, data) = header(bytes).ok_or(ReadNpyError::MissingData)?;
        let shape = shape(header).ok_or_else(|| {
            ReadNpyError::ParseData(
                "found a header without exactly one shape of whole numbers, such as (3, 7)".into(),
            )
        })?;
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        // An element of any type has at least one byte.
        if count.ok_or(ReadNpyError::LengthOverflow)? > data.len() {
            return Err(ReadNpyError::MissingData);
        }
    }
    Array2::read_npy(bytes)
}

/// Splits a file into the text of the header and the data after it.
fn header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = bytes.get(MAGIC.len()..)?.split_first_chunk::<2>()?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (text, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, data))
}

/// Returns the sizes of the shape in a header; `None` where the header does not state exactly one shape.
fn shape(header: &str) -> Option<Vec<usize>> {
    let (_, behind) = header.split_once("shape")?;
    if behind.contains("shape") {
        return None;
    }
    let (sizes, _) = behind.split_once('(')?.1.split_once(')')?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray_npy::WriteNpyExt;

    use super::*;

    fn file(version: u8, header: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        let length = header.len() as u32 + 1;
        bytes.extend(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(header.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn a_written_array_is_read() {
        let array = Array2::from_shape_fn((3, 7), |(row, column)| row as f64 - column as f64);
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        assert_eq!(read_doubles(&bytes).unwrap(), array);
        assert!(read_doubles(&bytes[..bytes.len() - 1]).is_err());
        assert!(matches!(read_doubles(&[bytes, vec![0]].concat()), Err(ReadNpyError::ExtraBytes(1))));
    }

    #[test]
    fn no_memory_is_allocated_for_the_size_in_a_header() {
        let header = |shape: &str| format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
        for shape in ["(1000000000000, 7)", "(18446744073709551615, 7)", "(99999999999999999999, 7)"] {
            for version in [1, 2] {
                assert!(read_doubles(&file(version, &header(shape))).is_err(), "{shape}");
            }
        }
        let mut long = file(2, &header("(1, 7)"));
        long[8..12].fill(0xff);
        assert!(matches!(read_doubles(&long), Err(ReadNpyError::MissingData)));
        assert!(read_doubles(b"").is_err() && read_doubles(b"\x93NUMPY\x02\0\0").is_err());
    }
}
