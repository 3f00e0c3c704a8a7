//! `aegis plan plant`: resets a plant of another process to each of its tasks, checks that the same start gives the same observation,
//! and writes its plant file.

use std::path::PathBuf;
use std::sync::Arc;

use aegis_core::{Observation, Start};
use aegis_experiments::plan::served_suite::ServedSuite;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::{check_new, write};
use crate::remote::RemoteArguments;
use crate::suites::check_suite_name;

/// Arguments of `aegis plan plant`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis plan plant --connect tcp/127.0.0.1:7447 --plant arm --suite arm_reach --initial-states 400 \
                        --out arm.toml\n\nThe plant is reset and never stepped."
)]
pub struct DescribeArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    /// Name of the suite of the plant's tasks in plans and probe files
    #[arg(long, value_name = "NAME")]
    suite: String,
    /// Number of initial states of each task, to which the plant can be reset: 0 to N − 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    initial_states: u32,
    /// The plant file to write; an existing file is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs `aegis plan plant`.
pub fn run(arguments: &DescribeArguments) -> Result<(), Failure> {
    check_suite_name(&arguments.suite).map_err(|error| error.prefixed("--suite"))?;
    let out = &arguments.out;
    check_new(out)?;
    let Some(remote) = arguments.remote.open()? else {
        let message =
            "--connect: missing; valid is --connect tcp/HOST:PORT --plant NAME, where the plant is served";
        return Err(failure(Exit::Input, message));
    };
    let (mut plant, described) = remote.claim_described()?;
    let initial_states = arguments.initial_states as usize;
    let mut reset = |task, initial_state| {
        let start = Start { task, initial_state };
        let observation = plant.reset(start).map_err(|error| {
            failure(Exit::Input, format!("task {task}, initial state {initial_state}: {error}"))
        })?;
        let mut state = Vec::new();
        plant.state(&mut state);
        Ok::<_, Failure>((observation, state))
    };
    let first = reset(0, 0)?;
    reset(0, initial_states - 1)?;
    let again = reset(0, 0)?;
    let bits = |(observation, state): &(Observation, Vec<f64>)| {
        observation.values.iter().chain(state).map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    if bits(&first) != bits(&again) {
        return Err(failure(
            Exit::Input,
            "task 0, initial state 0: found different observations after two resets; valid is a plant with the same observation, bit \
             for bit, after each reset to the same start, which a paired study needs",
        ));
    }
    let schema = Arc::clone(&first.0.schema);
    let mut tasks = vec![first.0.instruction.to_string()];
    for task in 1..described.tasks {
        let (observation, _) = reset(task, 0)?;
        if observation.schema != schema {
            let message = format!(
                "task {task}: found other features or channels than in task 0; valid is one set for all tasks of a suite: serve the \
                 tasks under two names"
            );
            return Err(failure(Exit::Input, message));
        }
        tasks.push(observation.instruction.to_string());
    }
    let suite = ServedSuite {
        suite: arguments.suite.clone(),
        tasks,
        initial_states,
        period_ns: described.period_ns,
        schema,
    };
    let text = suite.text().or_exit(Exit::Failed)?;
    // Refuses a plant that a plan would refuse later, such as one without channels.
    ServedSuite::parse(&text, out).or_exit(Exit::Input)?;
    write(out, text.as_bytes())?;
    say!(
        "{}: {} task(s), {initial_states} initial states each; `aegis plan new --plant-file {}` begins a plan",
        out.display(),
        suite.tasks.len(),
        out.display()
    );
    Ok(())
}
