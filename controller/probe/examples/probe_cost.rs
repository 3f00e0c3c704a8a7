//! Measures the cost of a chunk boundary: time and allocations of one score, alone and with the gate's decision on it.
//! Run it on an idle core: `cargo run --release -p aegis-probe --example probe_cost`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use aegis_core::gate::BudgetUnit;

use aegis_core::{Gate, GateLimits, HeadKind, Memory, Probe, Thresholds};
use aegis_probe::training::{FitOptions, Trajectory, fit};

/// Boundaries per episode.
const CHUNKS: usize = 22;
/// Episodes measured, 220 000 calls, after a tenth of as many for warm-up. The clock is read once per episode, and the
/// cost of reading it is subtracted; longer batches would more often include a pause of the machine, which is not the
/// probe's cost.
const EPISODES: usize = 10_000;
const HIDDEN: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let clock = clock();
    println!(
        "nanoseconds per call: means over an episode of {CHUNKS} calls, quantiles over {EPISODES} episodes"
    );
    println!("the clock's own {clock:.0} ns per episode are subtracted");
    println!("head        width  parameters  JSON bytes  call          p50      p99  allocations");
    for width in [64, 720] {
        for kind in HeadKind::ALL {
            let trajectories = trajectories(width);
            let options = FitOptions { kind, penalty: 1.0, hidden: HIDDEN, seed: 1, epochs: 3 };
            let probe = fit(&trajectories.iter().collect::<Vec<_>>(), &options)?;
            let size = serde_json::to_string(&probe)?.len();
            for gated in [false, true] {
                let Cost { p50, p99, allocations } = measure(&probe, &trajectories, gated, clock)?;
                let (name, call) = (kind.name(), if gated { "score, gate" } else { "score" });
                println!(
                    "{name:<10} {width:>6} {:>11} {size:>11}  {call:<11} {p50:>6.0} {p99:>8.0} {allocations:>12}",
                    probe.parameters(),
                );
            }
        }
    }
    Ok(())
}

struct Cost {
    p50: f64,
    p99: f64,
    allocations: u64,
}

/// Returns the median time between two consecutive readings of the clock, in nanoseconds.
fn clock() -> f64 {
    let mut times: Vec<f64> = (0..EPISODES).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    times.sort_by(f64::total_cmp);
    times[EPISODES / 2]
}

fn measure(
    probe: &Probe,
    trajectories: &[Trajectory],
    gated: bool,
    clock: f64,
) -> Result<Cost, Box<dyn Error>> {
    let fresh = (probe.memory(), gate()?);
    let mut allocations = 0;
    let mut times = Vec::with_capacity(EPISODES);
    for (episode, trajectory) in trajectories.iter().cycle().take(EPISODES + EPISODES / 10).enumerate() {
        // An episode's start may allocate; its boundaries may not.
        let (mut memory, mut gate) = fresh.clone();
        let mut nanoseconds = 0.0;
        let counted = allocation_counter::measure(|| {
            let start = Instant::now();
            run_episode(probe, &mut memory, gated.then_some(&mut gate), trajectory);
            nanoseconds = start.elapsed().as_nanos() as f64;
        });
        if episode >= EPISODES / 10 {
            times.push((nanoseconds - clock) / CHUNKS as f64);
            allocations += counted.count_total;
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Cost { p50: times[EPISODES / 2], p99: times[EPISODES * 99 / 100], allocations })
}

fn run_episode(
    probe: &Probe,
    memory: &mut Memory,
    mut gate: Option<&mut Gate<Thresholds>>,
    trajectory: &Trajectory,
) {
    for (chunk, features) in trajectory.features.iter().enumerate() {
        let score = probe.score(memory, black_box(features));
        if let (Ok(score), Some(gate)) = (&score, &mut gate) {
            black_box(gate.boundary(chunk as u32 * 10, *score));
        }
        let _ = black_box(score);
    }
}

fn gate() -> Result<Gate<Thresholds>, Box<dyn Error>> {
    let limits = GateLimits {
        return_chunks: 2,
        guard_fraction: 0.2,
        budget_fraction: 0.05,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 0.75,
        hold_chunks: 3,
        whole_holds: false,
        horizon_steps: 220,
        chunk_steps: 10,
    };
    Ok(Gate::new(limits, Thresholds { fire: 0.6, hand_back: 0.4 })?)
}

/// Returns ten trajectories. The values do not affect the cost, as long as they differ.
fn trajectories(width: usize) -> Vec<Trajectory> {
    let value = |episode: usize, chunk: usize, column: usize| {
        ((episode * 31 + chunk * 7 + column * 3) as f64).sin() + 0.1 * episode as f64
    };
    (0..10)
        .map(|episode| Trajectory {
            features: (0..CHUNKS)
                .map(|chunk| (0..width).map(|column| value(episode, chunk, column)).collect())
                .collect(),
            failed: episode < 5,
        })
        .collect()
}
