//! `aegis model`: lists the content of an ONNX file, writes a first card for it, checks it against a plant, and adds a tap for a probe.

mod card;
mod check;
mod inspect;
mod observe;
mod tap;

use std::path::Path;

use aegis_policies::card::ModelCard;
use aegis_policies::graph::Graph;
use clap::Subcommand;

use crate::exit::{Exit, Failure, failure};

/// Verbs of `aegis model`.
#[derive(Subcommand)]
pub enum ModelVerb {
    /// List a model's inputs, outputs and the tensors that its nodes produce, with type and shape
    Inspect(inspect::InspectArguments),
    /// Write a first card for a model on a plant, with what can be inferred and TODOs for the rest
    Card(card::CardArguments),
    /// Check a policy against a plant without moving it: names, dead inputs, permuted joints, pictures, recorded actions
    Check(check::CheckArguments),
    /// Make a tensor an additional output, and check that the model's other outputs are unchanged
    Tap(tap::TapArguments),
}

/// Runs a verb of `aegis model`.
pub fn run(verb: &ModelVerb) -> Result<(), Failure> {
    match verb {
        ModelVerb::Inspect(arguments) => inspect::run(arguments),
        ModelVerb::Card(arguments) => card::run(arguments),
        ModelVerb::Check(arguments) => check::run(arguments),
        ModelVerb::Tap(arguments) => tap::run(arguments),
    }
}

/// Returns the files in which a model keeps weights, with their digests, as a card's `[[external]]` lists them.
fn external(graph: &Graph) -> Vec<serde_json::Value> {
    graph.files().iter().map(|(file, sha256)| serde_json::json!({ "file": file, "sha256": sha256 })).collect()
}

/// Refuses a card where an ONNX file is needed.
fn check_no_card(model: &Path) -> Result<(), Failure> {
    let Ok(card) = ModelCard::load(model) else { return Ok(()) };
    let valid = match card.server {
        None => format!("the ONNX file that the card names, {}", card.weights_path().display()),
        Some(_) => "an ONNX file, because the policy of this card is in another process".to_owned(),
    };
    Err(failure(Exit::Input, format!("{}: found a model card; valid is {valid}", model.display())))
}

/// Returns whether two files are in one folder, which exists.
fn is_beside(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize().ok(),
        _ => Path::new(".").canonicalize().ok(),
    };
    folder(one).is_some_and(|found| folder(other) == Some(found))
}
