//! Runs jobs on worker threads; the results do not depend on the number of threads. Each worker owns its plant and its
//! inference sessions; the results keep the order of the jobs.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aegis_core::PlantError;
use aegis_core::record::NoRecorder;

use crate::data::store::StoreError;
use crate::episode::arm::Arm;
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings};
use crate::episode::fork::{Twin, run_twins};
use aegis_core::EpisodeKey;
use aegis_probe::rollout_file::RolloutFileError;

/// Most attempts at a job whose plant is lost before the run gives up.
const ATTEMPTS: u32 = 3;

/// Progress message of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A job is done.
    Done,
    /// The plant was lost during a job. The job counts as not run and is run again from its beginning.
    Interrupted {
        /// Name of the job.
        what: &'a str,
        /// Reason of the loss.
        reason: &'a str,
    },
}

/// Error of opening a worker's plant, policies or other resources.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// Error that stops a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker could not open its plant or its policies.
    #[error("{0}")]
    Setup(SetupError),
    /// An episode failed.
    #[error("{what}: {source}")]
    Job {
        /// Name of the job.
        what: String,
        /// Error of the episode.
        source: EpisodeError,
    },
    /// Results cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step trace cannot be written, or was removed after it was written.
    #[error("{path}: {reason}", path = path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// A rollout cannot be written.
    #[error(transparent)]
    Rollout(#[from] RolloutFileError),
    /// A worker thread panicked, or did not reach a job.
    #[error("a worker thread panicked before its job was done")]
    Worker,
}

/// Runs the twins of every key, with the arms as given, the weak one first. The output is ordered by key and then by
/// arm, both as given.
pub fn run_arms(
    keys: &[EpisodeKey],
    arms: &[Arm],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Twin>, RunError> {
    let twins = parallel(keys, workers, open, progress, |context, key| {
        let twins = run_twins(context, arms, *key, settings, &mut NoRecorder);
        twins.map_err(|source| RunError::Job { what: describe(*key, "twins"), source })
    })?;
    Ok(twins.into_iter().flatten().collect())
}

/// Returns the name of an episode for messages.
pub fn describe(key: EpisodeKey, arm: &str) -> String {
    let EpisodeKey { start, replicate } = key;
    format!("{arm} · task {} · initial state {} · replicate {replicate}", start.task, start.initial_state)
}

/// Maps `run` over jobs on worker threads and keeps the order of the jobs. Each worker has its own state, which `open`
/// makes from the worker's number. A job whose plant was lost is run again on fresh state; any other error stops all
/// workers.
pub(crate) fn parallel<J: Sync, S, T: Send>(
    jobs: &[J],
    workers: usize,
    open: &(dyn Fn(usize) -> Result<S, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
    run: impl Fn(&mut S, &J) -> Result<T, RunError> + Sync,
) -> Result<Vec<T>, RunError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let failed: Mutex<Option<RunError>> = Mutex::new(None);
    let fail = |error| {
        // Moving the index past the last job stops the other workers.
        next.store(jobs.len(), Ordering::Relaxed);
        if let Ok(mut first) = failed.lock() {
            first.get_or_insert(error);
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..workers.clamp(1, jobs.len().max(1)) {
            let (next, done, fail, run) = (&next, &done, &fail, &run);
            scope.spawn(move || {
                let reopen = || open(worker).map_err(RunError::Setup);
                let mut state = match reopen() {
                    Ok(state) => Some(state),
                    Err(error) => return fail(error),
                };
                while let Some((index, job)) = take(next, jobs) {
                    let value = attempt(&mut state, &reopen, progress, |state| run(state, job));
                    match (value, done.lock()) {
                        (Ok(value), Ok(mut done)) => done[index] = Some(value),
                        (Err(error), _) => return fail(error),
                        (Ok(_), Err(_)) => return fail(RunError::Worker),
                    }
                    progress(Progress::Done);
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().map_err(|_| RunError::Worker)? {
        return Err(error);
    }
    let done = done.into_inner().map_err(|_| RunError::Worker)?;
    done.into_iter().collect::<Option<Vec<T>>>().ok_or(RunError::Worker)
}

/// Runs a job, again on fresh state when its plant was lost, at most [`ATTEMPTS`] times in all.
fn attempt<S, T>(
    state: &mut Option<S>,
    reopen: &dyn Fn() -> Result<S, RunError>,
    progress: &(dyn Fn(Progress<'_>) + Sync),
    run: impl Fn(&mut S) -> Result<T, RunError>,
) -> Result<T, RunError> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let current = match state {
            Some(current) => current,
            None => state.insert(reopen()?),
        };
        match run(current) {
            Err(RunError::Job { what, source: EpisodeError::Plant(PlantError::Lost(reason)) })
                if left > 0 =>
            {
                progress(Progress::Interrupted { what: &what, reason: &reason });
                // The old state is dropped first: it may hold resources that the new one needs.
                *state = None;
            }
            other => return other,
        }
    }
}

fn take<'a, J>(next: &AtomicUsize, jobs: &'a [J]) -> Option<(usize, &'a J)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}
