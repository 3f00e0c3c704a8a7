//! `aegis model`: look into an ONNX file, and give a tensor of it an output of its own for a probe to read.
//! Works on files that others exported.

use std::path::PathBuf;

use aegis_files::shown;
use aegis_policies::graph::{Graph, Pool};
use aegis_policies::sample::Shapes;
use aegis_policies::tap::{self, SAMPLES, TapSettings};
use clap::{Args, Subcommand, ValueEnum};

use crate::exit::{Exit, Failure, OrExit, say};
use crate::files::write;
use crate::study::onnx_runtime;

/// Verbs of `aegis model`.
#[derive(Subcommand)]
pub enum ModelVerb {
    /// List what a model reads and returns and what its nodes make, with type and shape
    Inspect(InspectArguments),
    /// Make a tensor an output of its own, and check that the model still says what it said
    Tap(TapArguments),
}

/// Arguments of `aegis model inspect`.
#[derive(Args)]
#[command(after_help = "Example: aegis model inspect policies/models/weak.onnx")]
pub struct InspectArguments {
    /// The model, one ONNX file
    model: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `aegis model tap`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis model tap mine.onnx --tensor gelu_3 --pool mean --out mine-tapped.onnx"
)]
pub struct TapArguments {
    /// The model, one ONNX file
    model: PathBuf,
    /// The tensor, by its name in `aegis model inspect`
    #[arg(long, value_name = "NAME")]
    tensor: String,
    /// How [batch, tokens, width] becomes [batch, width], within the graph; `none` leaves any shape as it is
    #[arg(long, value_enum)]
    pool: PoolArgument,
    /// The new output's name; the tensor's with the pool behind when left out
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The shape of an input's samples, where a free size shall be another than 1, for example `state=1,16,8`
    #[arg(long = "shape", value_name = "INPUT=SIZES", value_parser = shape)]
    shapes: Vec<(String, Vec<i64>)>,
    /// How far optimisation may move the tensor, as a share of its largest value; left out, 1e-4, for float16 1e-2, for
    /// bfloat16 5e-2
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_drift: Option<f64>,
    /// Where the tapped model goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PoolArgument {
    /// The mean over the tokens
    Mean,
    /// The last token
    Last,
    /// The tensor as it is
    None,
}

impl From<PoolArgument> for Pool {
    fn from(argument: PoolArgument) -> Self {
        match argument {
            PoolArgument::Mean => Self::Mean,
            PoolArgument::Last => Self::Last,
            PoolArgument::None => Self::None,
        }
    }
}

/// An input's shape, `NAME=1,16,8`.
fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let valid = "valid is an input's name, =, and whole sizes from 1 on, as state=1,16,8";
    let (name, sizes) = text.rsplit_once('=').ok_or(valid)?;
    let size = |size: &str| size.trim().parse::<i64>().ok().filter(|size| *size >= 1).ok_or(valid);
    let sizes =
        if sizes.is_empty() { Vec::new() } else { sizes.split(',').map(size).collect::<Result<_, _>>()? };
    Ok((name.to_owned(), sizes))
}

/// A share of a value, 0 or more.
fn share(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|share| share.is_finite() && *share >= 0.0);
    found.ok_or_else(|| "valid is a number from 0 on".into())
}

/// Runs the verb.
pub fn run(verb: &ModelVerb) -> Result<(), Failure> {
    match verb {
        ModelVerb::Inspect(arguments) => inspect(arguments),
        ModelVerb::Tap(arguments) => tap(arguments),
    }
}

fn inspect(arguments: &InspectArguments) -> Result<(), Failure> {
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
            "inputs": ends(&found.inputs),
            "outputs": ends(&found.outputs),
            "tensors": rows,
            "taps": taps,
        });
        say!("{outcome}");
        return Ok(());
    }
    say!("sha256 {}", graph.sha256());
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

fn tap(arguments: &TapArguments) -> Result<(), Failure> {
    let graph = Graph::read(&arguments.model).or_exit(Exit::Input)?;
    let settings = TapSettings {
        tensor: &arguments.tensor,
        pool: arguments.pool.into(),
        name: arguments.name.as_deref(),
        shapes: arguments.shapes.iter().cloned().collect::<Shapes>(),
        max_drift: arguments.max_drift,
    };
    let tapped = tap::tap(&onnx_runtime()?, &graph, &settings).or_exit(Exit::Input)?;
    write(&arguments.out, &tapped.bytes)?;
    if arguments.json {
        let outcome = serde_json::json!({
            "model": shown(&arguments.out),
            "sha256": tapped.sha256,
            "source_sha256": graph.sha256(),
            "output": tapped.output,
            "type": tapped.kind,
            "unchanged": tapped.unchanged,
            "samples": SAMPLES,
            "drift": tapped.drift,
        });
        say!("{outcome}");
    } else {
        say!("{}: sha256 {}", arguments.out.display(), tapped.sha256);
        say!("  new output {}: {}", tapped.output, tapped.kind);
        say!("  unchanged bit for bit on {SAMPLES} samples: {}", tapped.unchanged.join(", "));
        say!("  optimised against as written: {:.1e} of its largest value", tapped.drift);
    }
    Ok(())
}
