//! Episodes: random streams, the control loop (`state.rs`), forks, twins and counterfactual branches. This file runs one episode of one arm from reset to end.

pub mod arm;
pub mod context;
pub mod counterfactual;
pub mod figures;
pub mod fork;
pub mod outcome;
mod saved_point;
mod state;
pub mod streams;
pub mod twins;

use aegis_core::Recorder;

use crate::episode::arm::Arm;
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings, EpisodeTiming};
use crate::episode::outcome::EpisodeResult;
use crate::episode::state::{BoundaryHook, EpisodeState};
use aegis_core::EpisodeKey;

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
