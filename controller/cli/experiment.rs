//! `aegis experiment`: a registered study, run, put together, reported and verified.
//! One file per verb; every one of them first holds what is there against the registration.

mod background;
mod merge;
mod report;
mod run;
mod verify;

use std::path::{Path, PathBuf};

use aegis_experiments::plan::Plan;
use aegis_experiments::precondition::{self, Precondition};
use aegis_experiments::ran_under::RanUnder;
use aegis_experiments::registration::{Lock, lock_path};
use aegis_experiments::store::{Store, StoreError};
use aegis_experiments::{Arm, EpisodeKey};
use aegis_sim::Suite;
use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::plan::{take_over, verify_registration};
use crate::study_loader::{Study, load_suite};

/// Verbs of `aegis experiment`.
#[derive(Subcommand)]
pub enum ExperimentVerb {
    /// Run what a registered plan's study still lacks
    Run(run::RunArguments),
    /// Put the parts of several machines together
    Merge(merge::MergeArguments),
    /// Make the report of a study from what is stored
    Report(report::ReportArguments),
    /// Recompute every figure of a report from what is stored, what is stored from its traces, and every digest
    Verify(verify::VerifyArguments),
}

/// Runs the verb.
pub fn run(verb: &ExperimentVerb) -> Result<(), Failure> {
    match verb {
        ExperimentVerb::Run(arguments) => run::run(arguments),
        ExperimentVerb::Merge(arguments) => merge::run(arguments),
        ExperimentVerb::Report(arguments) => report::run(arguments),
        ExperimentVerb::Verify(arguments) => verify::run(arguments),
    }
}

/// Which plan, and where its lock is.
#[derive(Args)]
pub struct Registered {
    /// The registered plan
    #[arg(long, value_name = "FILE", default_value = "experiments/study.toml")]
    pub plan: PathBuf,
    /// Its lock; PLAN with .lock.toml when left out
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

impl Registered {
    fn lock(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| lock_path(&self.plan))
    }

    /// The same as [`Registered::verify`], after the lock took over what the plan's log notes.
    pub fn take_over(&self) -> Result<(Plan, Lock), Failure> {
        take_over(&self.plan, &self.lock())?;
        self.verify()
    }

    /// The plan and its lock, held against all that a run reads.
    pub fn verify(&self) -> Result<(Plan, Lock), Failure> {
        let lock = verify_registration(&self.plan, &self.lock())?;
        let plan = Plan::load(&self.plan).or_exit(Exit::Input)?;
        if plan.study.is_none() {
            let message = "study: missing; valid is a [study], as in a plan of `aegis plan new`";
            return Err(failure(Exit::Input, format!("{}: {message}", self.plan.display())));
        }
        Ok((plan, lock))
    }
}

/// What a store says that it belongs to: the registration, whatever was amended since.
fn registration_id(lock: &Lock) -> &str {
    &lock.seal
}

/// The store in a folder, to read it, with every set in it one of the plan as it is.
pub fn read_store(folder: &Path, lock: &Lock) -> Result<Store, Failure> {
    let path = store_path(folder);
    held(&path, Store::read(&path, registration_id(lock)).map_err(of_store)?, lock)
}

/// Opens the same store for writing, or creates it. Every set stored through it is sealed with the newest seal of this lock.
fn open_store(folder: &Path, lock: &Lock) -> Result<Store, Failure> {
    let path = store_path(folder);
    Ok(held(&path, Store::open(&path, registration_id(lock)).map_err(of_store)?, lock)?.under(lock.head()))
}

/// Refuses a store with sets of the plan as it was before something changed that episodes depend on.
fn held(path: &Path, store: Store, lock: &Lock) -> Result<Store, Failure> {
    let wrong = RanUnder::of(lock, &store.sets().map_err(of_store)?).wrong;
    if wrong.is_empty() {
        return Ok(store);
    }
    let lines: Vec<String> = wrong.into_iter().map(|line| format!("{}: {line}", path.display())).collect();
    Err(failure(Exit::Input, lines.join("\n")))
}

/// A store that cannot be opened: one of something else is the caller's mistake, a full disk is not.
pub fn of_store(error: StoreError) -> Failure {
    let exit = if error.is_of_the_system() { Exit::Failed } else { Exit::Input };
    failure(exit, error)
}

/// All keys of the study, in the plan's order, where its scenes are not open yet.
fn keys(plan: &Plan) -> Result<Vec<EpisodeKey>, Failure> {
    Ok(keys_of(plan, &load_suite(&plan.suite, plan.sample_seed)?))
}

/// The same on open scenes, which say how many tasks there are.
fn keys_of(plan: &Plan, suite: &Suite) -> Vec<EpisodeKey> {
    plan.ranges.confirmation.keys(plan.task_list(suite.task_count()))
}

/// The study's arms in the order in which they run.
pub fn arms(study: &Study) -> Result<(aegis_core::Probe, Vec<Arm>), Failure> {
    Ok((study.probe()?.probe, arms_of(&study.plan)?))
}

/// The same arms where nothing else is open yet.
fn arms_of(plan: &Plan) -> Result<Vec<Arm>, Failure> {
    let file = crate::study_loader::probe(&plan.models)?;
    let Some(settings) = &plan.study else {
        return Err(failure(Exit::Input, "study: missing"));
    };
    let rule = |rule: &aegis_experiments::probe::rules::RuleSettings| {
        rule.rule(&file.calibration, file.settings.trend_window)
    };
    let arms = settings.arms(&plan.rule, rule).or_exit(Exit::Input)?;
    Ok(aegis_experiments::arm::running_order(arms))
}

/// The precondition in an experiment's folder, judged, and the digest of its results; none where the plan has none.
fn judged(folder: &Path, plan: &Plan, lock: &Lock) -> Result<Option<(Precondition, String)>, Failure> {
    if plan.precondition().is_none() {
        return Ok(None);
    }
    let store = read_store(&folder.join(precondition::FOLDER), lock)?;
    let found = precondition::judge(plan, &store.results().or_exit(Exit::Input)?);
    let sha256 = store.sha256().or_exit(Exit::Input)?;
    Ok(found.map(|found| (found, sha256)))
}

/// The store's file in an experiment's folder.
pub fn store_path(folder: &Path) -> PathBuf {
    folder.join(aegis_experiments::experiment::STORE)
}
