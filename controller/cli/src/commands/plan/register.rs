//! `aegis plan register`, `amend` and `check`: freezes a plan in a lock, amends the lock, or checks the plan against it.
//! Collects the digests and the time; `aegis_experiments::plan::registration` makes and compares the locks.

use std::path::{Path, PathBuf};

use aegis_experiments::data::lock_file::{LockFileError, lock_path};
use aegis_experiments::plan::Circumstances;
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::{Difference, Frozen, Lock};
use aegis_files::shown;
use aegis_probe::StateRange;
use aegis_probe::origin::Statement;
use clap::Args;
use serde_json::json;

use super::discovery::{check_answers, check_models, check_origins, check_probe, found};
use super::{noted, trial, usage};
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::origins::ROLES;
use crate::remote::RemoteArguments;
use crate::study_loader::probe;

/// The plan and its lock.
#[derive(Args)]
pub struct Registered {
    /// The plan
    plan: PathBuf,
    /// Its lock; PLAN with .lock.toml when left out
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Print JSON: lock, seal, created, commit, notes, plan_sha256, frozen_sha256, scenes_sha256, amendments
    #[arg(long)]
    json: bool,
}

impl Registered {
    fn lock(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| lock_path(&self.plan))
    }
}

/// Arguments of `aegis plan register`.
#[derive(Args)]
#[command(after_help = "Example: aegis plan register mine/study.toml")]
pub struct RegisterArguments {
    #[command(flatten)]
    registered: Registered,
    #[command(flatten)]
    trial: TrialArguments,
}

/// Whether a trial set is run before anything is frozen.
#[derive(Args)]
struct TrialArguments {
    /// Do not run one set of the tuning range first; the lock and the report state this
    #[arg(long)]
    without_trial: bool,
    #[command(flatten)]
    remote: RemoteArguments,
}

impl TrialArguments {
    /// Runs the trial set. Returns a sentence for the lock on the set, or that none was run.
    fn run(&self, plan: &Path) -> Result<String, Failure> {
        if self.without_trial {
            return Ok(
                "No set of the tuning range was run before it was frozen, for --without-trial was given."
                    .into(),
            );
        }
        trial::run(plan, &self.remote)
    }
}

/// Arguments of `aegis plan amend`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis plan amend mine/study.toml --why \"task 4 is out of reach\" --results runs"
)]
pub struct AmendArguments {
    #[command(flatten)]
    registered: Registered,
    #[command(flatten)]
    trial: TrialArguments,
    /// The reason for the change, one line of text, which the report prints
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Folders and files (stores of runs, step traces, JSON lines, rollouts) whose episodes of the confirmation range count
    /// as seen; one without any of these is refused. The folder runs beside the plan when left out, so name the folders
    /// that `experiment run --out` was given
    #[arg(long, value_name = "PATH", conflicts_with = "nothing_ran")]
    results: Vec<PathBuf>,
    /// No episode of the confirmation range was ever run, so there are no results to count
    #[arg(long)]
    nothing_ran: bool,
}

impl AmendArguments {
    /// Counts the episodes of the confirmation range that have been seen.
    fn seen(&self, confirmation: StateRange) -> Result<u64, Failure> {
        if self.nothing_ran {
            return Ok(0);
        }
        if self.results.is_empty() {
            return usage::episodes(&[usage::default_results(&self.registered.plan)], confirmation);
        }
        usage::episodes(&self.results, confirmation)
    }
}

/// Arguments of `aegis plan check`.
#[derive(Args)]
#[command(after_help = "Example: aegis plan check mine/study.toml")]
pub struct CheckArguments {
    #[command(flatten)]
    registered: Registered,
}

/// Runs `aegis plan register`: freezes a plan in a new lock.
pub fn register(arguments: &RegisterArguments) -> Result<(), Failure> {
    let Registered { plan: path, json, .. } = &arguments.registered;
    let place = arguments.registered.lock();
    let (plan, frozen) = found(path)?;
    check_whole(path, &plan, &frozen)?;
    if place.exists() {
        return Err(failure(Exit::Input, LockFileError::Exists { path: place }));
    }
    let mut notes = vec![arguments.trial.run(path)?];
    notes.extend(noted::before(path)?);
    let lock = Lock::new(frozen, noted::now(), env!("AEGIS_COMMIT").into(), notes).or_exit(Exit::Input)?;
    lock.create(&place).or_exit(Exit::Failed)?;
    tell(&lock, &place, *json)
}

/// Refuses a plan without a study, or whose models could not run. Warns of parts of the probe from another suite, sensor or settling
/// time, and of files that do not state their starts.
fn check_whole(path: &Path, plan: &Plan, frozen: &Frozen) -> Result<(), Failure> {
    if plan.study.is_none() {
        let message = "study: missing; valid is a [study] with arms, contrasts and kill criteria, as in a plan of \
                       `aegis plan new`";
        return Err(failure(Exit::Input, format!("{}: {message}", path.display())));
    }
    let located = plan.clone().located(path);
    let probe = check_models(path, &located)?;
    check_probe(path, &located, &probe)?;
    check_answers(path, &located)?;
    let said = check_origins(path, &located, &probe)?;
    let here = Circumstances { plan, suite_sha256: &frozen.scenes.content_sha256() };
    here.remarks(&said).iter().for_each(|remark| tell!("warning: {remark}"));
    for Statement { file, part, origin, .. } in said {
        if origin.is_none() {
            tell!("{file}: {part}: does not state its starts, so the plan's ranges are an unchecked claim");
        }
    }
    Ok(())
}

/// Runs `aegis plan amend`: records the present plan and files in the lock.
pub fn amend(arguments: &AmendArguments) -> Result<(), Failure> {
    let Registered { plan: path, json, .. } = &arguments.registered;
    let place = arguments.registered.lock();
    noted::take_over(path, &place)?;
    let lock = Lock::load(&place).or_exit(Exit::Input)?;
    let (plan, frozen) = found(path)?;
    check_whole(path, &plan, &frozen)?;
    lock.check_confirmation(&plan)
        .map_err(|(field, reason)| failure(Exit::Input, format!("{}: {field}: {reason}", path.display())))?;
    let seen = arguments.seen(plan.ranges.confirmation)?;
    let amend = |lock: &Lock, notes| lock.amend(frozen.clone(), noted::now(), &arguments.why, seen, notes);
    // The amendment is tried before the trial set, so that a set is run only where the lock can be amended.
    amend(&lock, Vec::new())
        .map_err(|error| failure(Exit::Input, format!("{}: {error}", place.display())))?;
    let notes = vec![arguments.trial.run(path)?];
    // The lock is read again, because another process may have added to it meanwhile.
    let amended = Lock::change(&place, |lock| amend(lock, notes)).or_exit(Exit::Failed)?;
    tell(&amended, &place, *json)
}

/// Runs `aegis plan check`: checks the plan and its files against the lock.
pub fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let Registered { plan, json, .. } = &arguments.registered;
    let place = arguments.registered.lock();
    let lock = verify_registration(plan, &place)?;
    tell(&lock, &place, *json)
}

/// Loads the lock of a plan and checks everything that a run would read against it.
///
/// # Errors
/// Every difference, by name.
pub fn verify_registration(plan: &Path, place: &Path) -> Result<Lock, Failure> {
    if !place.exists() {
        // A plan that cannot be read is reported as such, without the advice to register it.
        Plan::read(plan).or_exit(Exit::Input)?;
        let (place, plan) = (place.display(), plan.display());
        let valid =
            format!("valid is the lock of a registered plan, which `aegis plan register {plan}` writes");
        return Err(failure(Exit::Input, format!("{place}: found no lock; {valid}")));
    }
    let lock = Lock::load(place).or_exit(Exit::Input)?;
    noted::check_lock(plan, place, &lock)?;
    let (read, mut frozen) = found(plan)?;
    // An older lock has no digest of an `origins.toml`, so such a file is not compared; its statements are checked
    // nevertheless.
    frozen.models.retain(|role, _| !ROLES.contains(&role.as_str()) || lock.frozen.models.contains_key(role));
    let differences = lock.compare(&frozen);
    if !differences.is_empty() {
        return Err(refused(plan, place, &lock, &differences));
    }
    let located = read.located(plan);
    check_origins(plan, &located, &probe(&located.models)?)?;
    Ok(lock)
}

fn refused(plan: &Path, place: &Path, lock: &Lock, differences: &[Difference]) -> Failure {
    let lines: Vec<String> = differences.iter().map(|one| format!("\n  {one}")).collect();
    let message = format!(
        "{}: differs from its registration in {} on {}; restore it, or amend it with `aegis plan amend {} --why TEXT`:{}",
        plan.display(),
        place.display(),
        lock.created,
        plan.display(),
        lines.concat(),
    );
    failure(Exit::Input, message)
}

fn tell(lock: &Lock, place: &Path, as_json: bool) -> Result<(), Failure> {
    let Frozen { plan_sha256, scenes, models, versions, .. } = &lock.frozen;
    if as_json {
        let outcome = json!({
            "lock": shown(place),
            "seal": lock.head(),
            "created": lock.created,
            "commit": lock.commit,
            "notes": lock.notes,
            "plan_sha256": plan_sha256,
            "frozen_sha256": lock.frozen.sha256().or_exit(Exit::Failed)?,
            "scenes_sha256": scenes.sha256,
            "models": models,
            "versions": versions,
            "amendments": lock.amendments,
        });
        say!("{outcome}");
        return Ok(());
    }
    say!("{}: registered {} by a binary of commit {}", place.display(), lock.created, lock.commit);
    say!("seal    {}", lock.head());
    lock.notes.iter().for_each(|note| say!("note    {note}"));
    say!("plan    {plan_sha256}");
    say!("scenes  {} ({}, {} files)", scenes.sha256, scenes.suite, scenes.files.len());
    for amendment in &lock.amendments {
        let seen = amendment.episodes_seen;
        match amendment.changes.is_empty() {
            true => say!("noted   {}: {}", amendment.when, amendment.why),
            false => say!("amended {}, {seen} episodes seen: {}", amendment.when, amendment.why),
        }
        for change in &amendment.changes {
            say!("        {change}");
        }
        amendment.notes.iter().for_each(|note| say!("        {note}"));
    }
    Ok(())
}
