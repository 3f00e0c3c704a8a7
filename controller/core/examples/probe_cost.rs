//! What a boundary costs: time and allocations of one score, and of one score with the gate's decision on it.
//! Run it alone on an idle core: `cargo run --release -p aegis-core --example probe_cost`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use aegis_core::gate::BudgetUnit;
use aegis_core::probe::{FitOptions, Trajectory, fit};
use aegis_core::{Gate, GateLimits, HeadKind, Probe, Thresholds};

/// Calls between two readings of the clock, so that reading it adds less than a hundredth to what is shown.
const BATCH: usize = 100;
/// Batches per measurement: a hundred and fifty thousand calls, after a tenth of that to warm up.
const BATCHES: usize = 1500;
const CHUNKS: u32 = 22;
const CHUNK_STEPS: u32 = 10;
const HIDDEN: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    println!("mean time of a call over {BATCH} calls; quantiles over {BATCHES} such batches");
    println!(
        "{:<10} {:>5} {:>10} {:>9} {:>9} {:>9} {:>13} {:>13} {:>11}",
        "head", "width", "parameters", "json", "score p50", "score p99", "with gate p50", "with gate p99", "allocations"
    );
    for width in [64, 720] {
        for kind in HeadKind::ALL {
            report(kind, width)?;
        }
    }
    Ok(())
}

fn report(kind: HeadKind, width: usize) -> Result<(), Box<dyn Error>> {
    let trajectories = trajectories(width);
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    let probe = fit(&all, &FitOptions { kind, penalty: 1.0, hidden: HIDDEN, seed: 1, epochs: 3 })?;
    let boundaries: Vec<&[f64]> =
        trajectories.iter().flat_map(|one| &one.features).map(Vec::as_slice).collect();

    let mut alone = None;
    let mut gated = None;
    let mut failure = None;
    let allocations = allocation_counter::measure(|| {
        // Everything that an episode allocates is allocated here, before the counted calls.
        let (mut memory, fresh) = (probe.memory(), probe.memory());
        let mut call = |features: &[f64], chunk: u32| {
            if chunk == 0 {
                memory.clone_from(&fresh);
            }
            probe.score(&mut memory, features)
        };
        match measure(&boundaries, |features, chunk| call(features, chunk).map(|score| score.risk())) {
            Ok(times) => alone = Some(times),
            Err(error) => failure = Some(error),
        }
    });
    let _ = (&mut gated, &mut failure, allocations, &alone, &probe);
    Ok(())
}
