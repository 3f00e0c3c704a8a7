//! Values of a message: the types of MessagePack, and arrays of NumPy. Pure.

use std::fmt::Write;

use crate::array::Array;

/// A value of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// MessagePack's nil.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Keys with their values, in the order of the message.
    Map(Vec<(Value, Value)>),
    /// An array of numbers.
    Array(Array),
}

impl Value {
    /// Makes a map with text keys.
    pub fn map<const COUNT: usize>(entries: [(&str, Self); COUNT]) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (Self::Text(key.into()), value)).collect())
    }

    /// Returns the value of a map's key, which may be text or bytes in the map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.is_key(key)).map(|(_, value)| value)
    }

    fn is_key(&self, key: &str) -> bool {
        match self {
            Self::Text(text) => text == key,
            Self::Bytes(bytes) => bytes == key.as_bytes(),
            _ => false,
        }
    }

    /// Sets the value at a path of keys in nested maps.
    pub fn put(&mut self, path: &[&str], value: Self) {
        let [key, rest @ ..] = path else {
            *self = value;
            return;
        };
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        let Self::Map(entries) = self else { return };
        let place = entries.iter().position(|(name, _)| name.is_key(key)).unwrap_or(entries.len());
        if place == entries.len() {
            entries.push((Self::Text((*key).into()), Self::Nil));
        }
        entries[place].1.put(rest, value);
    }

    /// Returns the content of a text; `None` for other values.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a list of the keys of a map, for messages.
    pub fn keys(&self) -> String {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                entries.iter().map(|(key, _)| key.json()).collect::<Vec<_>>().join(", ")
            }
            Self::Map(_) => "no keys".into(),
            _ => "no map".into(),
        }
    }

    /// Returns the shape and the numbers of an array, or of lists of numbers within lists; `None` for anything else.
    pub fn tensor(&self) -> Option<(Vec<usize>, Vec<f64>)> {
        match self {
            Self::Array(array) => Some((array.shape().to_vec(), array.numbers())),
            Self::Float(number) => Some((Vec::new(), vec![*number])),
            Self::Integer(number) => Some((Vec::new(), vec![*number as f64])),
            Self::List(values) => {
                let (mut inner, mut numbers) = (None, Vec::new());
                for value in values {
                    let (shape, more) = value.tensor()?;
                    if *inner.get_or_insert_with(|| shape.clone()) != shape {
                        return None;
                    }
                    numbers.extend(more);
                }
                Some(([&[values.len()][..], &inner?].concat(), numbers))
            }
            _ => None,
        }
    }

    /// Returns the value as JSON with sorted keys, so that equal values have equal text. Values that JSON lacks become text: bytes as
    /// hexadecimal digits, and numbers that are not finite.
    pub fn json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Nil => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) if number.is_finite() => format!("{number:?}"),
            Self::Float(number) => quoted(&number.to_string()),
            Self::Text(text) => quoted(text),
            Self::Bytes(bytes) => {
                let mut digits = String::with_capacity(2 * bytes.len());
                for byte in bytes {
                    // Writing into a String cannot fail.
                    let _ = write!(digits, "{byte:02x}");
                }
                quoted(&digits)
            }
            Self::List(values) => {
                format!("[{}]", values.iter().map(Self::json).collect::<Vec<_>>().join(", "))
            }
            Self::Map(entries) => {
                let mut lines: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| {
                        let key = match key {
                            Self::Text(_) | Self::Bytes(_) => key.json(),
                            other => quoted(&other.json()),
                        };
                        format!("{key}: {}", value.json())
                    })
                    .collect();
                lines.sort();
                format!("{{{}}}", lines.join(", "))
            }
            Self::Array(array) => {
                let numbers = array.numbers().into_iter().map(|number| Self::Float(number).json());
                let shape: Vec<String> = array.shape().iter().map(usize::to_string).collect();
                format!(
                    "{{\"dtype\": {}, \"shape\": [{}], \"values\": [{}]}}",
                    quoted(&array.element().dtype()),
                    shape.join(", "),
                    numbers.collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_json_for_any_order_of_keys() {
        let text = |text: &str| Value::Text(text.into());
        let inner = Value::Array(Array::float32(vec![1, 2], [0.5, f32::NAN]));
        let one =
            Value::map([("b", Value::Integer(-1)), ("a", Value::List(vec![Value::Nil, text("\"q\"")]))]);
        let other =
            Value::map([("a", Value::List(vec![Value::Nil, text("\"q\"")])), ("b", Value::Integer(-1))]);
        assert_eq!(one.json(), r#"{"a": [null, "\"q\""], "b": -1}"#);
        assert_eq!(one.json(), other.json());
        let said = inner.json();
        assert_eq!(said, r#"{"dtype": "<f4", "shape": [1, 2], "values": [0.5, "NaN"]}"#);
        assert_eq!(
            Value::Map(vec![(Value::Integer(1), Value::Bytes(vec![1, 255]))]).json(),
            r#"{"1": "01ff"}"#
        );
    }

    #[test]
    fn a_path_of_keys_makes_maps_within_maps() {
        let mut value = Value::Nil;
        value.put(&["images", "left"], Value::Integer(1));
        value.put(&["prompt"], Value::Text("go".into()));
        value.put(&["images", "right"], Value::Integer(2));
        assert_eq!(value.json(), r#"{"images": {"left": 1, "right": 2}, "prompt": "go"}"#);
        assert_eq!(value.get("images").and_then(|images| images.get("right")), Some(&Value::Integer(2)));
    }

    #[test]
    fn only_lists_of_one_shape_are_a_tensor() {
        let list =
            |numbers: &[f64]| Value::List(numbers.iter().map(|number| Value::Float(*number)).collect());
        let whole = Value::List(vec![list(&[1.0, 2.0]), list(&[3.0, 4.0])]);
        assert_eq!(whole.tensor(), Some((vec![2, 2], vec![1.0, 2.0, 3.0, 4.0])));
        assert_eq!(Value::List(vec![list(&[1.0]), list(&[3.0, 4.0])]).tensor(), None);
        assert_eq!(Value::List(Vec::new()).tensor(), None);
        assert_eq!(Value::List(vec![Value::Text("1".into())]).tensor(), None);
    }
}
