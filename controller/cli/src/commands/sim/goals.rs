//! `aegis sim goals`: reports in which states of a file a task's goal holds, and whether it still holds after null actions.
//! Used to compare the native goal predicates with upstream's on any states.

use std::path::PathBuf;

use aegis_core::Plant;
use aegis_core::policy::PlantError;
use aegis_sim::{LiberoPlant, NULL_ACTION};
use clap::Args;

use crate::arrays::{input, read_array};
use crate::exit::{Exit, Failure, failure, say};
use crate::suites::load_suite;

/// Arguments of `aegis sim goals`.
#[derive(Args)]
#[command(after_help = "Example: aegis sim goals --suite libero_goal --task 7 --states states.npy --steps 2")]
pub struct GoalsArguments {
    /// Suite, by its name in the cache
    #[arg(long, value_name = "NAME", default_value = "libero_spatial")]
    suite: String,
    /// Task within the suite
    #[arg(long, value_name = "N")]
    task: usize,
    /// States to check, float64[n, 1 + nq + nv]: time, qpos, qvel
    #[arg(long, value_name = "FILE")]
    states: PathBuf,
    /// Null actions to play from each state; the goal is checked after every action
    #[arg(long, value_name = "N", default_value_t = 0)]
    steps: usize,
    /// Print the outcome as JSON: success, bool[n, steps + 1]
    #[arg(long)]
    json: bool,
}

/// Runs `aegis sim goals`.
pub fn run(arguments: &GoalsArguments) -> Result<(), Failure> {
    let suite = load_suite(&arguments.suite, None)?;
    let (task, count) = (arguments.task, suite.task_count());
    if task >= count {
        return Err(failure(
            Exit::Input,
            format!("--task: found {task}; valid is 0 to {}", count.saturating_sub(1)),
        ));
    }
    let mut plant = LiberoPlant::new(suite);
    let states = read_array(&arguments.states, "float64[n, 1 + nq + nv]")?;
    let mut success = Vec::with_capacity(states.nrows());
    for (row, state) in states.rows().into_iter().enumerate() {
        let refused = |error: PlantError| input(&arguments.states, &format!("row {row}: {error}"));
        plant.reset_from(arguments.task, &state.to_vec()).map_err(refused)?;
        let mut flags = vec![plant.success()];
        for _ in 0..arguments.steps {
            flags.push(plant.step(&NULL_ACTION).map_err(refused)?.success);
        }
        success.push(flags);
    }
    if arguments.json {
        let outcome = serde_json::json!({
            "suite": arguments.suite,
            "task": arguments.task,
            "steps": arguments.steps,
            "success": success,
        });
        say!("{outcome}");
    } else {
        for (row, flags) in success.iter().enumerate() {
            let words: Vec<&str> = flags.iter().map(|met| if *met { "met" } else { "not met" }).collect();
            say!("{row}: {}", words.join(", "));
        }
    }
    Ok(())
}
