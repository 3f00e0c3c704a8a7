//! Collects rollouts of the weak policy alone, as a probe and its baselines read them: one entry for each boundary.
//! Both policies' chunks are kept, so that rules that read no activation can be compared on the same episodes.

use aegis_core::{ChunkRecord, Driver, PolicyError, Recorder, StepRecord};

use crate::episode::arm::Arm;
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings};
use crate::episode::outcome::EpisodeResult;
use crate::episode::run_episode;
use crate::run::runner::{Progress, RunError, SetupError, describe, parallel};
use aegis_core::EpisodeKey;
use aegis_probe::rollout::{Boundary, Chunks, Rollout};

/// Runs the weak policy alone on every key, with the strong policy inferring in shadow. `keep` is called with each
/// rollout as soon as it is finished.
pub fn rollouts(
    keys: &[EpisodeKey],
    workers: usize,
    settings: &EpisodeSettings,
    open: &(dyn Fn(usize) -> Result<EpisodeContext, SetupError> + Sync),
    progress: &(dyn Fn(Progress<'_>) + Sync),
    keep: &(dyn Fn(&Rollout) -> Result<(), RunError> + Sync),
) -> Result<Vec<Rollout>, RunError> {
    let settings = EpisodeSettings { ask_strong: true, ..settings.clone() };
    parallel(keys, workers, open, progress, |context, key| {
        let mut tap = Tap::default();
        let result = run_episode(context, &Arm::weak(), *key, &settings, &mut tap);
        let (result, _) = result.map_err(|source| RunError::Job { what: describe(*key, "weak"), source })?;
        let EpisodeResult { key, success, steps, disturbance, .. } = result;
        let rollout = Rollout { key, success, steps, disturbance, boundaries: tap.boundaries };
        check_finite(&rollout).map_err(|source| RunError::Job { what: describe(key, "weak"), source })?;
        keep(&rollout)?;
        Ok(rollout)
    })
}

/// Refuses activations that are not finite: a gate treats them as the highest risk, but no probe can be fitted on them.
pub(super) fn check_finite(rollout: &Rollout) -> Result<(), EpisodeError> {
    let wrong = rollout.boundaries.iter().find_map(|boundary| {
        Some((boundary.step, boundary.features.iter().position(|value| !value.is_finite())?))
    });
    let Some((step, index)) = wrong else { return Ok(()) };
    let what = format!("activation at control step {step}, pooled over its tokens");
    Err(EpisodeError::Policy { driver: Driver::Weak, source: PolicyError::NotFinite { what, index } })
}

/// Recorder of the boundaries of a weak episode in which the strong policy infers in shadow.
#[derive(Default)]
pub(super) struct Tap {
    pub(super) boundaries: Vec<Boundary>,
}

impl Recorder for Tap {
    fn chunk(&mut self, record: &ChunkRecord) {
        // The strong policy infers at every boundary; see `ask_strong`.
        let Some(strong) = record.strong.clone() else { return };
        let (step, features) = (record.step, record.pooled.clone());
        let chunks = Some(Chunks { weak: record.weak.clone(), strong });
        self.boundaries.push(Boundary { step, features, chunks });
    }

    fn step(&mut self, _: &StepRecord<'_>) {}
}
