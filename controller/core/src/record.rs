//! Records of an episode: one per chunk boundary and one per control step.
//! A recorder receives records and returns nothing to the control loop.

use crate::{Chunk, Decision, Driver, Observation};

/// Record of one chunk boundary: the chunks that both policies proposed, and the gate's decision.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkRecord {
    /// Control step at which the chunk starts.
    pub step: u32,
    /// The decision: score, thresholds and the resulting driver.
    pub decision: Decision,
    /// Predicted benefit of a hold; `None` where the probe has no benefit head.
    pub benefit: Option<f64>,
    /// The weak policy's pooled activation, as the probe read it, `[width]`.
    pub pooled: Vec<f64>,
    /// The weak policy's chunk; the weak policy runs in shadow while the strong policy drives.
    pub weak: Chunk,
    /// The strong policy's chunk, where the strong policy was asked.
    pub strong: Option<Chunk>,
}

/// Record of one control step, after the step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord<'a> {
    /// Control step within the episode, from zero.
    pub step: u32,
    /// Policy whose action was sent.
    pub driver: Driver,
    /// The action sent.
    pub action: &'a [f32],
    /// Observation after the step.
    pub observation: &'a Observation,
    /// Whether the task's goal holds after the step.
    pub success: bool,
}

/// Receiver of an episode's records.
pub trait Recorder {
    /// Called at every chunk boundary, before the chunk's first action is sent.
    fn chunk(&mut self, record: &ChunkRecord);

    /// Called after every control step.
    fn step(&mut self, record: &StepRecord<'_>);

    /// Called with the digest of all states of the plant so far: at every chunk boundary before [`chunk`](Self::chunk),
    /// and after every control step before [`step`](Self::step). The default implementation ignores the digest.
    fn state_path(&mut self, _digest: [u8; 16]) {}
}

/// Recorder that discards every record.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn chunk(&mut self, _: &ChunkRecord) {}

    fn step(&mut self, _: &StepRecord<'_>) {}
}
