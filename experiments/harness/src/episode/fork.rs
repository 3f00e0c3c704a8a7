//! Runs the twins of one key without running shared control steps twice: each arm resumes from the weak arm's saved
//! plant state at its own first hand-over. Until its first hand-over an arm decides on the same readings as
//! were recorded on the weak trajectory, so no earlier control step has to be run again.

use aegis_core::trigger::chunk_disagreement;
use aegis_core::{Arbiter, ChunkRecord, Driver, Readings, Recorder, StepRecord};
use rand::RngExt;

use crate::data::trace::TwinRecorder;
use crate::episode::arm::{Arm, Drive};
use crate::episode::context::{EpisodeContext, EpisodeError, EpisodeSettings, EpisodeTiming};
use crate::episode::outcome::EpisodeResult;
use crate::episode::saved_point::SavedPoint;
use crate::episode::state::EpisodeState;
use crate::episode::twins;
use crate::episode::{run_episode, run_watched};
use aegis_core::EpisodeKey;

/// One arm's episode: its result and its inference times.
pub type Twin = (EpisodeResult, EpisodeTiming);

/// Runs the twins of one key: first the weak arm, which is the first of `arms`, then the others in their order.
///
/// With [`EpisodeSettings::fork`] and a plant that can save its state, an arm runs only from its first hand-over on;
/// the result of an arm that never hands over is a copy of its weak twin's. The results are the same with and without
/// forking; `twins` checks this as far as the digests of the state path show it.
///
/// # Errors
/// [`EpisodeError::Twins`] where an arm differs from the weak one before it hands over, and any error of running an
/// episode.
pub fn run_twins(
    context: &mut EpisodeContext,
    arms: &[Arm],
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorders: &mut dyn TwinRecorder,
) -> Result<Vec<Twin>, EpisodeError> {
    let mut done: Vec<Twin> = Vec::with_capacity(arms.len());
    let Some((first, others)) = arms.split_first() else { return Ok(done) };
    // Arms whose rule reads the distance between both policies need that distance on the weak trajectory too.
    let mut weak_settings = settings.clone();
    for arm in others.iter().filter(|arm| !arm.is_drawn()) {
        weak_settings.ask_strong |= arm.arbiter(&settings.gate)?.needs_disagreement();
    }
    let (weak, trail) = step_to(context, first, key, &weak_settings, recorders.arm(&first.name))?;
    done.push(weak);
    for arm in others {
        let drawn = draw(arm, done.iter().map(|(twin, _)| twin), key, settings)?;
        // A second arm of the weak policy alone shows that two runs are equal, so that arm is always run in full.
        let twin = if drawn.drive != Drive::Weak && trail.is_whole() {
            trail.fork(context, &drawn, &done[0].0, settings, recorders)?
        } else {
            run_episode(context, &drawn, key, settings, recorders.arm(&arm.name))?
        };
        twins::check(&done[0].0, &twin.0)?;
        done.push(twin);
    }
    Ok(done)
}

/// Random stream that decides in which episodes an arm with a fraction obeys its rule. All such arms use the same
/// stream, so the episodes of the smaller of two fractions are contained in the episodes of the larger.
const SHARE: &str = "share";

/// Returns the arm as it runs one episode: for an arm yoked to one of `twins` the boundaries of its fires are drawn;
/// for an arm that obeys its rule in a fraction of the episodes, whether it obeys in this one.
///
/// # Errors
/// [`EpisodeError::Draw`] where the episode has too few boundaries for the fires.
pub fn draw<'a>(
    arm: &Arm,
    mut twins: impl Iterator<Item = &'a EpisodeResult>,
    key: EpisodeKey,
    settings: &EpisodeSettings,
) -> Result<Arm, EpisodeError> {
    let fires = match &arm.drive {
        Drive::Yoked(to) => twins.find(|twin| twin.arm == *to).map_or(0, |twin| twin.fires),
        _ => 0,
    };
    if matches!(arm.drive, Drive::Fraction { .. }) {
        return Ok(arm.shared(settings.streams.at(key, SHARE, 0).random()));
    }
    let mut generator = settings.streams.at(key, &format!("arm/{}", arm.name), 0);
    Ok(arm.yoked(fires, &settings.gate, &mut generator)?)
}

/// Runs the weak arm and saves the plant's state and the episode's state at each boundary.
fn step_to(
    context: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
) -> Result<(Twin, WeakTrajectory), EpisodeError> {
    let mut points = Vec::new();
    let mut keep = |state: &EpisodeState, context: &EpisodeContext| {
        // A policy with internal state would continue from its state in another arm.
        if settings.fork && !context.weak.remembers() && !context.strong.remembers() {
            points.extend(SavedPoint::of(state, context)?);
        }
        Ok(())
    };
    let mut reader = Reader { readings: Vec::new(), recorder };
    let weak = run_watched(context, arm, key, settings, &mut reader, &mut keep)?;
    Ok((weak, WeakTrajectory { points, readings: reader.readings }))
}

/// Saved states of the weak arm at each boundary, and the readings at each of them, by control step.
struct WeakTrajectory {
    points: Vec<SavedPoint>,
    readings: Vec<(u32, Readings)>,
}

impl WeakTrajectory {
    /// Returns whether an arm can resume from every boundary.
    fn is_whole(&self) -> bool {
        self.points.len() == self.readings.len()
    }

    fn fork(
        &self,
        context: &mut EpisodeContext,
        arm: &Arm,
        weak: &EpisodeResult,
        settings: &EpisodeSettings,
        recorders: &mut dyn TwinRecorder,
    ) -> Result<Twin, EpisodeError> {
        let mut timing = EpisodeTiming::default();
        let mut arbiter = arm.arbiter(&settings.gate)?;
        let mut fires = 0;
        recorders.arm(&arm.name);
        for ((step, readings), point) in self.readings.iter().zip(&self.points) {
            let before: Arbiter = arbiter.clone();
            let decision = arbiter.boundary(*step, *readings);
            if decision.driver == Driver::Strong {
                let mut state = point.resume(context)?;
                state.result.arm = arm.name.clone();
                state.result.fires = fires;
                let recorder = recorders.arm(&arm.name);
                let result =
                    state.finish(context, before, settings, recorder, &mut timing, &mut |_, _| Ok(()))?;
                return Ok((result, timing));
            }
            if decision.fired {
                fires += 1;
                recorders.fired(*step);
            }
        }
        Ok((EpisodeResult { arm: arm.name.clone(), fires, ..weak.clone() }, timing))
    }
}

/// Recorder that keeps the readings of each boundary and forwards every call.
struct Reader<'a> {
    readings: Vec<(u32, Readings)>,
    recorder: &'a mut dyn Recorder,
}

impl Recorder for Reader<'_> {
    fn chunk(&mut self, record: &ChunkRecord) {
        let distance =
            record.strong.as_ref().and_then(|strong| chunk_disagreement(&record.weak, strong).ok());
        let readings =
            Readings { score: record.decision.score, benefit: record.benefit, disagreement: distance };
        self.readings.push((record.step, readings));
        self.recorder.chunk(record);
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        self.recorder.step(record);
    }

    fn state_path(&mut self, digest: [u8; 16]) {
        self.recorder.state_path(digest);
    }
}
