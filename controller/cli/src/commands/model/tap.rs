//! `aegis model tap`: makes a tensor of an ONNX file an output that a probe can read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_files::{Written, shown};
use aegis_policies::graph::{Graph, Pool};
use aegis_policies::sample::Shapes;
use aegis_policies::tap::{self, SAMPLES, TapSettings};
use clap::{Args, ValueEnum};

use super::{check_no_card, external, is_beside};
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::{check_place, write};
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis model tap`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis model tap mine.onnx --tensor gelu_3 --pool mean --out mine-tapped.onnx"
)]
pub struct TapArguments {
    /// The model, an ONNX file; weights that it keeps in other files are read from the same folder
    model: PathBuf,
    /// The tensor, by its name in `aegis model inspect`
    #[arg(long, value_name = "NAME")]
    tensor: String,
    /// How [batch, tokens, width] becomes [batch, width], within the graph; `none` leaves any shape as it is
    #[arg(long, value_enum)]
    pool: PoolArgument,
    /// Name of the new output; when left out, the tensor's name followed by the pool's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Shape of an input's samples, where a free size has to differ from 1, for example `state=1,16,8`
    #[arg(long = "shape", value_name = "INPUT=SIZES", value_parser = shape)]
    shapes: Vec<(String, Vec<i64>)>,
    /// How far graph optimisation may change the tensor, as a share of its largest value; when left out 1e-4, for float16
    /// 1e-2, for bfloat16 5e-2
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_drift: Option<f64>,
    /// Milliseconds that one inference on a sample may take; the graph is interrupted then
    #[arg(long, value_name = "MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    deadline_ms: u64,
    /// File of the tapped model; for a model with weights in other files, a name in the model's folder
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
    /// The unchanged tensor
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

/// Parses the shape of an input, `NAME=1,16,8`.
fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let valid = "valid is an input's name, =, and whole sizes from 1 on, such as state=1,16,8";
    let (name, sizes) = text.rsplit_once('=').ok_or(valid)?;
    let size = |size: &str| size.trim().parse::<i64>().ok().filter(|size| *size >= 1).ok_or(valid);
    let sizes =
        if sizes.is_empty() { Vec::new() } else { sizes.split(',').map(size).collect::<Result<_, _>>()? };
    Ok((name.to_owned(), sizes))
}

/// Parses a share of a value: a finite number, 0 or more.
fn share(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|share| share.is_finite() && *share >= 0.0);
    found.ok_or_else(|| "valid is a number from 0 on".into())
}

/// Refuses an output outside the model's folder where the model keeps weights in other files, which the tapped model reads
/// from its own folder too.
fn check_beside(model: &Path, out: &Path, graph: &Graph) -> Result<(), Failure> {
    let Some(file) = graph.files().keys().next() else { return Ok(()) };
    if is_beside(out, model) {
        return Ok(());
    }
    let (out, model) = (out.display(), model.display());
    let reason = format!(
        "found another folder than that of {model}, which has weights in {file}; valid is a name in the model's \
         folder, where the tapped model reads them too"
    );
    Err(failure(Exit::Input, format!("--out: {out}: {reason}")))
}

/// Runs `aegis model tap`.
pub fn run(arguments: &TapArguments) -> Result<(), Failure> {
    check_no_card(&arguments.model)?;
    let graph = Graph::read(&arguments.model).or_exit(Exit::Input)?;
    let beside: Vec<PathBuf> =
        graph.files().keys().map(|file| arguments.model.with_file_name(file)).collect();
    let inputs: Vec<&Path> = [&arguments.model].into_iter().chain(&beside).map(PathBuf::as_path).collect();
    check_place("--out", &arguments.out, Written::Model, &inputs)?;
    check_beside(&arguments.model, &arguments.out, &graph)?;
    let settings = TapSettings {
        tensor: &arguments.tensor,
        pool: arguments.pool.into(),
        name: arguments.name.as_deref(),
        shapes: arguments.shapes.iter().cloned().collect::<Shapes>(),
        max_drift: arguments.max_drift,
        deadline: Duration::from_millis(arguments.deadline_ms),
    };
    let tapped = tap::tap(&onnx_runtime()?, &graph, &settings).or_exit(Exit::Input)?;
    write(&arguments.out, &tapped.bytes)?;
    if arguments.json {
        let outcome = serde_json::json!({
            "model": shown(&arguments.out),
            "sha256": tapped.sha256,
            "source_sha256": graph.sha256(),
            "external": external(&graph),
            "output": tapped.output,
            "type": tapped.kind,
            "unchanged": tapped.unchanged,
            "samples": SAMPLES,
            "drift": tapped.drift,
        });
        say!("{outcome}");
    } else {
        say!("{}: sha256 {}", arguments.out.display(), tapped.sha256);
        graph.files().iter().for_each(|(file, sha256)| say!("  external {file}: sha256 {sha256}"));
        say!("  new output {}: {}", tapped.output, tapped.kind);
        say!("  unchanged bit for bit on {SAMPLES} samples: {}", tapped.unchanged.join(", "));
        say!("  difference under graph optimisation: {:.1e} of its largest value", tapped.drift);
    }
    Ok(())
}
