//! Runs stored sets again and compares them bit for bit with the store: results by their text, traces by digest.
//! Results that were invented or edited by hand differ from those of the second run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::data::store::StoredSet;
use crate::data::trace::{Layout, Trace, TraceFile};
use crate::episode::arm::Arm;
use crate::episode::context::{EpisodeContext, EpisodeSettings};
use crate::episode::figures::differences;
use crate::episode::fork::run_twins;
use crate::episode::outcome::EpisodeResult;
use crate::run::experiment::read_trace;
use crate::run::runner::{Progress, RunError, SetupError, describe, parallel};
use aegis_files::sha256_of;

/// Stored set to run again.
pub struct Job<'a> {
    /// Folder of the set's store, which may contain the set's trace.
    pub folder: &'a Path,
    /// Set as stored.
    pub set: &'a StoredSet,
    /// Arms in the order in which they run, the weak one first.
    pub arms: &'a [Arm],
}

/// Draws `count` of `total` indices uniformly without replacement and sorts them; all indices where `count` is larger.
pub fn draw(count: usize, total: usize, seed: u64) -> Vec<usize> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut places: Vec<usize> = (0..total).collect();
    let count = count.min(total);
    for place in 0..count {
        // Drawn in 64 bits, so that the result does not depend on the machine's word size.
        let other = generator.random_range(place as u64..total as u64) as usize;
        places.swap(place, other);
    }
    places.truncate(count);
    places.sort_unstable();
    places
}

/// Runs sets again and returns, in the order of the jobs, the first difference of each set with set, arm and field.
///
/// An arm is forked from its weak twin, as in a study. Where the trace's bytes then differ, the set is also run without
/// forking, as with `--no-fork`.
///
/// # Errors
/// [`RunError`] where a set cannot be run.
pub fn rerun(
    jobs: &[Job<'_>],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Option<String>>, RunError> {
    // Whether the previous set was run with forking, as the next set most likely was.
    let forked = AtomicBool::new(true);
    parallel(jobs, workers, open, progress, |context, job| {
        let likely = forked.load(Ordering::Relaxed);
        let first = attempt(context, job, settings, likely)?;
        let Some(Difference::Trace(_)) = &first else { return Ok(first.map(Difference::text)) };
        let second = attempt(context, job, settings, !likely)?;
        if second.is_none() {
            forked.store(!likely, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(first.map(Difference::text))
    })
}

/// First difference of a set.
enum Difference {
    Figure(String),
    Trace(String),
}

impl Difference {
    fn text(self) -> String {
        match self {
            Self::Figure(text) | Self::Trace(text) => text,
        }
    }
}

fn attempt(
    context: &mut EpisodeContext,
    job: &Job<'_>,
    settings: &EpisodeSettings,
    fork: bool,
) -> Result<Option<Difference>, RunError> {
    let key = job.set.key;
    let mut trace = Trace::default();
    let settings = EpisodeSettings { fork, ..settings.clone() };
    let twins = run_twins(context, job.arms, key, &settings, &mut trace)
        .map_err(|source| RunError::Job { what: describe(key, "twins"), source })?;
    let results: Vec<EpisodeResult> = twins.into_iter().map(|(result, _)| result).collect();
    if let Some(text) = figure_that_differs(job.set, &results) {
        return Ok(Some(Difference::Figure(text)));
    }
    let files = [Layout::Two, Layout::One].map(|layout| trace.file(layout, key, settings.gate.chunk_steps));
    let failed = |reason| RunError::Trace { path: job.folder.to_owned(), reason };
    let mut digests = Vec::new();
    for file in &files {
        let digest = sha256_of(&file.parquet().map_err(failed)?);
        if job.set.trace.as_ref() == Some(&digest) {
            return Ok(None);
        }
        digests.push(digest);
    }
    let stored = job.set.trace.as_deref().unwrap_or("none");
    let place = trace_difference(job, &files);
    let place = place.map_or(String::new(), |place| format!("; the first difference is at {place}"));
    Ok(Some(Difference::Trace(format!(
        "{}: trace: the store has SHA-256 {stored}, run again it is {}{place}",
        describe(key, "twins"),
        digests.join(" or, in layout 1, ")
    ))))
}

/// Returns the first figure of a set that differs from the second run's.
fn figure_that_differs(set: &StoredSet, results: &[EpisodeResult]) -> Option<String> {
    for result in results {
        let arm = result.arm.as_str();
        let what = describe(set.key, arm);
        let Some(stored) = set.episodes.iter().find(|one| one.arm == arm) else {
            return Some(format!("{what}: arm: is in the plan and not in the store"));
        };
        if let Some(one) = differences(&stored.text, result).into_iter().next() {
            let (field, stored, found) = (one.field, one.stored, one.found);
            return Some(format!("{what}: {field}: the store has {stored}, run again it is {found}"));
        }
    }
    let known = |arm: &str| results.iter().any(|result| result.arm == *arm);
    let other = set.episodes.iter().find(|one| !known(&one.arm))?;
    Some(format!("{}: arm: is in the store and not in the plan", describe(set.key, &other.arm)))
}

/// Returns where the trace on disk first differs from the second run's, if that trace exists and is readable.
fn trace_difference(job: &Job<'_>, files: &[TraceFile]) -> Option<String> {
    let bytes = read_trace(job.folder, job.set.key, job.set.trace.as_deref()?).ok()?;
    let stored = TraceFile::read(bytes).ok()?;
    files.iter().find(|file| file.layout() == stored.layout())?.first_difference(&stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_drawn_by_the_seed_alone_and_each_once() {
        let drawn = draw(5, 700, 1);
        assert_eq!(drawn.len(), 5);
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.iter().all(|place| *place < 700));
        assert_eq!(draw(5, 700, 1), drawn);
        assert_ne!(draw(5, 700, 2), drawn);
        assert_eq!(draw(9, 3, 1), [0, 1, 2]);
        assert!(draw(0, 3, 1).is_empty() && draw(3, 0, 1).is_empty());
        let mut met = [0_u32; 10];
        (0..1000).flat_map(|seed| draw(2, 10, seed)).for_each(|place| met[place] += 1);
        assert!(met.iter().all(|count| (140..260).contains(count)), "{met:?}");
    }
}
