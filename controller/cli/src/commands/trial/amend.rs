//! `aegis trial register` and `aegis trial amend`: freezes the plan of a trial in a lock, and records later changes in it.

use std::path::{Path, PathBuf};

use aegis_experiments::data::lock_file::LockFileError;
use aegis_experiments::field::plan::FieldPlan;
use aegis_experiments::plan::registration::{Frozen, Lock};
use clap::{ArgGroup, Args};

use super::files::{PlanArguments, Planned};
use crate::commands::plan::now;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};

/// Arguments of `aegis trial register`.
#[derive(Args)]
#[command(after_help = "Example: aegis trial register trial.toml")]
pub struct RegisterArguments {
    #[command(flatten)]
    plan: PlanArguments,
}

/// Arguments of `aegis trial amend`.
#[derive(Args)]
#[command(
    group = ArgGroup::new("attempts").required(true).args(["out", "nothing_ran"]),
    after_help = "Example: aegis trial amend trial.toml --why \"the gripper was replaced\" --out runs/trial"
)]
pub struct AmendArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// The reason, in words; the report prints it
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Folder that `aegis trial run --out` was given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// No attempt was ever made, so there is no folder
    #[arg(long)]
    nothing_ran: bool,
}

/// Runs `aegis trial register`.
pub fn register(arguments: &RegisterArguments) -> Result<(), Failure> {
    let (planned, place) = (arguments.plan.open()?, arguments.plan.lock());
    if place.exists() {
        return Err(failure(Exit::Input, LockFileError::Exists { path: place }));
    }
    planned.check_answers()?;
    planned.robot.warnings.iter().for_each(|warning| tell!("warning: {warning}"));
    let lock = Lock::new(planned.frozen()?, now(), env!("AEGIS_COMMIT").into(), Vec::new());
    let lock = lock.or_exit(Exit::Input)?;
    lock.create(&place).or_exit(Exit::Failed)?;
    let arms: Vec<&str> = planned.plan.arms.iter().map(|arm| arm.as_str()).collect();
    say!(
        "{}: registered {} blocks of {} episodes ({}) from {} starts",
        place.display(),
        planned.schedule.len() / arms.len(),
        arms.len(),
        arms.join(", "),
        planned.robot.file.starts.len()
    );
    say!("seal {}; quote it elsewhere before the first episode", lock.head());
    say!("next: aegis trial run {}", arguments.plan.plan.display());
    Ok(())
}

/// Runs `aegis trial amend`.
pub fn amend(arguments: &AmendArguments) -> Result<(), Failure> {
    let (planned, place) = (arguments.plan.open()?, arguments.plan.lock());
    planned.check_answers()?;
    let lock = Lock::load(&place).or_exit(Exit::Input)?;
    let found = planned.frozen()?;
    let seen = match &arguments.out {
        None => 0,
        Some(folder) => seen(&planned, &lock, folder, &found)?,
    };
    let change = |lock: &Lock| lock.amend(found.clone(), now(), &arguments.why, seen, Vec::new());
    let amended = Lock::change(&place, change).or_exit(Exit::Input)?;
    say!("{}: amended after {seen} attempts; seal {}", place.display(), amended.head());
    for change in amended.amendments.last().iter().flat_map(|amendment| &amendment.changes) {
        say!("        {change}");
    }
    Ok(())
}

/// Returns the number of attempts in a folder; refuses a change of what all attempts have to share once there is one.
fn seen(planned: &Planned, lock: &Lock, folder: &Path, found: &Frozen) -> Result<u64, Failure> {
    use aegis_experiments::data::field_log;

    if !folder.is_dir() {
        let valid = "valid is the folder that `aegis trial run --out` was given, or --nothing-ran";
        return Err(failure(Exit::Input, format!("--out: {}: found no folder; {valid}", folder.display())));
    }
    let entries = field_log::load(folder, &lock.seal).or_exit(Exit::Input)?.entries;
    if entries.is_empty() {
        return Ok(0);
    }
    let before: FieldPlan = serde_json::from_value(lock.frozen.plan["trial"].clone()).or_exit(Exit::Input)?;
    let same = |key: &str| lock.frozen.plan[key] == found.plan[key];
    let field = planned
        .plan
        .settled_differs(&before)
        .or_else(|| (!same("starts")).then_some("starts of the robot file"));
    if let Some(field) = field {
        let message = format!(
            "{}: {field}: found another than is registered; attempts were made under the registered one: valid is that one, or a new \
             trial",
            planned.path.display()
        );
        return Err(failure(Exit::Input, message));
    }
    Ok(planned.attempts(folder, &entries)?.ended() as u64)
}
