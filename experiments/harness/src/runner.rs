//! Episodes across worker threads, with results that do not depend on how many there are.
//! Each worker owns its plant and its sessions; a job's result lands at the job's index.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aegis_core::record::NoRecorder;

use crate::episode::{
    Arm, EpisodeError, EpisodeResult, EpisodeSettings, EpisodeTiming, Parties, run_episode,
};
use crate::key::EpisodeKey;

/// Whatever a worker needs and could not get.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker could not open its plant or its policies.
    #[error("{0}")]
    Setup(SetupError),
    /// An episode failed.
    #[error("{what}: {source}")]
    Job {
        /// Which one.
        what: String,
        /// Why.
        source: EpisodeError,
    },
    /// A worker died without a word, or never reached a job.
    #[error("a worker thread stopped before its job was done")]
    Worker,
}

/// Runs every arm on every key. The order of the output is: by key as given, then by arm as given.
pub fn run_arms(
    keys: &[EpisodeKey],
    arms: &[Arm],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn() -> Result<Parties, SetupError> + Sync),
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<(EpisodeResult, EpisodeTiming)>, RunError> {
    let jobs: Vec<(EpisodeKey, Arm)> =
        keys.iter().flat_map(|key| arms.iter().map(move |arm| (*key, *arm))).collect();
    parallel(&jobs, workers, open, |parties, (key, arm)| {
        let result = run_episode(parties, *arm, *key, settings, &mut NoRecorder);
        progress();
        result.map_err(|source| RunError::Job { what: describe(*key, arm.name()), source })
    })
}

/// How messages call an episode.
pub fn describe(key: EpisodeKey, arm: &str) -> String {
    let EpisodeKey { start, replicate } = key;
    format!("{arm} · task {} · initial state {} · replicate {replicate}", start.task, start.initial_state)
}

/// Maps jobs over workers, each with state of its own, keeping the order of the jobs. The first error stops all.
pub(crate) fn parallel<J: Sync, S, T: Send>(
    jobs: &[J],
    workers: usize,
    open: &(dyn Fn() -> Result<S, SetupError> + Sync),
    run: impl Fn(&mut S, &J) -> Result<T, RunError> + Sync,
) -> Result<Vec<T>, RunError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let failed: Mutex<Option<RunError>> = Mutex::new(None);
    let fail = |error| {
        // Jobs past the end stop the other workers.
        next.store(jobs.len(), Ordering::Relaxed);
        if let Ok(mut first) = failed.lock() {
            first.get_or_insert(error);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                let mut state = match open() {
                    Ok(state) => state,
                    Err(error) => return fail(RunError::Setup(error)),
                };
                while let Some((index, job)) = take(&next, jobs) {
                    match (run(&mut state, job), done.lock()) {
                        (Ok(value), Ok(mut done)) => done[index] = Some(value),
                        (Err(error), _) => return fail(error),
                        (Ok(_), Err(_)) => return fail(RunError::Worker),
                    }
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

fn take<'a, J>(next: &AtomicUsize, jobs: &'a [J]) -> Option<(usize, &'a J)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}
