//! Twins that do not run the same steps twice: each goes on from the weak arm's snapshot where it first hands over.
//! What an arm decides up to there follows from what was read on the weak path, so nothing before has to be run.

use aegis_core::trigger::chunk_disagreement;
use aegis_core::{Arbiter, ChunkRecord, Driver, Recorder, Saved, Score, StepRecord};
use rand::RngExt;

use crate::arm::{Arm, Drive};
use crate::episode::{
    EpisodeContext, EpisodeError, EpisodeResult, EpisodeSettings, EpisodeTiming, run_episode, run_watched,
};
use crate::episode_state::{EpisodeState, StatePath};
use crate::key::EpisodeKey;
use crate::trace::TwinRecorder;
use crate::twins;

/// One arm's episode: what it came to and how long its inferences took.
pub type Twin = (EpisodeResult, EpisodeTiming);

/// Runs the twins of one key: the first arm, which is the weak one, then the others in their order.
///
/// With [`EpisodeSettings::fork`] and a plant that can save itself, an arm runs only from its first hand-over on; an
/// arm that never hands over is its weak twin. The results are the same either way, which `twins` checks as far as
/// digests of the state path show it.
///
/// # Errors
/// [`EpisodeError::Twins`] where an arm parts from the weak one before it hands over, and what running reports.
pub fn run_twins(
    parties: &mut EpisodeContext,
    arms: &[Arm],
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorders: &mut dyn TwinRecorder,
) -> Result<Vec<Twin>, EpisodeError> {
    let mut done: Vec<Twin> = Vec::with_capacity(arms.len());
    let Some((first, others)) = arms.split_first() else { return Ok(done) };
    // Arms that read the distance between both policies need it on the weak path too.
    let mut weak_settings = settings.clone();
    for arm in others.iter().filter(|arm| !arm.is_drawn()) {
        weak_settings.ask_strong |= arm.arbiter(&settings.gate)?.needs_disagreement();
    }
    let (weak, trail) = step_to(parties, first, key, &weak_settings, recorders.arm(&first.name))?;
    done.push(weak);
    for arm in others {
        let drawn = draw(arm, done.iter().map(|(twin, _)| twin), key, settings)?;
        // An arm of the weak policy alone is there to show that two runs are equal, so it is run.
        let twin = if drawn.drive != Drive::Weak && trail.is_whole() {
            trail.fork(parties, &drawn, &done[0].0, settings, recorders)?
        } else {
            run_episode(parties, &drawn, key, settings, recorders.arm(&arm.name))?
        };
        twins::check(&done[0].0, &twin.0)?;
        done.push(twin);
    }
    Ok(done)
}

/// The stream that says in which episodes an arm with a share obeys its rule. One for all such arms, so that of two shares
/// the larger one takes in the episodes of the smaller.
const SHARE: &str = "share";

/// The arm as it runs one episode: what is yoked to one of `twins` has its fires drawn, what obeys its rule in a share of the
/// episodes whether it does in this one.
///
/// # Errors
/// [`EpisodeError::Draw`] where there is no room for them.
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
    if matches!(arm.drive, Drive::StateRange { .. }) {
        return Ok(arm.shared(settings.streams.at(key, SHARE, 0).random()));
    }
    let mut generator = settings.streams.at(key, &format!("arm/{}", arm.name), 0);
    Ok(arm.yoked(fires, &settings.gate, &mut generator)?)
}

/// The weak arm, with a point to go on from at each boundary.
fn step_to(
    parties: &mut EpisodeContext,
    arm: &Arm,
    key: EpisodeKey,
    settings: &EpisodeSettings,
    recorder: &mut dyn Recorder,
) -> Result<(Twin, WeakTrajectory), EpisodeError> {
    let mut points = Vec::new();
    let mut keep = |course: &EpisodeState, parties: &EpisodeContext| {
        if settings.fork {
            points.extend(parties.plant.save()?.map(|saved| (saved, course.clone())));
        }
        Ok(())
    };
    let mut reader = Reader { readings: Vec::new(), recorder };
    let weak = run_watched(parties, arm, key, settings, &mut reader, &mut keep)?;
    Ok((weak, WeakTrajectory { points, readings: reader.readings }))
}

/// Where the weak arm stood at each boundary, and what was read there.
struct WeakTrajectory {
    points: Vec<(Saved, EpisodeState)>,
    readings: Vec<Reading>,
}

#[derive(Clone, Copy)]
struct Reading {
    step: u32,
    score: Score,
    distance: Option<f64>,
}

impl WeakTrajectory {
    /// Whether every boundary can be gone on from.
    fn is_whole(&self) -> bool {
        self.points.len() == self.readings.len()
    }

    fn fork(
        &self,
        parties: &mut EpisodeContext,
        arm: &Arm,
        weak: &EpisodeResult,
        settings: &EpisodeSettings,
        recorders: &mut dyn TwinRecorder,
    ) -> Result<Twin, EpisodeError> {
        let mut timing = EpisodeTiming::default();
        let mut arbiter = arm.arbiter(&settings.gate)?;
        let mut fires = 0;
        recorders.arm(&arm.name);
        for (reading, (saved, course)) in self.readings.iter().zip(&self.points) {
            let before: Arbiter = arbiter.clone();
            let decision = arbiter.boundary(reading.step, reading.score, reading.distance);
            if decision.driver == Driver::Strong {
                let mut course = course.clone();
                course.observation = parties.plant.resume(saved)?;
                let mut here = StatePath::default();
                here.push(parties.plant.as_ref());
                if !here.stands_where(&course.path) {
                    return Err(EpisodeError::Fork { step: reading.step });
                }
                course.result.arm = arm.name.clone();
                course.result.fires = fires;
                let recorder = recorders.arm(&arm.name);
                let result =
                    course.finish(parties, before, settings, recorder, &mut timing, &mut |_, _| Ok(()))?;
                return Ok((result, timing));
            }
            if decision.fired {
                fires += 1;
                recorders.fired(reading.step);
            }
        }
        Ok((EpisodeResult { arm: arm.name.clone(), fires, ..weak.clone() }, timing))
    }
}

/// Notes what an arbiter would read, and hands everything on.
struct Reader<'a> {
    readings: Vec<Reading>,
    recorder: &'a mut dyn Recorder,
}

impl Recorder for Reader<'_> {
    fn chunk(&mut self, record: &ChunkRecord) {
        let distance =
            record.strong.as_ref().and_then(|strong| chunk_disagreement(&record.weak, strong).ok());
        self.readings.push(Reading { step: record.step, score: record.decision.score, distance });
        self.recorder.chunk(record);
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        self.recorder.step(record);
    }

    fn state_path(&mut self, digest: [u8; 16]) {
        self.recorder.state_path(digest);
    }
}
