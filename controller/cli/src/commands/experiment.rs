//! `aegis experiment`: runs, merges, reports and verifies a registered study.
//! One file per verb. Every verb first checks the plan and the files that it names against the registration.

mod background;
mod merge;
mod report;
mod run;
mod verify;

use std::path::{Path, PathBuf};

use aegis_core::EpisodeKey;
use aegis_experiments::data::lock_file::lock_path;
use aegis_experiments::data::store::{Store, StoreError};
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::run::precondition::{self, Precondition};
use aegis_experiments::run::ran_under::RanUnder;
use clap::{Args, Subcommand};

use crate::commands::plan::{take_over, verify_registration};
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::world::World;

/// Plan of the verbs that are given none.
const PLAN: &str = "experiments/study.toml";

/// Verbs of `aegis experiment`.
#[derive(Subcommand)]
pub enum ExperimentVerb {
    /// Run the episodes of a registered study that are not stored yet
    Run(run::RunArguments),
    /// Merge the parts that several machines ran into one store
    Merge(merge::MergeArguments),
    /// Make the report of a study from what is stored
    Report(report::ReportArguments),
    /// Recompute every figure of a report from the store, every stored figure from its trace, and every digest
    Verify(verify::VerifyArguments),
}

/// Runs a verb of `aegis experiment`.
pub fn run(verb: &ExperimentVerb) -> Result<(), Failure> {
    match verb {
        ExperimentVerb::Run(arguments) => run::run(arguments),
        ExperimentVerb::Merge(arguments) => merge::run(arguments),
        ExperimentVerb::Report(arguments) => report::run(arguments),
        ExperimentVerb::Verify(arguments) => verify::run(arguments),
    }
}

/// A registered plan and its lock.
#[derive(Args)]
pub struct Registered {
    /// The registered plan
    #[arg(long, value_name = "FILE", default_value = PLAN)]
    pub plan: PathBuf,
    /// Its lock; PLAN with .lock.toml when left out
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

impl Registered {
    /// Returns whether a plan or a lock was given other than those that count when they are left out.
    pub fn is_given(&self) -> bool {
        self.lock.is_some() || self.plan != Path::new(PLAN)
    }

    fn lock(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| lock_path(&self.plan))
    }

    /// Adds the lines of the plan's log that the lock lacks to the lock; then does the same as [`Registered::verify`].
    pub fn take_over(&self) -> Result<(Plan, Lock), Failure> {
        take_over(&self.plan, &self.lock())?;
        self.verify()
    }

    /// Reads the plan and its lock, and checks the lock against every file that a run reads. Refuses a plan without
    /// `[study]`.
    pub fn verify(&self) -> Result<(Plan, Lock), Failure> {
        let lock = verify_registration(&self.plan, &self.lock())?;
        let plan = Plan::load(&self.plan).or_exit(Exit::Input)?;
        if plan.study.is_none() {
            let message = "study: missing; valid is a table [study], as in a plan of `aegis plan new`";
            return Err(failure(Exit::Input, format!("{}: {message}", self.plan.display())));
        }
        Ok((plan, lock))
    }
}

/// Returns the id that a store records of its registration: the lock's first seal, which no amendment changes.
fn registration_id(lock: &Lock) -> &str {
    &lock.seal
}

/// Opens the store in a folder for reading. Refuses a store with sets that the present plan would run differently.
pub fn read_store(folder: &Path, lock: &Lock) -> Result<Store, Failure> {
    let path = store_path(folder);
    held(&path, Store::read(&path, registration_id(lock)).map_err(of_store)?, lock)
}

/// Opens the store in a folder for writing, or creates it, with the checks of [`read_store`]. Every set stored through it
/// is sealed together with the newest seal of this lock.
fn open_store(folder: &Path, lock: &Lock) -> Result<Store, Failure> {
    let path = store_path(folder);
    Ok(held(&path, Store::open(&path, registration_id(lock)).map_err(of_store)?, lock)?.under(lock.head()))
}

/// Returns the store; refuses one with sets that ran before an amendment changed something on which episodes depend. `path`
/// is the store's file, which the error names.
fn held(path: &Path, store: Store, lock: &Lock) -> Result<Store, Failure> {
    let wrong = RanUnder::of(lock, &store.sets().map_err(of_store)?).wrong;
    if wrong.is_empty() {
        return Ok(store);
    }
    let lines: Vec<String> = wrong.into_iter().map(|line| format!("{}: {line}", path.display())).collect();
    Err(failure(Exit::Input, lines.join("\n")))
}

/// Converts an error of a store to a failure. A fault of the disk or the system, such as a full disk, ends with
/// [`Exit::Failed`]. Any other error, such as a store of another registration, is the caller's mistake: [`Exit::Input`].
pub fn of_store(error: StoreError) -> Failure {
    let exit = if error.is_of_the_system() { Exit::Failed } else { Exit::Input };
    failure(exit, error)
}

/// Returns all keys of the study, in the plan's order. Loads the suite, which gives the number of tasks.
fn keys(plan: &Plan) -> Result<Vec<EpisodeKey>, Failure> {
    Ok(keys_of(plan, &World::of(plan)?))
}

/// Returns all keys of the study, in the plan's order. `world` gives the number of tasks.
fn keys_of(plan: &Plan, world: &World) -> Vec<EpisodeKey> {
    plan.ranges.confirmation.keys(plan.task_list(world.task_count()))
}

/// Judges the precondition by the results in an experiment's folder. Returns it with the digest of those results; `None`
/// where the plan has no precondition.
fn judged(folder: &Path, plan: &Plan, lock: &Lock) -> Result<Option<(Precondition, String)>, Failure> {
    if plan.precondition().is_none() {
        return Ok(None);
    }
    let place = folder.join(precondition::FOLDER);
    let store = read_store(&place, lock)?;
    let tasks = World::of(plan)?.task_count();
    let found = precondition::judge(plan, tasks, &store.results().or_exit(Exit::Input)?)
        .map_err(|error| failure(Exit::Input, format!("{}: {error}", store_path(&place).display())))?;
    let sha256 = store.sha256().or_exit(Exit::Input)?;
    Ok(found.map(|found| (found, sha256)))
}

/// Returns the path of the store's file in an experiment's folder.
pub fn store_path(folder: &Path) -> PathBuf {
    folder.join(aegis_experiments::run::experiment::STORE)
}
