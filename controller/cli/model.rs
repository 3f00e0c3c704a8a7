//! `aegis model`: look into an ONNX file, and give a tensor of it an output of its own for a probe to read.
//! Works on files that others exported.

use std::path::PathBuf;

use aegis_policies::graph::{Graph, Pool};
use aegis_policies::tap::{self, SAMPLES};
use clap::{Args, Subcommand, ValueEnum};

use crate::exit::{Exit, Failure, OrExit, say};
use crate::files::write;
use crate::study::onnx_runtime;

/// Verbs of `aegis model`.
#[derive(Subcommand)]
pub enum ModelVerb {
    /// List the tensors that a model's nodes make, with type and shape
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

/// Runs the verb.
pub fn run(verb: &ModelVerb) -> Result<(), Failure> {
    match verb {
        ModelVerb::Inspect(arguments) => inspect(arguments),
        ModelVerb::Tap(arguments) => tap(arguments),
    }
}

fn inspect(arguments: &InspectArguments) -> Result<(), Failure> {
    let graph = Graph::read(&arguments.model).or_exit(Exit::Input)?;
    let tensors = tap::inspect(&onnx_runtime()?, &graph).or_exit(Exit::Input)?;
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
        say!("{}", serde_json::json!({ "sha256": graph.sha256(), "tensors": rows, "taps": taps }));
        return Ok(());
    }
    say!("sha256 {}", graph.sha256());
    let width = tensors.iter().map(|one| one.made.name.len()).max().unwrap_or(0);
    for one in &tensors {
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
    let pool = Pool::from(arguments.pool);
    let tapped = tap::tap(&onnx_runtime()?, &graph, &arguments.tensor, pool).or_exit(Exit::Input)?;
    write(&arguments.out, &tapped.bytes)?;
    if arguments.json {
        let outcome = serde_json::json!({
            "model": arguments.out,
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
