//! Arrays of numbers as NumPy describes them: element type, shape and bytes. Pure.

use half::f16;

/// Largest number of axes.
const MOST_AXES: usize = 8;

/// Element type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// One byte, 0 or 1.
    Bool,
    /// Signed integer of this many bytes.
    Signed(usize),
    /// Unsigned integer of this many bytes.
    Unsigned(usize),
    /// Floating point of this many bytes: 2, 4 or 8.
    Float(usize),
}

impl Element {
    /// Returns the number of bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Signed(size) | Self::Unsigned(size) | Self::Float(size) => size,
        }
    }

    /// Returns NumPy's name of the type in little-endian order, such as `<f4`.
    pub fn dtype(self) -> String {
        let order = if self.size() == 1 { '|' } else { '<' };
        let kind = match self {
            Self::Bool => 'b',
            Self::Signed(_) => 'i',
            Self::Unsigned(_) => 'u',
            Self::Float(_) => 'f',
        };
        format!("{order}{kind}{}", self.size())
    }

    /// Parses NumPy's name of a type; also returns whether its bytes are in big-endian order.
    fn parse(dtype: &str) -> Option<(Self, bool)> {
        let mut letters = dtype.chars();
        let order = letters.next().filter(|order| "<>|=".contains(*order))?;
        let kind = letters.next()?;
        let size: usize = letters.as_str().parse().ok()?;
        let element = match (kind, size) {
            ('b', 1) => Self::Bool,
            ('i', 1 | 2 | 4 | 8) => Self::Signed(size),
            ('u', 1 | 2 | 4 | 8) => Self::Unsigned(size),
            ('f', 2 | 4 | 8) => Self::Float(size),
            _ => return None,
        };
        Some((element, order == '>'))
    }
}

/// An array, row-major, its bytes in little-endian order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    element: Element,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    /// Checks an array as NumPy describes it.
    ///
    /// # Errors
    /// The field, what was found and what is valid.
    pub fn new(dtype: &str, shape: Vec<usize>, mut data: Vec<u8>) -> Result<Self, String> {
        let Some((element, is_big)) = Element::parse(dtype) else {
            return Err(format!(
                "dtype: found {dtype:?}; valid are booleans, integers and floating point of 2, 4 or 8 bytes, such as \"<f4\""
            ));
        };
        if shape.len() > MOST_AXES {
            return Err(format!("shape: found {} axes; valid is at most {MOST_AXES}", shape.len()));
        }
        let bytes = shape.iter().try_fold(element.size(), |count, size| count.checked_mul(*size));
        if bytes != Some(data.len()) {
            let found = data.len();
            return Err(format!(
                "data: found {found} bytes; valid is the number of shape {shape:?} of {dtype}"
            ));
        }
        if is_big {
            data.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
        }
        Ok(Self { element, shape, data })
    }

    /// Makes an array of `float32`. The shape has to fit the values.
    pub fn float32(shape: Vec<usize>, values: impl IntoIterator<Item = f32>) -> Self {
        let data = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Self { element: Element::Float(4), shape, data }
    }

    /// Makes an array of `float64`. The shape has to fit the values.
    pub fn float64(shape: Vec<usize>, values: impl IntoIterator<Item = f64>) -> Self {
        let data = values.into_iter().flat_map(f64::to_le_bytes).collect();
        Self { element: Element::Float(8), shape, data }
    }

    /// Makes an array of bytes. The shape has to fit the values.
    pub fn bytes(shape: Vec<usize>, data: Vec<u8>) -> Self {
        Self { element: Element::Unsigned(1), shape, data }
    }

    /// Returns the element type.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Returns the shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the bytes, row-major, little-endian.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the values, row-major.
    pub fn numbers(&self) -> Vec<f64> {
        let each = self.data.chunks_exact(self.element.size());
        match self.element {
            Element::Float(4) => each.map(|bytes| f64::from(f32::from_le_bytes(padded(bytes)))).collect(),
            Element::Float(8) => each.map(|bytes| f64::from_le_bytes(padded(bytes))).collect(),
            Element::Float(_) => each.map(|bytes| f16::from_le_bytes(padded(bytes)).to_f64()).collect(),
            Element::Bool => each.map(|bytes| f64::from(u8::from(bytes != [0]))).collect(),
            Element::Unsigned(_) => each.map(|bytes| u64::from_le_bytes(padded(bytes)) as f64).collect(),
            Element::Signed(size) => {
                let unused = 64 - 8 * size as u32;
                // The sign is that of the highest byte.
                let signed = |bytes: &[u8]| (i64::from_le_bytes(padded(bytes)) << unused) >> unused;
                each.map(|bytes| signed(bytes) as f64).collect()
            }
        }
    }
}

/// Returns the first `SIZE` bytes, padded with zeros.
fn padded<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
    std::array::from_fn(|place| bytes.get(place).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_of_numpy_is_read_in_both_byte_orders() {
        // Bytes as `numpy.array([-2, 1], dtype).tobytes()` gives them.
        for (dtype, data, valid) in [
            ("<f4", &[0, 0, 0, 192, 0, 0, 128, 63][..], [-2.0, 1.0]),
            (">f4", &[192, 0, 0, 0, 63, 128, 0, 0], [-2.0, 1.0]),
            ("<f8", &[0, 0, 0, 0, 0, 0, 0, 192, 0, 0, 0, 0, 0, 0, 240, 63], [-2.0, 1.0]),
            ("<f2", &[0, 192, 0, 60], [-2.0, 1.0]),
            ("<i2", &[254, 255, 1, 0], [-2.0, 1.0]),
            (">i4", &[255, 255, 255, 254, 0, 0, 0, 1], [-2.0, 1.0]),
            ("|i1", &[254, 1], [-2.0, 1.0]),
            ("|u1", &[254, 1], [254.0, 1.0]),
            ("|b1", &[0, 1], [0.0, 1.0]),
        ] {
            let array = Array::new(dtype, vec![2], data.to_vec()).unwrap();
            assert_eq!(array.numbers(), valid, "{dtype}");
        }
    }

    #[test]
    fn an_array_that_does_not_fit_its_shape_or_has_another_type_is_refused() {
        let refused = |dtype: &str, shape: &[usize], bytes: usize| {
            Array::new(dtype, shape.to_vec(), vec![0; bytes]).unwrap_err()
        };
        for dtype in ["", "f4", "<f3", "<c8", "|O8", "|V2", "<U4", "<f", "<f4x"] {
            assert!(refused(dtype, &[1], 4).contains("dtype: found"), "{dtype}");
        }
        assert!(
            refused("<f4", &[2, 2], 15).contains("data: found 15 bytes; valid is the number of shape [2, 2]")
        );
        assert!(refused("<f8", &[usize::MAX, 2], 0).contains("data: found 0 bytes"));
        assert!(refused("<f8", &[1; 9], 8).contains("shape: found 9 axes"));
    }
}
