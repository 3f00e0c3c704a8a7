//! Requests to a server and its replies: openpi's maps, and vla-eval's messages around such maps. Pure.

use aegis_policies::ModelCard;
use aegis_policies::served::{Given, Tensor};
use aegis_policies::server::{Protocol, ServerSpec, VectorType};

use crate::array::Array;
use crate::message::{self, ArrayKeys};
use crate::value::Value;

/// Version of vla-eval's protocol.
const VLA_EVAL_VERSION: i128 = 1;

/// Returns the map of a request.
pub fn question(server: &ServerSpec, keys: Vec<(String, Given)>) -> Value {
    let mut question = Value::Map(Vec::new());
    for (key, given) in keys {
        let value = match given {
            Given::Text(text) => Value::Text(text),
            Given::Picture(shape, bytes) => Value::Array(Array::bytes(shape, bytes)),
            Given::Numbers(shape, values) => Value::Array(match server.vector_type() {
                VectorType::Float32 => Array::float32(shape, values.into_iter().map(|value| value as f32)),
                VectorType::Float64 => Array::float64(shape, values),
            }),
        };
        question.put(&server.path(&key), value);
    }
    question
}

/// Returns the actions of a reply and, where the card has one, the activation.
///
/// # Errors
/// A key that the reply lacks, with the keys that it has, or a value that is no array of numbers.
pub fn tensors(
    card: &ModelCard,
    server: &ServerSpec,
    answer: &Value,
) -> Result<(Tensor, Option<Tensor>), String> {
    let read = |key: &str| {
        let found = server.path(key).into_iter().try_fold(answer, |value, key| value.get(key));
        let found = found.ok_or_else(|| format!("its answer lacks {key:?}; it has {}", answer.keys()))?;
        found.tensor().ok_or_else(|| format!("its answer's {key:?} is no array of numbers"))
    };
    let activation = card.activation.as_ref().map(|activation| read(&activation.tensor)).transpose()?;
    Ok((read(&card.chunk.tensor)?, activation))
}

/// Returns a value as the bytes of a protocol.
pub fn encoded(protocol: Protocol, value: &Value) -> Vec<u8> {
    let keys = if protocol == Protocol::VlaEval { ArrayKeys::Text } else { ArrayKeys::Bytes };
    message::encode(value, keys)
}

/// Returns a message of vla-eval's protocol.
pub fn envelope(kind: &str, payload: Value, sequence: i128) -> Value {
    // Servers do not read the time; zero keeps equal runs equal.
    Value::map([
        ("type", Value::Text(kind.into())),
        ("payload", payload),
        ("seq", Value::Integer(sequence)),
        ("timestamp", Value::Float(0.0)),
    ])
}

/// Returns the greeting with which a client of vla-eval's protocol begins.
pub fn hello(sequence: i128) -> Value {
    let version = concat!("aegis ", env!("CARGO_PKG_VERSION"));
    let payload = Value::map([
        ("harness_version", Value::Text(version.into())),
        ("protocol_version", Value::Integer(VLA_EVAL_VERSION)),
    ]);
    envelope("hello", payload, sequence)
}

/// Returns the payload of a message of vla-eval's protocol that answers the message `sequence`.
///
/// # Errors
/// A server's error with its own text, a message of another kind, and a reply to another message.
pub fn opened(message: Value, kind: &str, sequence: i128) -> Result<Value, String> {
    let found = message.get("type").and_then(Value::text).unwrap_or("no type").to_owned();
    let number = message.get("seq").cloned();
    let payload = message.get("payload").cloned().unwrap_or(Value::Nil);
    if found == "error" {
        let said = payload.get("error").and_then(Value::text).map_or_else(|| payload.json(), str::to_owned);
        return Err(format!("it failed: {said}"));
    }
    if found != kind {
        return Err(format!("found a message of type {found:?}; valid is {kind:?}"));
    }
    if number != Some(Value::Integer(sequence)) {
        let found = number.map_or("none".into(), |number| number.json());
        return Err(format!(
            "its answer belongs to another question: found seq {found}; valid is {sequence}"
        ));
    }
    let version = payload.get("protocol_version");
    if kind == "hello" && version != Some(&Value::Integer(VLA_EVAL_VERSION)) {
        let found = version.map_or("none".into(), Value::json);
        return Err(format!("protocol_version: found {found}; valid is {VLA_EVAL_VERSION}"));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_vla_eval_has_the_number_of_its_request_or_an_error() {
        let action = || Value::map([("actions", Value::List(vec![Value::Float(1.0)]))]);
        assert_eq!(opened(envelope("action", action(), 3), "action", 3), Ok(action()));
        let refused = |message, kind| opened(message, kind, 3).unwrap_err();
        assert!(refused(envelope("action", action(), 2), "action").contains("found seq 2; valid is 3"));
        assert!(
            refused(envelope("hello", action(), 3), "action").contains("found a message of type \"hello\"")
        );
        assert!(refused(Value::Nil, "action").contains("no type"));
        let error = Value::map([("error", Value::Text("observation_failed: ValueError: x".into()))]);
        assert_eq!(
            refused(envelope("error", error, 9), "action"),
            "it failed: observation_failed: ValueError: x"
        );
        let Value::Map(mut hello) = hello(3) else { panic!("a map") };
        assert!(opened(Value::Map(hello.clone()), "hello", 3).is_ok());
        hello[1].1 = Value::map([("protocol_version", Value::Integer(2))]);
        assert!(refused(Value::Map(hello), "hello").contains("protocol_version: found 2; valid is 1"));
    }
}
