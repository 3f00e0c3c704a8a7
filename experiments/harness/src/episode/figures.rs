//! Compares the figures of one episode: the stored ones with those from a trace or from another run. Each field that
//! differs is named; for a list, with the index of its first difference.

use serde_json::Value;

use crate::episode::outcome::EpisodeResult;

/// Field of a result that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field, for a list with the index of the first difference.
    pub field: String,
    /// Stored value.
    pub stored: String,
    /// Value found.
    pub found: String,
}

/// Returns every field in which a stored result differs from `made`, in the order of the fields.
///
/// Equal JSON texts are equal results. Otherwise both texts are parsed by the same reader, because reading a decimal
/// may change a number's last bit; where the parsed results are equal and only such a bit or the spelling differs, the
/// field is `text`.
pub fn differences(stored: &str, made: &EpisodeResult) -> Vec<Difference> {
    let again = match serde_json::to_string(made) {
        Ok(again) => again,
        Err(error) => return vec![difference("text", stored, &error.to_string())],
    };
    if again == stored {
        return Vec::new();
    }
    let read = serde_json::from_str::<EpisodeResult>;
    let named = match (read(stored), read(&again)) {
        (Ok(stored), Ok(made)) => fields_that_differ(&stored, &made),
        (Err(error), _) | (_, Err(error)) => vec![difference("text", &error.to_string(), "a result")],
    };
    if named.is_empty() { vec![difference("text", stored, &again)] } else { named }
}

/// Returns every field in which two results differ.
pub fn fields_that_differ(stored: &EpisodeResult, made: &EpisodeResult) -> Vec<Difference> {
    const FIELDS: [&str; 12] = [
        "arm",
        "key",
        "disturbance",
        "success",
        "steps",
        "chunk_steps",
        "fires",
        "strong_steps",
        "hand_overs",
        "scores",
        "prefixes",
        "path",
    ];
    match (serde_json::to_value(stored), serde_json::to_value(made)) {
        (Ok(stored), Ok(made)) => {
            FIELDS.into_iter().filter_map(|field| differ(field, &stored[field], &made[field])).collect()
        }
        (Err(error), _) | (_, Err(error)) => vec![difference("text", &error.to_string(), "a result")],
    }
}

/// Returns the difference of two values of a field; `None` where they are equal.
fn differ(field: &str, stored: &Value, found: &Value) -> Option<Difference> {
    if stored == found {
        return None;
    }
    let (Value::Array(one), Value::Array(other)) = (stored, found) else {
        return Some(difference(field, &stored.to_string(), &found.to_string()));
    };
    let place = one.iter().zip(other).position(|(one, other)| one != other);
    Some(match place {
        Some(place) => {
            let field = format!("{field}[{place}]");
            difference(&field, &one[place].to_string(), &other[place].to_string())
        }
        None => {
            let count = |values: &[Value]| format!("{} values", values.len());
            difference(field, &count(one), &count(other))
        }
    })
}

fn difference(field: &str, stored: &str, found: &str) -> Difference {
    Difference { field: field.to_owned(), stored: stored.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use aegis_core::Start;

    use super::*;
    use aegis_core::EpisodeKey;

    fn result() -> EpisodeResult {
        EpisodeResult {
            arm: "weak".into(),
            key: EpisodeKey { start: Start { task: 1, initial_state: 2 }, replicate: 3 },
            disturbance: None,
            success: false,
            steps: 4,
            chunk_steps: 2,
            fires: 0,
            strong_steps: 0,
            hand_overs: vec![],
            scores: vec![Some(0.1 + 0.2), None],
            prefixes: vec!["a".into(), "b".into()],
            path: "c".into(),
        }
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let made = result();
        let text = serde_json::to_string(&made).unwrap_or_default();
        assert_eq!(differences(&text, &made), []);
        let edits: [(&str, &str, &str); 7] = [
            ("success", "\"success\":false", "\"success\":true"),
            ("steps", "\"steps\":4", "\"steps\":5"),
            ("hand_overs", "\"hand_overs\":[]", "\"hand_overs\":[2]"),
            ("scores[1]", ",null]", ",0.5]"),
            ("prefixes[0]", "[\"a\"", "[\"x\""),
            ("path", "\"path\":\"c\"", "\"path\":\"d\""),
            ("text", "\"steps\":4", "\"steps\": 4"),
        ];
        for (field, from, to) in edits {
            assert!(text.contains(from), "{from} in {text}");
            let named = differences(&text.replace(from, to), &made);
            assert_eq!(named.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field]);
        }
        assert_eq!(differences("{", &made)[0].field, "text");
    }
}
