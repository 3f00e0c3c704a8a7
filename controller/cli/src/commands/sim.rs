//! `aegis sim`: runs the simulator without any policy.
//! `rollout` replays a file of actions, to compare the native runtime with upstream; the other verbs have their own files.

#[cfg(feature = "robot")]
mod cameras;
mod frames;
mod goals;
mod sample;
#[cfg(feature = "robot")]
pub mod serve;

use std::path::{Path, PathBuf};

use aegis_core::{Plant, Start};
use aegis_files::{Written, shown};
use clap::{Args, Subcommand};
use ndarray::Array2;

use crate::arrays::{input, read_array, write_states};
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::check_place;
use crate::suites::load_suite;
use frames::FrameArguments;
use goals::GoalsArguments;
use sample::SampleArguments;
#[cfg(feature = "robot")]
use serve::ServeArguments;

/// Verbs of `aegis sim`.
#[derive(Subcommand)]
pub enum SimVerb {
    /// Replay an action file from an initial state and write the state after every control step
    Rollout(RolloutArguments),
    /// Draw new initial states as upstream draws them, and reject those that fail a check
    Sample(SampleArguments),
    /// Report in which of a file's states the goal holds
    Goals(GoalsArguments),
    /// Serve environments over Zenoh until interrupted
    #[cfg(feature = "robot")]
    Serve(ServeArguments),
    /// A verb that this program was built without, or that does not exist.
    #[cfg(not(feature = "robot"))]
    #[command(external_subcommand)]
    Absent(Vec<String>),
}

/// Arguments of `aegis sim rollout`.
#[derive(Args)]
#[command(
    after_help = "Examples: aegis sim rollout --suite libero_spatial --task 3 --init 7 --actions actions.npy \
                  --states states.npy\n          \
                  aegis sim rollout --suite libero_10 --task 9 --from mine.npy --init 0 --actions actions.npy \
                  --states states.npy"
)]
pub struct RolloutArguments {
    /// Suite, by its name in the cache
    #[arg(long, value_name = "NAME", default_value = "libero_spatial")]
    suite: String,
    /// Task within the suite
    #[arg(long, value_name = "N")]
    task: usize,
    /// Initial state of the task; with --from, row of that file
    #[arg(long, value_name = "N")]
    init: usize,
    /// Seed of the initial states beyond the recorded ones; without it there are none
    #[arg(long, value_name = "N", conflicts_with = "from")]
    sample_seed: Option<u64>,
    /// States to start from instead of the task's own, float64[n, 1 + nq + nv]: time, qpos, qvel
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Actions, float64[steps, 7]
    #[arg(long, value_name = "FILE")]
    actions: PathBuf,
    /// File of the states, float64[steps + 1, 1 + nq + nv]: time, qpos, qvel; row 0 is the restored initial state
    #[arg(long, value_name = "FILE")]
    states: PathBuf,
    #[command(flatten)]
    frames: FrameArguments,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Runs a verb of `aegis sim`.
pub fn run(verb: &SimVerb) -> Result<(), Failure> {
    match verb {
        SimVerb::Rollout(arguments) => rollout(arguments),
        SimVerb::Sample(arguments) => sample::run(arguments),
        SimVerb::Goals(arguments) => goals::run(arguments),
        #[cfg(feature = "robot")]
        SimVerb::Serve(arguments) => serve::run(arguments),
        #[cfg(not(feature = "robot"))]
        SimVerb::Absent(words) => crate::remote::absent("sim ", words),
    }
}

fn rollout(arguments: &RolloutArguments) -> Result<(), Failure> {
    let inputs: Vec<&Path> =
        [arguments.actions.as_path()].into_iter().chain(arguments.from.as_deref()).collect();
    check_place("--states", &arguments.states, Written::Array, &inputs)?;
    let actions = read_actions(&arguments.actions)?;
    let suite = load_suite(&arguments.suite, arguments.sample_seed)?;
    let positions = suite.task(arguments.task).map(|task| task.nq);
    let mut plant = arguments.frames.plant(suite)?;
    match &arguments.from {
        Some(path) => {
            let state = read_state(path, arguments.init)?;
            plant.reset_from(arguments.task, &state).map_err(|error| input(path, &error.to_string()))?;
        }
        None => {
            let start = Start { task: arguments.task, initial_state: arguments.init };
            plant.reset(start).or_exit(Exit::Input)?;
        }
    }
    let mut states = vec![plant.state_flat()];
    arguments.frames.write(&mut plant, 0)?;
    let mut first_success = None;
    for (step, action) in actions.rows().into_iter().enumerate() {
        let transition = plant.apply(&action.to_vec()).map_err(|error| {
            failure(Exit::Failed, format!("{}: row {step}: {error}", arguments.actions.display()))
        })?;
        if transition.success {
            first_success.get_or_insert(step + 1);
        }
        states.push(plant.state_flat());
        arguments.frames.write(&mut plant, step + 1)?;
    }
    write_states(&arguments.states, &states)?;
    let steps = actions.nrows();
    if arguments.json {
        let outcome = serde_json::json!({
            "suite": arguments.suite,
            "task": arguments.task,
            "init": arguments.init,
            "from": arguments.from.as_ref().map(shown),
            "steps": steps,
            "positions": positions,
            "success_at": first_success,
            "states": shown(&arguments.states),
        });
        say!("{outcome}");
    } else {
        let outcome =
            first_success.map_or("no success".into(), |step| format!("success after {step} control steps"));
        say!("{}: {steps} control steps, {outcome}", arguments.states.display());
    }
    Ok(())
}

fn read_actions(path: &Path) -> Result<Array2<f64>, Failure> {
    let actions = read_array(path, "float64[steps, 7]")?;
    if actions.ncols() != aegis_sim::plant::ACTION {
        return Err(input(path, &format!("shape: found {:?}; valid is [steps, 7]", actions.shape())));
    }
    Ok(actions)
}

fn read_state(path: &Path, row: usize) -> Result<Vec<f64>, Failure> {
    let states = read_array(path, "float64[n, 1 + nq + nv]")?;
    if row >= states.nrows() {
        return Err(input(
            path,
            &format!("--init {row}: the file has {} rows, counted from 0", states.nrows()),
        ));
    }
    Ok(states.row(row).to_vec())
}

/// Parses the height and width of pictures, as 256x256.
pub fn size(text: &str) -> Result<[u32; 2], String> {
    let sizes =
        text.split_once('x').and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
    sizes.ok_or_else(|| "valid is height and width in pixels, as 256x256".into())
}
