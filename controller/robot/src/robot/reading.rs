//! Parsing of a robot file's text, and error messages about it in words for people who do not program.

use aegis_core::Start;
use aegis_link::Endpoint;
use serde::{Deserialize, Deserializer};

/// Magnitudes that a nonzero finite number in a robot file may have. Whether 0, an infinity or NaN is valid is checked for
/// each setting by itself.
const SIZES: std::ops::RangeInclusive<f64> = 1e-15..=1e15;

/// Words for types, by the names that the parser's error messages use.
const TYPES: [(&str, &str); 9] = [
    ("u8", "a whole number, 0 to 255"),
    ("u32", "a whole number, 0 to 4294967295"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("a sequence", "a list"),
    ("a string", "a text in quotes"),
    ("variant identifier", "a text in quotes"),
];

/// Parses a Zenoh endpoint.
pub fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Parses the list of starts and refuses unknown keys. [`Start`] itself ignores unknown keys, because a plan or a store may
/// have keys of later versions; a robot file may not.
pub fn starts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Start>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {
        task: usize,
        initial_state: usize,
    }
    let known = Vec::<Known>::deserialize(deserializer)?;
    Ok(known.into_iter().map(|Known { task, initial_state }| Start { task, initial_state }).collect())
}

/// Returns the parser's error message in plain words, with the line that the error is on.
pub fn plain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let message = error.message();
    match text.trim_end().strip_suffix(message) {
        Some(place) => format!("{place}{}", in_words(message)),
        None => text,
    }
}

fn in_words(message: &str) -> String {
    if message.starts_with("wanted exactly 1 element") {
        return "found a table of several keys, expected { blend = N }".into();
    }
    let Some((found, expected)) = message.rsplit_once("expected ") else { return message.into() };
    let word = TYPES.into_iter().find(|(name, _)| *name == expected).map(|(_, word)| word);
    match (expected, word) {
        // An enum whose values are a word, or a word with a number.
        ("newtype variant", _) => "found a word, expected { blend = N }".into(),
        (_, Some(word)) => format!("{found}expected {word}"),
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => {
            format!("{found}expected a table of keys")
        }
        _ => message.into(),
    }
}

/// Refuses numbers whose magnitude is outside `SIZES`, before any of them is used in a computation.
pub fn check_numbers(text: &str) -> Result<(), String> {
    // A text that is not valid TOML has been refused already.
    let file = text.parse::<toml::Table>().unwrap_or_default();
    check_within("", &file.into())
}

fn check_within(path: &str, value: &toml::Value) -> Result<(), String> {
    match value {
        toml::Value::Float(number)
            if number.is_finite() && number.abs() > 0.0 && !SIZES.contains(&number.abs()) =>
        {
            let (least, most) = (SIZES.start(), SIZES.end());
            Err(format!("{path}: found {number:e}; valid is a size of {least:e} to {most:e}"))
        }
        toml::Value::Table(table) => table.iter().try_for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            check_within(&path, value)
        }),
        toml::Value::Array(array) => {
            let mut all = array.iter().enumerate();
            all.try_for_each(|(index, value)| check_within(&format!("{path}[{index}]"), value))
        }
        _ => Ok(()),
    }
}
