//! Functional core of AEGIS: decides which policy drives, and records why.
//! Values in, values out: no clock, no I/O, no async, no global state.
//!
//! Data flows in one direction: observation → policy → activation → score → decision → action → record.
//!
//! ```
//! use aegis_core::gate::{BudgetUnit, Gate, GateLimits};
//! use aegis_core::{Driver, Score, Thresholds};
//!
//! let limits = GateLimits {
//!     return_chunks: 1,
//!     guard_fraction: 0.1,
//!     budget_fraction: 0.1,
//!     budget_unit: BudgetUnit::Chunks,
//!     duty_cap: 0.5,
//!     hold_chunks: 2,
//!     whole_holds: false,
//!     horizon_steps: 100,
//!     chunk_steps: 10,
//! };
//! let mut gate = Gate::new(limits, Thresholds { fire: 0.8, hand_back: 0.3 })?;
//! assert_eq!(gate.boundary(0, Score::new(0.9)).driver, Driver::Weak, "the guard forbids fires");
//! assert_eq!(gate.boundary(10, Score::new(0.9)).driver, Driver::Strong);
//! # Ok::<(), aegis_core::gate::GateError>(())
//! ```

pub mod arbiter;
pub mod control;
pub mod disturbance;
mod episode_key;
pub mod feature;
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
pub use disturbance::Disturbance;
pub use episode_key::EpisodeKey;
pub use feature::{ActionChannel, Feature, Schema};
pub use gate::{Decision, Gate, GateLimits};
pub use observation::{Frame, Observation, Pose};
pub use platt::PlattScaling;
pub use policy::{
    Activation, Chunk, Executing, Inference, Plant, PlantError, Policy, PolicyError, Saved, Standstill,
    Start, Transition,
};
pub use probe::{BenefitHead, HeadKind, Heads, Memory, Probe, Score};
pub use record::{ChunkRecord, Recorder, StepRecord};
pub use trigger::{Driver, Evidence, Readings, Rule, Signal, Thresholds, Trigger};
