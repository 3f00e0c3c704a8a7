//! `aegis sim sample`: writes new initial states of a suite, as files that upstream's `set_init_state` accepts. Reports how
//! many states were rejected, by reason.

use std::path::PathBuf;

use aegis_core::Start;
use aegis_files::{Written, shown};
use aegis_sim::StartSampler;
use aegis_sim::sampler::Rejections;
use clap::Args;

use crate::arrays::write_states;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::{check_place, make_folder};
use crate::suites::load_suite;

/// Largest number of states per task and call.
const MOST: usize = 1_000_000;

/// Arguments of `aegis sim sample`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis sim sample --suite libero_spatial --task 3 --count 100 --seed 1 --out starts.npy"
)]
pub struct SampleArguments {
    /// Suite, by its name in the cache
    #[arg(long, value_name = "NAME", default_value = "libero_spatial")]
    suite: String,
    /// Task within the suite; all of them when left out
    #[arg(long, value_name = "N")]
    task: Option<usize>,
    /// Initial states per task
    #[arg(long, value_name = "N")]
    count: usize,
    /// Seed; with the same one, `sample_seed` of a plan and `aegis sim rollout --sample-seed` give the same states
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Index of the first state; the one after the recorded ones when left out
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    /// File of the states, float64[count, 1 + nq + nv]: time, qpos, qvel; without --task a folder with a file per task
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Instead of drawing, check the recorded states from --first on (0 when left out)
    #[arg(long, conflicts_with = "unchecked")]
    recorded: bool,
    /// Accept every state that upstream's placement draws, without the check in simulation
    #[arg(long)]
    unchecked: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `aegis sim sample`.
pub fn run(arguments: &SampleArguments) -> Result<(), Failure> {
    let count = arguments.count;
    if !(1..=MOST).contains(&count) {
        let reason = "they are kept in memory until they are written";
        return Err(failure(
            Exit::Input,
            format!("--count: found {count}; valid is 1 to {MOST}, because {reason}"),
        ));
    }
    let suite = load_suite(&arguments.suite, None)?;
    let tasks = arguments.task.map_or(0..suite.task_count(), |task| task..task + 1);
    let place = |task: usize| match arguments.task {
        Some(_) => arguments.out.clone(),
        None => arguments.out.join(format!("{task:02}.npy")),
    };
    tasks.clone().try_for_each(|task| check_place("--out", &place(task), Written::Array, &[]))?;
    if arguments.task.is_none() {
        make_folder(&arguments.out)?;
    }
    let mut reports = Vec::new();
    for task in tasks {
        let mut sampler = StartSampler::new(&suite, task, arguments.seed).or_exit(Exit::Input)?;
        if arguments.unchecked {
            sampler = sampler.unchecked();
        }
        let recorded = suite.initial_state_count(task).unwrap_or(0);
        let first = arguments.first.unwrap_or(if arguments.recorded { 0 } else { recorded });
        if first < recorded && !arguments.recorded {
            let reason =
                format!("found {first}; valid is {recorded} or more, because lower ones are recorded");
            return Err(failure(Exit::Input, format!("--first: {reason}")));
        }
        let Some(end) = first.checked_add(count) else {
            let valid = usize::MAX - count;
            let reason =
                format!("found {first}; valid is at most {valid}, so that {count} states can be numbered");
            return Err(failure(Exit::Input, format!("--first: {reason}")));
        };
        let mut rejected = Rejections::default();
        let mut states = Vec::new();
        for index in first..end {
            if arguments.recorded {
                let state = suite.start(Start { task, initial_state: index }).or_exit(Exit::Input)?;
                match sampler.refuse(&state).or_exit(Exit::Failed)? {
                    None => states.push(state),
                    Some(rejection) => rejected.count(rejection),
                }
            } else {
                let start = sampler.draw(index).or_exit(Exit::Failed)?;
                rejected += start.rejections;
                states.push(start.state);
            }
        }
        let path = place(task);
        write_states(&path, &states)?;
        if !arguments.json {
            say!(
                "task {task}: {} accepted, {} rejected (crowded {}, overlap {}, fell {}, goal holds {}, diverged \
                 {}): {}",
                states.len(),
                rejected.total(),
                rejected.crowded,
                rejected.overlap,
                rejected.fell,
                rejected.goal_holds,
                rejected.diverged,
                path.display()
            );
        }
        reports.push(serde_json::json!({
            "task": task,
            "first": first,
            "accepted": states.len(),
            "rejected": rejected,
            "states": shown(&path),
        }));
    }
    if arguments.json {
        let outcome = serde_json::json!({ "suite": suite.name(), "seed": arguments.seed, "tasks": reports });
        say!("{outcome}");
    }
    Ok(())
}
