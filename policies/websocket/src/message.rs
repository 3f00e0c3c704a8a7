//! Messages as bytes: MessagePack, with arrays in the form of openpi's and vla-eval's own code. Pure. Every length is compared with
//! the bytes that remain before memory is allocated, and depth and number of values are bounded.

use rmp::Marker;
use rmp::decode::read_marker;
use rmp::encode;

use crate::array::Array;
use crate::value::Value;

/// Largest message, bytes.
pub const MOST_BYTES: usize = 16 << 20;
/// Largest number of values in one message; an array is one.
const MOST_VALUES: usize = 1 << 17;
/// Largest depth of lists and maps.
const MOST_DEPTH: usize = 16;

/// Type of the keys that describe an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayKeys {
    /// As bytes: openpi's convention.
    Bytes,
    /// As text: vla-eval's convention.
    Text,
}

/// Returns a value as MessagePack.
pub fn encode(value: &Value, keys: ArrayKeys) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, value, keys);
    bytes
}

fn write(out: &mut Vec<u8>, value: &Value, keys: ArrayKeys) {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    // Writing into a Vec cannot fail.
    match value {
        Value::Nil => drop(encode::write_nil(out)),
        Value::Bool(value) => drop(encode::write_bool(out, *value)),
        Value::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
            (Ok(number), _) => drop(encode::write_uint(out, number)),
            (_, Ok(number)) => drop(encode::write_sint(out, number)),
            _ => drop(encode::write_f64(out, *number as f64)),
        },
        Value::Float(number) => drop(encode::write_f64(out, *number)),
        Value::Text(text) => drop(encode::write_str(out, text)),
        Value::Bytes(bytes) => drop(encode::write_bin(out, bytes)),
        Value::List(values) => {
            let _ = encode::write_array_len(out, length(values.len()));
            values.iter().for_each(|value| write(out, value, keys));
        }
        Value::Map(entries) => {
            let _ = encode::write_map_len(out, length(entries.len()));
            for (key, value) in entries {
                write(out, key, keys);
                write(out, value, keys);
            }
        }
        Value::Array(array) => {
            let shape = array.shape().iter().map(|size| Value::Integer(*size as i128)).collect();
            let _ = encode::write_map_len(out, 4);
            let key = |out: &mut Vec<u8>, name: &str| match keys {
                ArrayKeys::Bytes => drop(encode::write_bin(out, name.as_bytes())),
                ArrayKeys::Text => drop(encode::write_str(out, name)),
            };
            key(out, "__ndarray__");
            let _ = encode::write_bool(out, true);
            key(out, "data");
            let _ = encode::write_bin(out, array.data());
            key(out, "dtype");
            let _ = encode::write_str(out, &array.element().dtype());
            key(out, "shape");
            write(out, &Value::List(shape), keys);
        }
    }
}

/// Reads a value from MessagePack.
///
/// # Errors
/// A message with what was found and what is valid, for bytes that end early or continue after the value, a type that [`Value`] lacks,
/// too many values or too deep ones, and an array that does not fit its shape.
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, left: MOST_VALUES };
    let value = reader.value(0)?;
    match reader.rest.len() {
        0 => Ok(value),
        more => Err(format!("found {more} bytes after the value; valid is one value")),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Number of values that may follow.
    left: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MOST_DEPTH {
            return Err(format!("found lists nested deeper than {MOST_DEPTH}; valid is at most that"));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!(
                "found more than {MOST_VALUES} values; valid is at most that: send many numbers as an array"
            )
        })?;
        let marker = read_marker(&mut self.rest).map_err(|_| ends_early())?;
        Ok(match marker {
            Marker::Null => Value::Nil,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(number) => Value::Integer(number.into()),
            Marker::FixNeg(number) => Value::Integer(number.into()),
            Marker::U8 => Value::Integer(u8::from_be_bytes(self.fixed()?).into()),
            Marker::U16 => Value::Integer(u16::from_be_bytes(self.fixed()?).into()),
            Marker::U32 => Value::Integer(u32::from_be_bytes(self.fixed()?).into()),
            Marker::U64 => Value::Integer(u64::from_be_bytes(self.fixed()?).into()),
            Marker::I8 => Value::Integer(i8::from_be_bytes(self.fixed()?).into()),
            Marker::I16 => Value::Integer(i16::from_be_bytes(self.fixed()?).into()),
            Marker::I32 => Value::Integer(i32::from_be_bytes(self.fixed()?).into()),
            Marker::I64 => Value::Integer(i64::from_be_bytes(self.fixed()?).into()),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.fixed()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.fixed()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let length = self.length(marker)?;
                self.text(length)?
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = self.length(marker)?;
                Value::Bytes(self.take(length)?)
            }
            Marker::FixArray(length) => self.list(length.into(), depth)?,
            Marker::Array16 | Marker::Array32 => {
                let length = self.length(marker)?;
                self.list(length, depth)?
            }
            Marker::FixMap(length) => self.map(length.into(), depth)?,
            Marker::Map16 | Marker::Map32 => {
                let length = self.length(marker)?;
                self.map(length, depth)?
            }
            Marker::Reserved
            | Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => {
                return Err(format!("found {marker:?}; valid are MessagePack's types without extensions"));
            }
        })
    }

    /// Reads this many bytes.
    fn fixed<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads the length that follows a marker.
    fn length(&mut self, marker: Marker) -> Result<usize, String> {
        Ok(match marker {
            Marker::Str8 | Marker::Bin8 => u8::from_be_bytes(self.fixed()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.fixed()?).into()
            }
            _ => u32::from_be_bytes(self.fixed()?) as usize,
        })
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(taken.to_vec())
    }

    fn text(&mut self, length: usize) -> Result<Value, String> {
        let text = String::from_utf8(self.take(length)?);
        text.map(Value::Text).map_err(|_| "found a text that is not UTF-8".into())
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Value, String> {
        (0..length).map(|_| self.value(depth + 1)).collect::<Result<_, _>>().map(Value::List)
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, String> {
        let entry = |_| Ok((self.value(depth + 1)?, self.value(depth + 1)?));
        let map = Value::Map((0..length).map(entry).collect::<Result<_, String>>()?);
        if map.get("__ndarray__").is_some() {
            return array(map).map_err(|reason| format!("array: {reason}"));
        }
        // One number of a NumPy type.
        match (map.get("__npgeneric__"), map.get("data")) {
            (Some(_), Some(number)) => Ok(number.clone()),
            _ => Ok(map),
        }
    }
}

fn ends_early() -> String {
    "it ends early".into()
}

/// Returns the array that a map describes.
fn array(map: Value) -> Result<Value, String> {
    let dtype = match map.get("dtype") {
        Some(Value::Text(dtype)) => dtype.clone(),
        Some(Value::Bytes(dtype)) => String::from_utf8_lossy(dtype).into_owned(),
        _ => return Err("dtype: missing; valid is NumPy's name of a type".into()),
    };
    let shape = match map.get("shape") {
        Some(Value::List(sizes)) => sizes
            .iter()
            .map(|size| if let Value::Integer(size) = size { usize::try_from(*size).ok() } else { None })
            .collect::<Option<Vec<usize>>>(),
        _ => None,
    };
    let shape = shape.ok_or("shape: found none; valid is a list of sizes")?;
    let Value::Map(entries) = map else { return Err("found no map; valid is a map".into()) };
    let data = entries.into_iter().find_map(|(key, value)| match (key, value) {
        (Value::Text(key), Value::Bytes(data)) if key == "data" => Some(data),
        (Value::Bytes(key), Value::Bytes(data)) if key == b"data" => Some(data),
        _ => None,
    });
    Array::new(&dtype, shape, data.ok_or("data: missing; valid is bytes")?).map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_message_is_read_back() {
        let value = Value::map([
            ("array", Value::Array(Array::float32(vec![2, 1], [1.5, -0.0]))),
            ("list", Value::List(vec![Value::Nil, Value::Bool(true), Value::Float(0.1)])),
            (
                "numbers",
                Value::List([0, -1, 255, -40_000, i128::from(u64::MAX)].map(Value::Integer).to_vec()),
            ),
            ("text", Value::Text("ä".repeat(300))),
            ("bytes", Value::Bytes(vec![7; 70_000])),
        ]);
        for keys in [ArrayKeys::Bytes, ArrayKeys::Text] {
            assert_eq!(decode(&encode(&value, keys)).unwrap(), value);
        }
    }

    /// Bytes that openpi's `msgpack_numpy.packb` gives for `{"actions": numpy.array([[1.5]], numpy.float32)}`.
    #[test]
    fn an_array_is_written_as_openpi_writes_it() {
        let value = Value::map([("actions", Value::Array(Array::float32(vec![1, 1], [1.5])))]);
        let valid = [
            &b"\x81\xa7actions\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x04\0\0\xc0\x3f"[..],
            b"\xc4\x05dtype\xa3<f4\xc4\x05shape\x92\x01\x01",
        ]
        .concat();
        assert_eq!(encode(&value, ArrayKeys::Bytes), valid);
    }

    #[test]
    fn bytes_that_end_anywhere_are_refused_and_no_length_takes_memory() {
        let value = Value::map([("actions", Value::Array(Array::float32(vec![1, 1], [1.5])))]);
        let bytes = encode(&value, ArrayKeys::Bytes);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).unwrap_err().contains("1 bytes after"));
        for huge in [
            &b"\xdd\xff\xff\xff\xff"[..],
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
        ] {
            assert_eq!(decode(huge).unwrap_err(), "it ends early");
        }
        assert!(decode(&[0x91; 40]).unwrap_err().contains("deeper than 16"));
        let many = [&b"\xdd\x00\x03\x00\x00"[..], &[0xc0; 0x3_0000]].concat();
        assert!(decode(&many).unwrap_err().contains("more than 131072 values"));
        assert!(decode(b"\xd4\x01\x00").unwrap_err().contains("without extensions"));
    }
}
