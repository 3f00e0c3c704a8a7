//! Compares models on an execution provider with the processor: largest difference of the outputs, and times of inferences.
//! Prints JSON. `policies/bench_inference.py` compares the times with those of other implementations.

#![allow(missing_docs, reason = "a program, not a library")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use aegis_core::{Activation, Inference};
use aegis_policies::layout::Layout;
use aegis_policies::{HostSettings, OnnxPolicy, OnnxRuntime, ProviderChoice};
use clap::Parser;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

/// Compares models on an execution provider with the processor.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run --release -p aegis-policies --example provider_check -- --library \
                        \"$AEGIS_CACHE\"/lib/onnxruntime-1.32.0/libonnxruntime.so.1.32.0 --provider auto --card \
                        policies/models/weak.toml"
)]
struct Arguments {
    /// The ONNX Runtime library
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// cpu, cuda, tensorrt or auto
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    provider: ProviderChoice,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    device_id: u32,
    /// A deadline for the provider's inferences, to see what it costs
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// A model's card; repeatable
    #[arg(long, value_name = "FILE", required = true)]
    card: Vec<PathBuf>,
    /// Observations on which the outputs are compared
    #[arg(long, value_name = "N", default_value_t = 256)]
    samples: usize,
    /// Timed inferences of each, in alternating blocks
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    runs: usize,
    /// Folder for the observations and the processor's actions (float32) and the times in µs (float64), raw
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

/// Untimed inferences before the measurement, in addition to the warm-up when opening.
const WARM_UP: usize = 500;
/// Timed inferences in one block.
const BLOCK: usize = 500;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match check(&arguments) {
        Ok(rows) => {
            println!("{}", json!({ "seed": 0, "samples": arguments.samples, "models": rows }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn check(arguments: &Arguments) -> Result<Vec<Value>, Error> {
    if arguments.samples == 0 || arguments.runs == 0 {
        return Err("--samples and --runs: valid is 1 or more".into());
    }
    let runtime = OnnxRuntime::load(&arguments.library)?;
    let settings = HostSettings {
        provider: arguments.provider,
        device_id: arguments.device_id,
        deadline_ms: arguments.deadline_ms,
        ..HostSettings::default()
    };
    let other = runtime.with_settings(settings)?;
    arguments.card.iter().map(|card| model(arguments, card, &runtime, &other)).collect()
}

fn model(
    arguments: &Arguments,
    card: &Path,
    processor: &OnnxRuntime,
    provider: &OnnxRuntime,
) -> Result<Value, Error> {
    let mut cpu = OnnxPolicy::open(processor, card)?;
    let mut other = OnnxPolicy::open(provider, card)?;
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let vectors: Vec<Vec<f32>> = (0..arguments.samples)
        .map(|_| (0..Layout::LowDim.width()).map(|_| generator.random_range(-1.0_f32..1.0)).collect())
        .collect();
    let (mut actions, mut apart, mut pooled_apart) = (Vec::new(), 0.0_f32, 0.0_f64);
    for vector in &vectors {
        let (one, two) = (cpu.infer_encoded(vector, &[])?, other.infer_encoded(vector, &[])?);
        let (one_actions, two_actions) = (flat(&one), flat(&two));
        let pairs = one_actions.iter().zip(&two_actions);
        apart = pairs
            .map(|(one, two)| (one - two).abs())
            .fold(apart, |most, one| if one.is_nan() { f32::INFINITY } else { most.max(one) });
        let pooled = |inference: &Inference| inference.activation.as_ref().map(Activation::mean_pool);
        if let (Some(one), Some(two)) = (pooled(&one), pooled(&two)) {
            let pairs = one.iter().zip(&two);
            pooled_apart = pairs
                .map(|(one, two)| (one - two).abs())
                .fold(pooled_apart, |most, one| if one.is_nan() { f64::INFINITY } else { most.max(one) });
        }
        actions.extend(one_actions);
    }
    let (cpu_times, other_times) = times(&mut cpu, &mut other, &vectors, arguments.runs)?;
    if let Some(folder) = &arguments.dump {
        let stem = card.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let floats =
            |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let doubles =
            |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("{stem}.observations.f32")), floats(&vectors.concat()))?;
        std::fs::write(folder.join(format!("{stem}.actions.f32")), floats(&actions))?;
        std::fs::write(folder.join(format!("{stem}.cpu.f64")), doubles(&cpu_times))?;
        std::fs::write(folder.join(format!("{stem}.provider.f64")), doubles(&other_times))?;
    }
    Ok(json!({
        "card": card.display().to_string(),
        "sha256": cpu.card().model_sha256(),
        "provider": other.provider().provider,
        "passed_over": other.provider().passed_over,
        "max_abs_action_difference": apart,
        "max_abs_pooled_activation_difference": cpu.card().activation.as_ref().map(|_| pooled_apart),
        "cpu_us": quantiles(cpu_times),
        "provider_us": quantiles(other_times),
    }))
}

fn flat(inference: &Inference) -> Vec<f32> {
    let chunk = &inference.chunk;
    (0..chunk.horizon()).filter_map(|step| chunk.action(step)).flatten().copied().collect()
}

/// Returns the time of each inference in microseconds, from the encoded observation to the actions in host memory.
fn times(
    cpu: &mut OnnxPolicy,
    other: &mut OnnxPolicy,
    vectors: &[Vec<f32>],
    runs: usize,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let mut found = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    let block = |policy: &mut OnnxPolicy, count, times: &mut Vec<f64>| -> Result<(), Error> {
        for vector in vectors.iter().cycle().take(count) {
            let begun = Instant::now();
            policy.infer_encoded(vector, &[])?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    };
    block(cpu, WARM_UP, &mut Vec::new())?;
    block(other, WARM_UP, &mut Vec::new())?;
    while found.0.len() < runs {
        let count = BLOCK.min(runs - found.0.len());
        block(cpu, count, &mut found.0)?;
        block(other, count, &mut found.1)?;
    }
    Ok(found)
}

/// Returns nearest-rank quantiles of the times.
fn quantiles(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
    json!({ "n": times.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999) })
}
