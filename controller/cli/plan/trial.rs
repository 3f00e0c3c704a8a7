//! One set of twins before a plan is frozen: whoever registers what cannot run learns it here, and not from the first
//! episode that counts.

use std::path::Path;

use aegis_core::Start;
use aegis_core::record::NoRecorder;
use aegis_experiments::fork::run_twins;
use aegis_experiments::runner::describe;

use crate::exit::{Exit, Failure, failure};
use crate::experiment::arms;
use crate::host::HostArguments;
use crate::study_loader::{Study, StudyArguments};

/// The range that it is run on, which nothing is judged on.
const RANGE: &str = "tuning";

/// Runs every arm from the first start of the tuning range, stores nothing, and asks both policies once in every other
/// task. Says what was run, for the lock.
pub fn run(path: &Path) -> Result<String, Failure> {
    let host = HostArguments::default();
    let study = Study::open(&StudyArguments { plan: Some(path.to_owned()), workers: 1, host })?;
    study.check_models()?;
    let (probe, arms) = arms(&study)?;
    let refused = |what: String, error: &dyn std::fmt::Display| {
        let advice = "the plan is not frozen, for its first episode would end so";
        failure(Exit::Input, format!("{}: {what}: {error}; {advice}", path.display()))
    };
    let keys = study.keys("ranges", RANGE)?;
    let Some(first) = keys.first() else { return Err(refused("ranges.tuning".into(), &"found no start")) };
    let what = describe(*first, "one set of the tuning range");
    let mut parties = study.parties(&probe).map_err(|error| refused(what.clone(), &error))?;
    run_twins(&mut parties, &arms, *first, &study.settings(), &mut NoRecorder)
        .map_err(|error| refused(what, &error))?;
    for task in study.tasks().into_iter().filter(|task| *task != first.start.task) {
        // A recorded start, which nobody has to draw; no step is taken from it.
        let start = Start { task, initial_state: 0 };
        let what = format!("task {task}");
        let mut seen = parties.plant.reset(start).map_err(|error| refused(what.clone(), &error))?;
        if parties.weak.reads_frames() || parties.strong.reads_frames() {
            seen.frames = parties.plant.frames().map_err(|error| refused(what.clone(), &error))?.into();
        }
        for policy in [&mut parties.weak, &mut parties.strong] {
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
