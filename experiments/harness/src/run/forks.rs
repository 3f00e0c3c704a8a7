//! Collects rollouts of the weak policy with the counterfactual branches from their boundaries.

use aegis_core::EpisodeKey;
use aegis_probe::forks::{Branch, EpisodeForks, Fork};
use aegis_probe::rollout::Rollout;

use crate::episode::context::{EpisodeContext, EpisodeSettings};
use crate::episode::counterfactual::{Counterfactuals, run_counterfactuals};
use crate::episode::outcome::EpisodeResult;
use crate::run::rollouts::{Tap, check_finite};
use crate::run::runner::{Progress, RunError, SetupError, describe, parallel};

/// Receiver of each episode's rollout and forks as soon as they are finished.
pub type Keep<'a> = dyn Fn(&Rollout, &EpisodeForks) -> Result<(), RunError> + Sync + 'a;

/// Runs every key's weak episode, as [`rollouts`](crate::run::rollouts::rollouts) does, and the branches from its boundaries: from at
/// most `most` of them in each episode, or from all. The risk is kept where the context's probe is `fitted`.
///
/// # Errors
/// [`RunError`]. Episodes that were kept before the error stay kept.
pub fn forked_rollouts(
    keys: &[EpisodeKey],
    workers: usize,
    settings: &EpisodeSettings,
    (most, is_fitted): (Option<u32>, bool),
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
    keep: &Keep<'_>,
) -> Result<(), RunError> {
    let settings = EpisodeSettings { ask_strong: true, ..settings.clone() };
    parallel(keys, workers, open, progress, |context, key| {
        let mut tap = Tap::default();
        let failed = |source| RunError::Job { what: describe(*key, "weak, with forks"), source };
        let found = run_counterfactuals(context, *key, &settings, most, &mut tap).map_err(failed)?;
        let EpisodeResult { success, steps, disturbance, .. } = found.weak;
        let rollout = Rollout { key: *key, success, steps, disturbance, boundaries: tap.boundaries };
        check_finite(&rollout).map_err(failed)?;
        keep(&rollout, &forks(&found, is_fitted))
    })?;
    Ok(())
}

/// Returns the row of each boundary from which branches began.
pub fn forks(found: &Counterfactuals, is_fitted: bool) -> EpisodeForks {
    let Counterfactuals { weak, branches, candidates } = found;
    let branch = |result: &EpisodeResult| Branch {
        success: result.success,
        steps: result.steps,
        strong_steps: result.strong_steps,
    };
    let score = |step: u32| weak.scores.get((step / weak.chunk_steps) as usize).copied().flatten();
    let rows = branches.iter().map(|one| Fork {
        step: one.step,
        risk: score(one.step).filter(|_| is_fitted),
        inclusion: branches.len() as f64 / *candidates as f64,
        hold: branch(&one.hold),
        take_over: branch(&one.take_over),
    });
    EpisodeForks { key: weak.key, success: weak.success, steps: weak.steps, forks: rows.collect() }
}
