//! `aegis model inspect`: lists the inputs, outputs and inner tensors of an ONNX file.

use std::path::PathBuf;

use aegis_policies::graph::Graph;
use aegis_policies::tap;
use clap::Args;

use super::{check_no_card, external};
use crate::exit::{Exit, Failure, OrExit, say};
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis model inspect`.
#[derive(Args)]
#[command(after_help = "Example: aegis model inspect policies/models/weak.onnx")]
pub struct InspectArguments {
    /// The model, an ONNX file; weights that it keeps in other files are read from the same folder
    model: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis model inspect`.
pub fn run(arguments: &InspectArguments) -> Result<(), Failure> {
    check_no_card(&arguments.model)?;
    let graph = Graph::read(&arguments.model).or_exit(Exit::Input)?;
    let found = tap::inspect(&onnx_runtime()?, &graph).or_exit(Exit::Input)?;
    let tensors = &found.tensors;
    if arguments.json {
        let rows: Vec<_> = tensors
            .iter()
            .map(|one| {
                let made = &one.made;
                serde_json::json!({
                    "tensor": made.name, "operator": made.operator, "type": one.kind, "output": made.output,
                })
            })
            .collect();
        let taps: serde_json::Map<_, _> = graph
            .taps()
            .into_iter()
            .map(|(output, note)| (output.to_owned(), serde_json::from_str(note).unwrap_or_default()))
            .collect();
        let ends = |ends: &[(String, String)]| {
            ends.iter()
                .map(|(name, kind)| serde_json::json!({ "tensor": name, "type": kind }))
                .collect::<Vec<_>>()
        };
        let outcome = serde_json::json!({
            "sha256": graph.sha256(),
            "external": external(&graph),
            "inputs": ends(&found.inputs),
            "outputs": ends(&found.outputs),
            "tensors": rows,
            "taps": taps,
        });
        say!("{outcome}");
        return Ok(());
    }
    say!("sha256 {}", graph.sha256());
    graph.files().iter().for_each(|(file, sha256)| say!("external {file}: sha256 {sha256}"));
    let names = found.inputs.iter().chain(&found.outputs).map(|(name, _)| name);
    let width = tensors.iter().map(|one| &one.made.name).chain(names).map(String::len).max().unwrap_or(0);
    for (what, ends) in [("input", &found.inputs), ("output", &found.outputs)] {
        for (name, kind) in ends {
            say!("{name:width$}  {what:18} {kind}");
        }
    }
    for one in tensors {
        let output = if one.made.output { "  output" } else { "" };
        say!("{:width$}  {:18} {}{output}", one.made.name, one.made.operator, one.kind);
    }
    for (output, note) in graph.taps() {
        say!("tap {output}: {note}");
    }
    Ok(())
}
