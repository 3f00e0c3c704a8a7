//! Arrays of NumPy's `.npy` format as numbers and text. Pickled objects are never read. Memory is allocated for the data in a file,
//! not for the size that its header claims. Source of the layout: NumPy, `numpy.lib.format`.

use half::f16;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header, bytes.
const LONGEST: usize = 1 << 16;

/// Type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    /// Text of UTF-32 characters.
    Unicode,
    /// Text of bytes, padded with zeros.
    Bytes,
}

/// Head of an array's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    kind: Kind,
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
    fortran_order: bool,
    /// Sizes of the axes.
    pub(super) shape: Vec<usize>,
    /// Type as NumPy writes it.
    pub(super) descr: String,
    /// Bytes before the data.
    pub(super) begins: usize,
}

impl Head {
    /// Returns the bytes of the data; `None` where they cannot be counted.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.size, |bytes, size| bytes.checked_mul(*size))
    }
}

/// Parses the head of a file from its first bytes.
///
/// # Errors
/// What was found: another format, or a type that is not read.
pub(super) fn head(bytes: &[u8]) -> Result<Head, String> {
    let other = || "a file that is no array of NumPy".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(other)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(other)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(other)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(other)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let begins = bytes.len() - rest.len() + length;
    let text = rest.get(..length).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(other)?;
    let after = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, value)| value.trim_start());
    let descr = after("descr").ok_or_else(other)?;
    let Some(descr) = descr.strip_prefix('\'').and_then(|quoted| quoted.split('\'').next()) else {
        return Err("a structured array".into());
    };
    let shape =
        after("shape").and_then(|value| value.strip_prefix('(')?.split_once(')')).ok_or_else(other)?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>().ok_or_else(other)?;
    let fortran_order = after("fortran_order").is_some_and(|value| value.starts_with("True"));
    let (kind, size) = kind(descr)?;
    Ok(Head {
        kind,
        size,
        big_endian: descr.starts_with('>'),
        fortran_order,
        shape,
        descr: descr.to_owned(),
        begins,
    })
}

/// Returns the type and the bytes of an element.
fn kind(descr: &str) -> Result<(Kind, usize), String> {
    let code = descr.trim_start_matches(['<', '>', '|', '=']);
    let mut letters = code.chars();
    let letter = letters.next().unwrap_or_default();
    let count: Option<usize> = letters.as_str().parse().ok();
    match (letter, count) {
        ('O', _) => Err("Python objects (a pickle, which is never read)".into()),
        ('b', Some(1)) => Ok((Kind::Bool, 1)),
        ('i', Some(size @ (1 | 2 | 4 | 8))) => Ok((Kind::Signed, size)),
        ('u', Some(size @ (1 | 2 | 4 | 8))) => Ok((Kind::Unsigned, size)),
        ('f', Some(size @ (2 | 4 | 8))) => Ok((Kind::Float, size)),
        ('U', Some(count @ 1..LONGEST)) => Ok((Kind::Unicode, 4 * count)),
        ('S', Some(count @ 1..LONGEST)) => Ok((Kind::Bytes, count)),
        _ => Err(format!(
            "elements of NumPy's type {descr}, which is not bool, int8 to int64, uint8 to uint64, float16, float32, float64 or text"
        )),
    }
}

/// Bytes from which the head of any array can be parsed.
pub(super) const HEAD_BYTES: usize = LONGEST + 12;

/// Array with its data.
pub(super) struct Array {
    pub(super) head: Head,
    /// Elements as the file has them.
    pub(super) data: Vec<u8>,
}

impl Array {
    fn elements<const N: usize, T>(&self, little: fn([u8; N]) -> T) -> Vec<T> {
        let value = |bytes: &[u8]| {
            let mut one = [0; N];
            one.copy_from_slice(bytes);
            if self.head.big_endian {
                one.reverse();
            }
            little(one)
        };
        self.data.chunks_exact(N).map(value).collect()
    }

    /// Returns whole numbers, booleans as 0 and 1; `None` for other types.
    pub(super) fn integers(&self) -> Option<Vec<i128>> {
        fn wide<T: Into<i128>>(values: Vec<T>) -> Vec<i128> {
            values.into_iter().map(Into::into).collect()
        }
        Some(match (self.head.kind, self.head.size) {
            (Kind::Bool, _) => self.data.iter().map(|byte| i128::from(*byte != 0)).collect(),
            (Kind::Signed, 1) => wide(self.elements(i8::from_le_bytes)),
            (Kind::Signed, 2) => wide(self.elements(i16::from_le_bytes)),
            (Kind::Signed, 4) => wide(self.elements(i32::from_le_bytes)),
            (Kind::Signed, _) => wide(self.elements(i64::from_le_bytes)),
            (Kind::Unsigned, 1) => wide(self.elements(u8::from_le_bytes)),
            (Kind::Unsigned, 2) => wide(self.elements(u16::from_le_bytes)),
            (Kind::Unsigned, 4) => wide(self.elements(u32::from_le_bytes)),
            (Kind::Unsigned, _) => wide(self.elements(u64::from_le_bytes)),
            _ => return None,
        })
    }

    /// Returns numbers, in the order of the rows of an array with two axes; `None` for text.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let values: Vec<f64> = match (self.head.kind, self.head.size) {
            (Kind::Float, 2) => self.elements(f16::from_le_bytes).into_iter().map(f16::to_f64).collect(),
            (Kind::Float, 4) => self.elements(f32::from_le_bytes).into_iter().map(f64::from).collect(),
            (Kind::Float, _) => self.elements(f64::from_le_bytes),
            (Kind::Unicode | Kind::Bytes, _) => return None,
            _ => self.integers()?.into_iter().map(|value| value as f64).collect(),
        };
        let [rows, width] = self.head.shape[..] else { return Some(values) };
        if !self.head.fortran_order {
            return Some(values);
        }
        let place = |row: usize| (0..width).map(move |column| column * rows + row);
        (0..rows).flat_map(place).map(|index| values.get(index).copied()).collect()
    }

    /// Returns text; `None` for numbers, and for bytes that are no text.
    pub(super) fn text(&self) -> Option<Vec<String>> {
        let one = |bytes: &[u8]| -> Option<String> {
            match self.head.kind {
                Kind::Bytes => {
                    let text = std::str::from_utf8(bytes).ok()?;
                    Some(text.trim_end_matches('\0').to_owned())
                }
                Kind::Unicode => {
                    let code = |bytes: &[u8]| {
                        let mut code = [0; 4];
                        code.copy_from_slice(bytes);
                        let read = if self.head.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
                        char::from_u32(read(code))
                    };
                    let text: String = bytes.chunks_exact(4).map(code).collect::<Option<_>>()?;
                    Some(text.trim_end_matches('\0').to_owned())
                }
                _ => None,
            }
        };
        self.data.chunks_exact(self.head.size).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(descr: &str, shape: &str, fortran: bool, data: &[u8]) -> Array {
        let fortran = if fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        let head = head(&bytes).unwrap();
        assert_eq!((head.begins, head.bytes()), (bytes.len(), Some(data.len())), "{descr}");
        Array { head, data: data.to_vec() }
    }

    #[test]
    fn every_type_of_number_is_read() {
        for (descr, data) in [
            ("|b1", &[1, 0][..]),
            ("|i1", &[1, 0]),
            ("<u2", &[1, 0, 0, 0]),
            (">i4", &[0, 0, 0, 1, 0, 0, 0, 0]),
            ("<u8", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let array = array(descr, "(2,)", false, data);
            assert_eq!(array.integers(), Some(vec![1, 0]), "{descr}");
            assert_eq!(array.numbers(), Some(vec![1.0, 0.0]), "{descr}");
            assert_eq!(array.text(), None, "{descr}");
        }
        for (descr, data) in [
            ("<f2", [0x00, 0x3e, 0, 0].to_vec()),
            (">f4", [1.5_f32.to_be_bytes(), [0; 4]].concat()),
            ("<f8", [1.5_f64.to_le_bytes(), [0; 8]].concat()),
        ] {
            let array = array(descr, "(2,)", false, &data);
            assert_eq!((array.numbers(), array.integers()), (Some(vec![1.5, 0.0]), None), "{descr}");
        }
    }

    #[test]
    fn columns_first_are_put_into_rows() {
        let array = array("|u1", "(2, 3)", true, &[1, 4, 2, 5, 3, 6]);
        assert_eq!(array.numbers(), Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    }

    #[test]
    fn text_is_read_without_its_padding() {
        let data: Vec<u8> = "ab\0é\0\0".chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        assert_eq!(array("<U3", "(2,)", false, &data).text(), Some(vec!["ab".into(), "é".into()]));
        assert_eq!(array("|S2", "(2,)", false, b"abc\0").text(), Some(vec!["ab".into(), "c".into()]));
    }

    #[test]
    fn objects_and_other_types_are_refused() {
        for (descr, said) in [("|O", "pickle"), ("<c16", "<c16"), ("<M8[ns]", "<M8[ns]"), ("<U0", "<U0")] {
            assert!(kind(descr).unwrap_err().contains(said), "{descr}");
        }
        assert!(head(b"PK").is_err());
    }
}
