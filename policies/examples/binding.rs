//! Benchmark on the processor: tensors bound to a session once, compared with tensors passed to every run.
//! The ways run in alternating blocks. Their outputs must be equal bit for bit.

#![allow(missing_docs, reason = "a program, not a library")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{Tensor, TensorRef};
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

/// Times both ways of running a model of one float32 input.
#[derive(Parser)]
struct Arguments {
    /// The ONNX Runtime library
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// A model in one ONNX file; repeatable
    #[arg(long, value_name = "FILE", required = true)]
    model: Vec<PathBuf>,
    /// Blocks of each way
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    blocks: u16,
}

/// Number of inferences in one block.
const BLOCK: usize = 500;

/// Tensors bound to one session.
struct Bound {
    binding: IoBinding,
    input: Tensor<f32>,
    outputs: Vec<Tensor<f32>>,
    options: RunOptions,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(rows) => {
            println!("{}", json!({ "block": BLOCK, "models": rows }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<Vec<Value>, Error> {
    let environment = ort::init_from(&arguments.library)?.with_telemetry(false).build()?;
    arguments.model.iter().map(|model| compare(&environment, model, arguments.blocks)).collect()
}

fn compare(environment: &Environment, model: &PathBuf, blocks: u16) -> Result<Value, Error> {
    let bytes = std::fs::read(model)?;
    let open = || -> Result<Session, Error> {
        let builder = Session::builder(environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
        Ok(builder.with_deterministic_compute(true)?.commit_from_memory(&bytes)?)
    };
    let (mut plain, mut session) = (open()?, open()?);
    let shape = |outlet: &ort::value::Outlet| outlet.dtype().tensor_shape().cloned().ok_or("no tensor");
    let name = session.inputs()[0].name().to_owned();
    let allocator = Allocator::default();
    let input = Tensor::<f32>::new(&allocator, shape(&session.inputs()[0])?)?;
    let mut binding = session.create_binding()?;
    binding.bind_input(name.as_str(), &input)?;
    let mut outputs = Vec::new();
    for outlet in session.outputs() {
        let mut output = Tensor::<f32>::new(&allocator, shape(outlet)?)?;
        binding.bind_output(outlet.name(), &mut output)?;
        outputs.push(output);
    }
    let mut bound = Bound { binding, input, outputs, options: RunOptions::new()? };
    let width = bound.input.shape().num_elements();
    let names: Vec<String> = plain.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    let vectors: Vec<Vec<f32>> =
        (0..BLOCK).map(|round| (0..width).map(|at| ((at + round) % 7) as f32 * 0.1).collect()).collect();
    let (mut handed_times, mut bound_times, mut again_times) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    for block in 0..=blocks {
        let (handed, one) = timed(&vectors, |vector| {
            let tensor = TensorRef::from_array_view(([1, width], vector))?;
            let answers = plain.run(ort::inputs![name.as_str() => tensor])?;
            let read = |name: &String| Ok(answers[name.as_str()].try_extract_tensor::<f32>()?.1.to_vec());
            names.iter().map(read).collect()
        })?;
        let (held, two) = timed(&vectors, |vector| {
            bound.input.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(vector);
            session.run_binding_with_options(&bound.binding, &bound.options)?;
            let read = |output: &Tensor<f32>| Ok(output.try_extract_tensor::<f32>()?.1.to_vec());
            bound.outputs.iter().map(read).collect()
        })?;
        // The input is bound again before each run, as on a device, where binding copies host memory.
        let (again, three) = timed(&vectors, |vector| {
            bound.input.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(vector);
            bound.binding.bind_input(name.as_str(), &bound.input)?;
            session.run_binding_with_options(&bound.binding, &bound.options)?;
            let read = |output: &Tensor<f32>| Ok(output.try_extract_tensor::<f32>()?.1.to_vec());
            bound.outputs.iter().map(read).collect()
        })?;
        if one != two || one != three {
            return Err("the two ways give different outputs".into());
        }
        // The first block warms up.
        if block > 0 {
            ratios.push(at(&mut held.clone(), 0.5) / at(&mut handed.clone(), 0.5));
            handed_times.extend(handed);
            bound_times.extend(held);
            again_times.extend(again);
        }
    }
    let ratios = json!({
        "smallest": at(&mut ratios, 0.0), "median": at(&mut ratios, 0.5), "largest": at(&mut ratios, 1.0),
    });
    Ok(json!({
        "model": model,
        "handed_us": quantiles(handed_times),
        "bound_us": quantiles(bound_times),
        "bound_again_us": quantiles(again_times),
        "bound_by_handed_block_p50": ratios,
    }))
}

type Answers = Vec<Vec<Vec<f32>>>;

/// Runs one block and returns the time of each inference in microseconds, and the outputs.
fn timed(
    vectors: &[Vec<f32>],
    mut run: impl FnMut(&[f32]) -> Result<Vec<Vec<f32>>, ort::Error>,
) -> Result<(Vec<f64>, Answers), Error> {
    let (mut times, mut answers) = (Vec::with_capacity(vectors.len()), Vec::with_capacity(vectors.len()));
    for vector in vectors {
        let begun = Instant::now();
        answers.push(run(vector)?);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok((times, answers))
}

/// Sorts the times and returns a nearest-rank quantile.
fn at(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1]
}

fn quantiles(mut times: Vec<f64>) -> Value {
    let times = times.as_mut_slice();
    json!({ "n": times.len(), "p50": at(times, 0.5), "p90": at(times, 0.9), "p99": at(times, 0.99) })
}
