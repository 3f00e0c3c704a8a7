//! Counterfactual branches of a weak episode. From the saved state at a boundary, the strong policy drives for one hold and then the
//! weak one to the end, and the strong policy drives to the end. Each branch equals, bit for bit, the episode of an arm that
//! hands over at this boundary, run from its start.

use aegis_core::record::NoRecorder;
use aegis_core::{EpisodeKey, GateLimits, Recorder, Rule, Score};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::episode::arm::{Arm, Drive};
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings, EpisodeTiming};
use crate::episode::outcome::EpisodeResult;
use crate::episode::run_watched;
use crate::episode::saved_point::SavedPoint;
use crate::episode::state::EpisodeState;

/// Name of the branch in which the strong policy drives for one hold.
const HOLD: &str = "hold";
/// Name of the branch in which the strong policy drives to the end.
const TAKE_OVER: &str = "take_over";
/// Random stream that draws the boundaries of an episode.
const BOUNDARIES: &str = "fork boundaries";

/// Both branches from one boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Branches {
    /// Control step of the boundary.
    pub step: u32,
    /// Episode in which the strong policy drives for one hold from this boundary on.
    pub hold: EpisodeResult,
    /// Episode in which the strong policy drives from this boundary to the end.
    pub take_over: EpisodeResult,
}

/// Weak episode with its branches.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterfactuals {
    /// Episode that the weak policy drives alone.
    pub weak: EpisodeResult,
    /// Branches, ascending by their boundary.
    pub branches: Vec<Branches>,
    /// Number of boundaries of the weak episode at which a gate may fire, whether a branch begins there or not.
    pub candidates: usize,
}

/// Returns the arm that hands over at one boundary for one hold, under [`single_hold_limits`].
pub fn single_hold(boundary: u32) -> Arm {
    Arm { name: HOLD.into(), drive: Drive::Rule(Rule::Random { boundaries: vec![boundary] }) }
}

/// Returns limits with the guard, the hold and the chunks of `limits`, under which one hold is neither prolonged by a calm count nor
/// prevented by budget or duty cap.
pub fn single_hold_limits(limits: &GateLimits) -> GateLimits {
    GateLimits { return_chunks: 0, budget_fraction: 1.0, duty_cap: 1.0, ..limits.clone() }
}

/// Returns the arm in which the strong policy drives from a control step to the end.
pub fn take_over(step: u32) -> Arm {
    Arm { name: TAKE_OVER.into(), drive: Drive::Rule(Rule::TakeOver { step }) }
}

/// Checks that a gate with these limits may fire at some boundary.
///
/// # Errors
/// [`EpisodeError::NeverFires`].
pub fn check_limits(limits: &GateLimits) -> Result<(), EpisodeError> {
    let mut boundaries = (0..limits.horizon_steps).step_by(limits.chunk_steps.max(1) as usize);
    if boundaries.any(|step| limits.may_fire_first_at(step)) { Ok(()) } else { Err(EpisodeError::NeverFires) }
}

/// Runs the weak policy alone, and from each boundary at which a gate that has not fired may fire both branches. `recorder` receives
/// the weak episode. With `most`, at most this many boundaries of the episode are drawn, each subset of this size with the same
/// probability, from a random stream of their own.
///
/// # Errors
/// [`EpisodeError::NoSnapshots`] for a plant that cannot save its state and for policies that remember, [`EpisodeError::NeverFires`],
/// and any error of running an episode.
pub fn run_counterfactuals(
    context: &mut EpisodeContext,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    most: Option<u32>,
    recorder: &mut dyn Recorder,
) -> Result<Counterfactuals, EpisodeError> {
    check_limits(&settings.gate)?;
    for (remembers, reason) in [
        (context.weak.remembers(), "the weak policy keeps a state"),
        (context.strong.remembers(), "the strong policy keeps a state"),
    ] {
        if remembers {
            return Err(EpisodeError::NoSnapshots(reason));
        }
    }
    let mut points: Vec<SavedPoint> = Vec::new();
    let mut keep = |state: &EpisodeState, context: &EpisodeContext| {
        let step = state.result.steps;
        // The first boundary tells whether the plant can save, before anything is run.
        if step > 0 && !settings.gate.may_fire_first_at(step) {
            return Ok(());
        }
        let saved = SavedPoint::of(state, context)?
            .ok_or(EpisodeError::NoSnapshots("the plant cannot save its state"))?;
        if settings.gate.may_fire_first_at(step) {
            points.push(saved);
        }
        Ok(())
    };
    let (weak, _) = run_watched(context, &Arm::weak(), key, settings, recorder, &mut keep)?;
    let candidates = points.len();
    let drawn = drawn(candidates, most, &mut settings.streams.at(key, BOUNDARIES, 0));
    // Branches need the strong policy's chunk only where it drives.
    let settings = EpisodeSettings { ask_strong: false, ..settings.clone() };
    let chosen = points.into_iter().zip(drawn).filter(|(_, is_drawn)| *is_drawn);
    let branches = chosen.map(|(point, _)| branches_at(&point, context, &settings));
    Ok(Counterfactuals { weak, branches: branches.collect::<Result<_, _>>()?, candidates })
}

/// Draws `most` of `count` places, or all of them; every choice is equally likely.
fn drawn(count: usize, most: Option<u32>, generator: &mut ChaCha8Rng) -> Vec<bool> {
    let mut wanted = most.map_or(count, |most| count.min(most as usize));
    let one = |place: usize| {
        // Of the places that are left, as many are still to be drawn as `wanted` says.
        let is_drawn = generator.random_range(0..(count - place) as u64) < wanted as u64;
        wanted -= usize::from(is_drawn);
        is_drawn
    };
    (0..count).map(one).collect()
}

/// Runs both branches from a saved boundary. The first hold is run once, because the branches share it.
fn branches_at(
    point: &SavedPoint,
    context: &mut EpisodeContext,
    settings: &EpisodeSettings,
) -> Result<Branches, EpisodeError> {
    let (step, chunk) = (point.step(), settings.gate.chunk_steps);
    let hold_ends = step.saturating_add(settings.gate.hold_steps());
    let mut after_hold = None;
    let mut keep = |state: &EpisodeState, context: &EpisodeContext| {
        if state.result.steps == hold_ends {
            after_hold = SavedPoint::of(state, context)?;
        }
        Ok(())
    };
    let arm = take_over(step);
    let mut state = point.resume(context)?;
    state.result.arm = arm.name.clone();
    let arbiter = arm.arbiter(&settings.gate)?;
    let mut timing = EpisodeTiming::default();
    let take_over = state.finish(context, arbiter, settings, &mut NoRecorder, &mut timing, &mut keep)?;

    let arm = single_hold(step / chunk);
    let Some(after_hold) = after_hold else {
        // The episode ended before the hold did, so both branches are the same episode.
        let hold = EpisodeResult { arm: arm.name, fires: 1, ..take_over.clone() };
        return Ok(Branches { step, hold, take_over });
    };
    let mut arbiter = arm.arbiter(&single_hold_limits(&settings.gate))?;
    // A schedule reads no score, so the gate can be brought to this boundary without the episode.
    for passed in (0..hold_ends).step_by(chunk as usize) {
        arbiter.boundary(passed, Score::new(0.0));
    }
    let mut state = after_hold.resume(context)?;
    state.result.arm = arm.name;
    state.result.fires = 1;
    let hold = state.finish(context, arbiter, settings, &mut NoRecorder, &mut timing, &mut |_, _| Ok(()))?;
    Ok(Branches { step, hold, take_over })
}
