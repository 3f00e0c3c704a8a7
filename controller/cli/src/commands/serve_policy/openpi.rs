//! A policy served to openpi's clients: what they are told of it, and the listener.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use aegis_core::Policy;
use aegis_policies::card::ActivationSpec;
use aegis_policies::inputs::{Input, TASK, VectorInput};
use aegis_policies::{ModelCard, OnnxRuntime};
use aegis_websocket::endpoint::Endpoint;
use aegis_websocket::{Offer, Value};

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::served::open_policy;

/// Serves the policy of a card to openpi's clients until `stop` is set.
pub fn serve(
    runtime: &OnnxRuntime,
    card: &Path,
    endpoint: &Endpoint,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    if endpoint.is_tls() {
        let valid = "ws://127.0.0.1:PORT; a program in front of it, such as an SSH tunnel or a reverse proxy, brings TLS to other machines";
        return Err(failure(Exit::Input, format!("--listen: found {endpoint}; valid is {valid}")));
    }
    let open = || -> Result<Box<dyn Policy>, _> { open_policy(runtime, card) };
    let policy = open().map_err(|error| failure(Exit::Input, error.to_string()))?;
    let described = ModelCard::load(card).or_exit(Exit::Input)?;
    super::refuse_prefix(&described)?;
    let offer = Offer { metadata: metadata(&described, &*policy), channels: described.chunk.names.clone() };
    let listener = TcpListener::bind(endpoint.address())
        .map_err(|error| failure(Exit::Failed, format!("--listen: {endpoint}: {error}")))?;
    let address = listener.local_addr().or_exit(Exit::Failed)?;
    say!("ws://{address}: {}, model {}, by openpi's protocol", card.display(), described.model_sha256());
    aegis_websocket::serve(&listener, &offer, policy, open, stop).or_exit(Exit::Failed)
}

/// Returns what clients are told of a policy: what a question has to hold, and what an answer holds.
fn metadata(card: &ModelCard, policy: &dyn Policy) -> Value {
    let text = |text: &str| Value::Text(text.into());
    let number = |number: usize| Value::Integer(number as i128);
    let mut features: Vec<&str> = Vec::new();
    for input in &card.inputs {
        let Input::Vector(VectorInput { terms, .. }) = input else { continue };
        let names = terms.iter().flat_map(|term| [Some(&term.feature), term.relative_to.as_ref()]).flatten();
        for name in names.map(String::as_str) {
            if !features.contains(&name) {
                features.push(name);
            }
        }
    }
    let cameras = card.images().map(|image| {
        let [height, width] = image.rendered().map(|side| Value::Integer(side.into()));
        (text(&image.camera), Value::List(vec![height, width]))
    });
    let reads_text =
        card.inputs.iter().any(|input| matches!(input, Input::Tokens(_) | Input::Instruction(_)));
    let shape = |[rows, width]: [usize; 2]| Value::List(vec![number(rows), number(width)]);
    let mut keys: Vec<Value> = features.iter().filter(|name| **name != TASK).map(|name| text(name)).collect();
    keys.extend(features.contains(&TASK).then(|| text(TASK)));
    keys.extend(reads_text.then(|| text("prompt")));
    let mut metadata = Value::map([
        ("server", text(concat!("aegis ", env!("CARGO_PKG_VERSION")))),
        ("model", text(&card.model_sha256())),
        ("keys", Value::List(keys)),
        ("cameras", Value::Map(cameras.collect())),
        ("actions", shape([card.chunk.steps(), card.chunk.width])),
        ("names", Value::List(card.chunk.names.iter().map(|name| text(name)).collect())),
        ("remembers", Value::Bool(policy.remembers())),
    ]);
    if let Some(ActivationSpec { tokens, width, pool, .. }) = &card.activation {
        let tokens = if *pool == aegis_policies::card::Pool::Last { 1 } else { *tokens };
        metadata.put(&["activation"], shape([tokens, *width]));
    }
    metadata
}
