//! The functional core of AEGIS: who drives, and why.
//! Values in, values out: no clock, no I/O, no async, no global state.
//!
//! Data goes one way round: observation → policy → activation → score → decision → action → record.

pub mod arbiter;
pub mod conformal;
pub mod gate;
pub mod observation;
pub mod policy;
pub mod probe;
pub mod record;
pub mod scene;

pub use arbiter::{Arbiter, Authority};
pub use conformal::FunctionalBand;
pub use gate::{Decision, Driver, Gate, GateLimits, Thresholds};
pub use observation::{Frame, ObjectPose, Observation, Pose, Proprioception};
pub use policy::{Activation, Chunk, Inference, Plant, PlantError, Policy, PolicyError, Start, Transition};
pub use probe::{HeadKind, Memory, Probe, Score};
pub use record::{ChunkRecord, Recorder, StepRecord};
