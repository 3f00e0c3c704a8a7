//! Replays recorded upstream rollouts and prints how far the native states are from them, and how fast it went.
//! `parity SUITE TASK INITIAL_STATE ACTIONS.npy STATES.npy SUCCESS.npy`, the last three written by `--record`.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use aegis_core::policy::{Plant, Start};
use aegis_sim::{LiberoPlant, Suite};
use ndarray::{Array1, Array2};
use ndarray_npy::ReadNpyExt;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [suite, task, initial_state, actions, states, success] = arguments.as_slice() else {
        return Err("usage: parity SUITE TASK INITIAL_STATE ACTIONS.npy STATES.npy SUCCESS.npy".into());
    };
    let suite = Suite::load(Path::new(suite))?;
    let start = Start { task: task.parse()?, initial_state: initial_state.parse()? };
    let actions = Array2::<f32>::read_npy(File::open(actions)?)?;
    let states = Array2::<f64>::read_npy(File::open(states)?)?;
    let success = Array1::<bool>::read_npy(File::open(success)?)?;
    let positions = suite.task(start.task).ok_or("unknown task")?.nq;

    let mut plant = LiberoPlant::new(suite);
    plant.reset(start)?;
    let mut rows = vec![plant.state_flat()];
    let mut agree = true;
    let clock = Instant::now();
    for (action, expected) in actions.rows().into_iter().zip(&success) {
        agree &= plant.step(&action.to_vec())?.success == *expected;
        rows.push(plant.state_flat());
    }
    let rate = actions.nrows() as f64 / clock.elapsed().as_secs_f64();
    let difference = |step: usize| {
        let reference = states.row(step);
        rows[step][1..=positions]
            .iter()
            .zip(reference.iter().skip(1))
            .map(|(native, upstream)| (native - upstream).abs())
            .fold(0.0, f64::max)
    };
    for step in [0, 1, 10, 20, 50].into_iter().filter(|step| *step < rows.len()) {
        println!("step {step:3}: largest difference in qpos {:.1e}", difference(step));
    }
    println!("success flags agree: {agree}; {rate:.0} control steps/s");
    Ok(())
}
