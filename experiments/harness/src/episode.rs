//! Functions that run one episode of one arm. The control loop itself is in `episode_state.rs`.

use aegis_core::Recorder;

use crate::arm::Arm;
use crate::episode_context::{EpisodeContext, EpisodeError, EpisodeSettings, EpisodeTiming};
use crate::episode_state::{BoundaryHook, EpisodeState};
use crate::key::EpisodeKey;
use crate::outcome::EpisodeResult;

/// Runs one episode of one arm from the reset to its end.
pub fn run_episode(
    context: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
) -> Result<(EpisodeResult, EpisodeTiming), EpisodeError> {
    run_watched(context, arm, key, settings, recorder, &mut |_, _| Ok(()))
}

/// Runs one episode like [`run_episode`], and calls `at_boundary` at every boundary.
pub(crate) fn run_watched(
    context: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
    at_boundary: &mut BoundaryHook<'_>,
) -> Result<(EpisodeResult, EpisodeTiming), EpisodeError> {
    let arbiter = arm.arbiter(&settings.gate)?;
    let mut timing = EpisodeTiming::default();
    let state = EpisodeState::begin(context, arm.name.clone(), key, settings)?;
    let result = state.finish(context, arbiter, settings, recorder, &mut timing, at_boundary)?;
    Ok((result, timing))
}
