//! Tests with the messages of `vectors.json`, which the Python side's test reads as well: both sides decode, encode and
//! refuse alike. Bytes in that file are hexadecimal.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aegis_link::wire::{Message, WireError};
use serde_json::{Value, json};

fn vectors(part: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    all[part].as_array().unwrap().clone()
}

fn bytes(hexadecimal: &Value) -> Vec<u8> {
    let text = hexadecimal.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn fields(message: &Message) -> Value {
    match message {
        Message::Claim(body) => json!(body),
        Message::Reset(body) => json!(body),
        Message::Step(body) => json!(body),
        Message::FramesRequest(body) => json!(body),
        Message::Release(body) => json!(body),
        Message::Pulse(body) => json!(body),
        Message::Action(body) => json!(body),
        Message::Operate(body) => json!(body),
        Message::Infer(body) => json!(body),
        Message::Inferred(body) => json!(body),
        Message::Describe(body) => json!(body),
        Message::Described(body) => json!(body),
        Message::Teleop(body) => json!(body),
        Message::Call(body) => json!(body),
        Message::Attach(body) => json!(body),
        Message::StopRequest(body) => json!(body),
        Message::Attached(body) => json!(body),
        Message::Executed(body) => json!(body),
        Message::Claimed(body) => json!(body),
        Message::Moved(body) => json!(body),
        Message::Pictures(body) => json!(body),
        Message::Refused(body) => json!(body),
        Message::Status(body) => json!(body),
        Message::CameraFrame(body) => json!(body),
    }
}

#[test]
fn what_both_sides_read_they_read_alike() {
    for part in ["read", "also_read"] {
        for vector in vectors(part) {
            let message = Message::decode(&bytes(&vector["bytes"])).unwrap();
            assert_eq!(message.name(), vector["kind"]);
            let mut expected = vector["fields"].clone();
            for picture in expected.get_mut("pictures").and_then(Value::as_array_mut).into_iter().flatten() {
                picture["rgb"] = json!(bytes(&picture["rgb"]));
            }
            if let Some(data) = expected.get_mut("data") {
                *data = json!(bytes(data));
            }
            assert_eq!(fields(&message), expected);
        }
    }
}

#[test]
fn what_both_sides_write_is_the_same_to_the_byte() {
    for vector in vectors("read") {
        let bytes = bytes(&vector["bytes"]);
        assert_eq!(Message::decode(&bytes).unwrap().encode(), bytes, "{}", vector["kind"]);
    }
}

#[test]
fn what_both_sides_refuse_they_refuse_for_the_same_reason() {
    for vector in vectors("refused") {
        let found = match Message::decode(&bytes(&vector["bytes"])) {
            Ok(message) => format!("{message:?}"),
            Err(error) => name(&error).into(),
        };
        assert_eq!(found, vector["error"], "{}", vector["what"]);
    }
}

fn name(error: &WireError) -> &'static str {
    match error {
        WireError::TooLarge { .. } => "too_large",
        WireError::Truncated { .. } => "truncated",
        WireError::Magic { .. } => "magic",
        WireError::Version { .. } => "version",
        WireError::Kind { .. } => "kind",
        WireError::Reserved { .. } => "reserved",
        WireError::Body { .. } => "body",
    }
}
