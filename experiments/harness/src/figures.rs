//! Figures of one episode held against each other: what is stored, and what a trace or another run gives.
//! Each that differs is named, a list's with the place of its first difference.

use serde_json::Value;

use crate::episode::EpisodeResult;

/// A figure that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field of the result, with a list's first place that differs.
    pub field: String,
    /// What is stored.
    pub stored: String,
    /// What was found instead.
    pub found: String,
}

/// Names every field in which a stored result is not `made`, in the order of the fields.
///
/// Equal texts are equal results. Both texts go through the same reader otherwise, because reading a decimal may move a
/// number by its last bit; where only such a bit, or the spelling, is another, the field is `text`.
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

/// Names every field in which two results differ, values as they are.
pub fn fields_that_differ(stored: &EpisodeResult, made: &EpisodeResult) -> Vec<Difference> {
    const FIELDS: [&str; 11] = [
        "arm",
        "key",
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

/// How two values of a field differ, if they do.
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
    use crate::key::EpisodeKey;

    fn result() -> EpisodeResult {
        EpisodeResult {
            arm: "weak".into(),
            key: EpisodeKey { start: Start { task: 1, initial_state: 2 }, replicate: 3 },
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
