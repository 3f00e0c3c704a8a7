//! Native part of `python/bench.py`: `bench_rollout SUITE TASK INITIAL_STATE ACTIONS.npy`, then one word per line of
//! standard input. `footprint` measures memory and rare operations, `block` one round; each prints a line of JSON.

#[path = "../benches/support/mod.rs"]
mod support;

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::path::Path;

use aegis_core::policy::{Plant, Start};
use aegis_sim::{LiberoPlant, Suite};
use cpu_time::ProcessTime;
use ndarray::Array2;
use ndarray_npy::ReadNpyExt;
use serde_json::{Value, json};

use support::Replay;

/// Number of repetitions of a short operation for one measurement.
const REPEATS: u32 = 20;

/// Number of rollouts by the plant, and of rollouts by `mj_step`, in a round. Even.
const ALTERNATIONS: u32 = 4;

/// Number of environments over which the memory of one is averaged.
const PLANTS: usize = 32;

/// Number of snapshots over which the memory of one is averaged.
const SNAPSHOTS: usize = 8192;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, task, initial_state, actions] = arguments.as_slice() else {
        return Err("usage: bench_rollout SUITE TASK INITIAL_STATE ACTIONS.npy".into());
    };
    let folder = Path::new(folder);
    let start = Start { task: task.parse()?, initial_state: initial_state.parse()? };
    let actions = Array2::<f64>::read_npy(File::open(actions)?)?;
    let actions = actions.rows().into_iter().map(|row| row.to_vec()).collect();

    // Measured before anything else, because MuJoCo caches compiled meshes for the whole process.
    let clock = ProcessTime::now();
    let suite = Suite::load(folder)?;
    let load = clock.elapsed().as_secs_f64();
    let mut plant = LiberoPlant::new(suite.clone());
    let clock = ProcessTime::now();
    plant.reset(start)?;
    let first_reset = clock.elapsed().as_secs_f64();

    let mut replay = Replay::record(plant, folder, start, actions)?;
    for line in std::io::stdin().lines() {
        let found = match line?.as_str() {
            "footprint" => {
                let mut found = footprint(&suite, start, &replay)?;
                found["load"] = load.into();
                found["first_reset"] = first_reset.into();
                found
            }
            "block" => block(&mut replay)?,
            other => {
                return Err(format!("standard input: found {other:?}; valid is footprint or block").into());
            }
        };
        println!("{found}");
    }
    Ok(())
}

/// Measures mean CPU seconds of a warm reset, of the plant's rollout, and of the same physics by `mj_step` alone.
fn block(replay: &mut Replay) -> Outcome<Value> {
    let reset = repeated(|| replay.reset_plant())?;
    let (mut plant, mut bare) = (0.0, 0.0);
    // The two alternate in both orders, so that neither has the advantage of warmer caches.
    for plant_first in (0..ALTERNATIONS).map(|turn| turn.is_multiple_of(2)) {
        for plants_turn in [plant_first, !plant_first] {
            if plants_turn {
                replay.reset_plant()?;
                let clock = ProcessTime::now();
                replay.run_plant()?;
                plant += clock.elapsed().as_secs_f64();
            } else {
                replay.reset_bare();
                let clock = ProcessTime::now();
                replay.run_bare();
                bare += clock.elapsed().as_secs_f64();
            }
        }
    }
    let mean = |total: f64| total / f64::from(ALTERNATIONS);
    Ok(json!({ "reset": reset, "plant": mean(plant), "mj_step": mean(bare) }))
}

/// Measures memory in bytes, and times in CPU seconds of the process, because MuJoCo compiles meshes on other threads.
fn footprint(suite: &Suite, start: Start, replay: &Replay) -> Outcome<Value> {
    let mut plant = LiberoPlant::new(suite.clone());
    let other = Start { task: (start.task + 1) % suite.task_count(), ..start };
    plant.reset(other)?;
    let switch = repeated(|| plant.reset(start).and_then(|_| plant.reset(other)).map(drop))? / 2.0;

    plant.reset(start)?;
    replay.run(&mut plant)?;
    let take = repeated(|| plant.snapshot().map(|snapshot| drop(black_box(snapshot))))?;
    let before = resident()?;
    let snapshots = (0..SNAPSHOTS).map(|_| plant.snapshot()).collect::<Result<Vec<_>, _>>()?;
    let snapshot_bytes = resident()?.saturating_sub(before) / SNAPSHOTS;
    let restore = repeated(|| plant.restore(&snapshots[0]).map(drop))?;

    let before = resident()?;
    let mut plants = Vec::new();
    for _ in 0..PLANTS {
        let mut plant = LiberoPlant::new(suite.clone());
        plant.reset(start)?;
        replay.run(&mut plant)?;
        plants.push(plant);
    }
    let plant_bytes = resident()?.saturating_sub(before) / PLANTS;
    Ok(json!({
        "switch": switch,
        "take": take,
        "restore": restore,
        "snapshot_bytes": snapshot_bytes,
        "plants": PLANTS,
        "plant_bytes": plant_bytes,
    }))
}

/// Returns the mean CPU seconds of `work` over [`REPEATS`] calls.
fn repeated<E: Error + 'static>(mut work: impl FnMut() -> Result<(), E>) -> Outcome<f64> {
    let clock = ProcessTime::now();
    for _ in 0..REPEATS {
        work()?;
    }
    Ok(clock.elapsed().as_secs_f64() / f64::from(REPEATS))
}

/// Returns the resident anonymous memory of this process, bytes.
fn resident() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
