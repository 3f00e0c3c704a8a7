//! Benchmark of the plant in wall time: a rollout compared with plain `mj_step` through the same states, a warm reset, and
//! a snapshot. Run with `cargo bench -p aegis-sim`; `python/bench.py` compares the same with upstream.

mod support;

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aegis_core::policy::Start;
use aegis_sim::{LiberoPlant, Suite};
use criterion::{Criterion, Throughput};

use support::Replay;

/// Action that moves onto the table between the objects, rotates, and closes the gripper.
const ACTION: [f64; 7] = [0.2, -0.3, -0.5, 0.1, 0.0, -0.2, 1.0];

/// Number of control steps of the rollout.
const STEPS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    let start = Start { task: 0, initial_state: 3 };
    let folder = suite()?;
    let plant = LiberoPlant::new(Suite::load(&folder)?);
    let mut replay = Replay::record(plant, &folder, start, vec![ACTION.to_vec(); STEPS])?;

    let mut group = criterion.benchmark_group("control steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    // The rollout raised no error when it was recorded, and passes through the same states each time.
    group.bench_function("plant", |bencher| {
        bencher.iter_custom(|rounds| {
            timed(rounds, || {
                black_box(replay.reset_plant().is_ok());
                let clock = Instant::now();
                black_box(replay.run_plant().is_ok());
                clock.elapsed()
            })
        });
    });
    group.bench_function("plain mj_step", |bencher| {
        bencher.iter_custom(|rounds| {
            timed(rounds, || {
                replay.reset_bare();
                let clock = Instant::now();
                replay.run_bare();
                clock.elapsed()
            })
        });
    });
    group.finish();

    criterion.bench_function("reset, warm", |bencher| bencher.iter(|| replay.reset_plant().is_ok()));
    let plant = &mut replay.plant;
    criterion.bench_function("snapshot", |bencher| bencher.iter(|| plant.snapshot().is_ok()));
    let snapshot = plant.snapshot()?;
    criterion.bench_function("restore", |bencher| bencher.iter(|| plant.restore(&snapshot).is_ok()));
    criterion.final_summary();
    Ok(())
}

fn timed(rounds: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| round()).sum()
}

/// Returns the suite's folder: `$AEGIS_SCENES`, or libero_spatial in the cache that `cargo xtask setup` fills.
fn suite() -> Result<PathBuf, Box<dyn Error>> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || variable("AEGIS_CACHE").or_else(|| Some(variable("HOME")?.join(".cache/aegis")));
    variable("AEGIS_SCENES")
        .or_else(|| Some(cache()?.join("scenes/libero_spatial")))
        .ok_or_else(|| "set AEGIS_SCENES to an exported suite".into())
}
