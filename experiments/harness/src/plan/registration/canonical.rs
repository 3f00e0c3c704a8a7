//! Canonical form of settings: JSON without spaces, with sorted keys and one form for each number. Digests are taken of
//! it. Comments, key order and spacing of the source file do not affect the canonical form.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use aegis_files::sha256_of;

/// Bound below which every whole double is exactly one integer, 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns the canonical text of a value.
///
/// Keys are sorted by their bytes; members that are null are left out, like settings that are not given; a whole number
/// is written without a fraction, any other as the shortest decimal that reads back as the same double. The form is not
/// that of RFC 8785, which writes integers as doubles: two seeds above 2^53 could share a digest.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> =
                members.iter().filter(|(_, value)| !value.is_null()).collect();
            let written = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", written.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        Value::Number(number) => number_text(number),
        other => other.to_string(),
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() < EXACT => {
            (value as i64).to_string()
        }
        _ => number.to_string(),
    }
}

/// Returns the SHA-256 of the canonical text, in lower-case hexadecimal.
pub fn digest(value: &Value) -> String {
    sha256_of(canonical(value).as_bytes())
}

/// Returns every setting by its dotted key, as canonical text. A list is one setting.
pub(super) fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, key: String, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect(member, key, found);
            }
        }
        Value::Null => {}
        other => {
            found.insert(key, canonical(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_numbers_have_one_form() {
        let value = json!({ "b": [1.0, 0.20, -0.0, 1e300], "a": { "z": "ü\"", "y": null }, "B": u64::MAX });
        assert_eq!(canonical(&value), r#"{"B":18446744073709551615,"a":{"z":"ü\""},"b":[1,0.2,0,1e+300]}"#);
        // Adjacent integers that are equal as doubles.
        assert_ne!(digest(&json!(9_007_199_254_740_992_u64)), digest(&json!(9_007_199_254_740_993_u64)));
        assert_ne!(digest(&json!("1")), digest(&json!(1)));
        assert_ne!(digest(&json!([1, 2])), digest(&json!([2, 1])));
    }

    #[test]
    fn leaves_are_named_by_their_path() {
        let value = json!({ "gate": { "hold": 3 }, "arms": ["weak"], "none": null });
        let found = leaves(&value);
        let flat: Vec<_> = found.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        assert_eq!(flat, [("arms", "[\"weak\"]"), ("gate.hold", "3")]);
    }
}
