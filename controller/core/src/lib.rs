//! The functional core of AEGIS: who drives, and why.
//! Values in, values out: no clock, no I/O, no async, no global state.
//!
//! Data goes one way round: observation → policy → activation → score → decision → action → record.

pub mod arbiter;
pub mod conformal;
pub mod control;
pub mod gate;
mod limits;
pub mod observation;
pub mod platt;
pub mod policy;
pub mod probe;
pub mod record;
pub mod scene;
pub mod serde_nonfinite;
pub mod trigger;

pub use arbiter::{Arbiter, Authority};
pub use conformal::FunctionalBand;
pub use gate::{Decision, Gate, GateLimits};
pub use observation::{Frame, ObjectPose, Observation, Pose, Proprioception};
pub use platt::PlattScaling;
pub use policy::{
    Activation, Chunk, Inference, Plant, PlantError, Policy, PolicyError, Saved, Start, Transition,
};
pub use probe::{HeadKind, Memory, Probe, Score};
pub use record::{ChunkRecord, Recorder, StepRecord};
pub use trigger::{Driver, Evidence, Rule, Signal, Thresholds, Trigger};
