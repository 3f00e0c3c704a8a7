//! What the loop leaves behind: one record per chunk boundary and one per control step.
//! A recorder only listens; nothing flows back from it.

use crate::{Chunk, Decision, Driver, Observation};

/// One chunk boundary: what both policies proposed and what the gate decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkRecord {
    /// Control step at which the chunk starts.
    pub step: u32,
    /// Score, limits and the resulting driver.
    pub decision: Decision,
    /// The weak policy's activation, pooled: what the probe read.
    pub pooled: Vec<f64>,
    /// The weak policy's proposal; it runs in shadow while the strong policy drives.
    pub weak: Chunk,
    /// The strong policy's proposal, where it was asked.
    pub strong: Option<Chunk>,
}

/// One control step, after it was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord<'a> {
    /// Control step within the episode, from zero.
    pub step: u32,
    /// Whose action it was.
    pub driver: Driver,
    /// The action sent.
    pub action: &'a [f32],
    /// What the plant showed after the step.
    pub observation: &'a Observation,
    /// Whether the goal holds after the step.
    pub success: bool,
}

/// Listens to an episode.
pub trait Recorder {
    /// Called at every chunk boundary, before its first action is sent.
    fn chunk(&mut self, record: &ChunkRecord);

    /// Called after every control step.
    fn step(&mut self, record: &StepRecord<'_>);

    /// Called with the digest of every state that the plant has been in so far: at every chunk boundary before
    /// [`chunk`](Self::chunk), and after every control step before [`step`](Self::step). Ignored where not overridden.
    fn state_path(&mut self, _digest: [u8; 16]) {}
}

/// Records nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn chunk(&mut self, _: &ChunkRecord) {}

    fn step(&mut self, _: &StepRecord<'_>) {}
}
