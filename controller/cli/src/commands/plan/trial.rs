//! Runs one set of twins before a plan is frozen, so that a plan that cannot run fails at its registration and not at the first
//! episode that counts.

use std::path::Path;

use aegis_core::Start;
use aegis_core::record::NoRecorder;
use aegis_experiments::episode::fork::run_twins;
use aegis_experiments::run::runner::describe;

use crate::arms::arms;
use crate::exit::{Exit, Failure, failure};
use crate::host::HostArguments;
use crate::remote::RemoteArguments;
use crate::study_loader::{Study, StudyArguments};

/// Range of the trial set. Nothing is judged on this range.
const RANGE: &str = "tuning";

/// Runs every arm from the first start of the tuning range without storing results, and both policies for one inference in every
/// other task. Returns a sentence for the lock.
pub fn run(path: &Path, remote: &RemoteArguments) -> Result<String, Failure> {
    let host = HostArguments::default();
    let study = Study::open(&StudyArguments {
        plan: Some(path.to_owned()),
        workers: 1,
        host,
        remote: remote.clone(),
    })?;
    study.check_models()?;
    let (probe, arms) = arms(&study)?;
    let refused = |what: String, error: &dyn std::fmt::Display| {
        let advice = "the plan is not frozen, because its first episode would fail alike";
        failure(Exit::Input, format!("{}: {what}: {error}; {advice}", path.display()))
    };
    let keys = study.keys("ranges", RANGE)?;
    let Some(first) = keys.first() else { return Err(refused("ranges.tuning".into(), &"found no start")) };
    let what = describe(*first, "one set of the tuning range");
    let mut context = study.context(0, &probe).map_err(|error| refused(what.clone(), &error))?;
    run_twins(&mut context, &arms, *first, &study.settings(), &mut NoRecorder)
        .map_err(|error| refused(what, &error))?;
    for task in study.tasks().into_iter().filter(|task| *task != first.start.task) {
        // Initial state 0 is a recorded one, so no state has to be sampled. No step is taken from it.
        let start = Start { task, initial_state: 0 };
        let what = format!("task {task}");
        let mut seen = context.plant.reset(start).map_err(|error| refused(what.clone(), &error))?;
        if context.weak.reads_frames() || context.strong.reads_frames() {
            seen.frames = context.plant.frames().map_err(|error| refused(what.clone(), &error))?.into();
        }
        for policy in [&mut context.weak, &mut context.strong] {
            policy.infer(&seen).map_err(|error| refused(what.clone(), &error))?;
        }
    }
    let (arms, start) = (arms.len(), first.start);
    Ok(format!(
        "Before it was frozen, one set of the tuning range ran with all {arms} arms: task {}, initial state {}; both \
         policies read an observation of every task.",
        start.task, start.initial_state
    ))
}
