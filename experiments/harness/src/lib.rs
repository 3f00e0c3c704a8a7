//! Harness for paired experiments: runs the arms of one start on common random numbers, compares the twins, and
//! measures how often the gate recovers an episode that the weak policy fails. Plants and policies are trait objects;
//! this crate depends on no simulator and on no inference engine.
//!
//! ```
//! use aegis_core::Start;
//! use aegis_probe::StateRange;
//!
//! // The sets of twins of two tasks on initial states 3 and 4, twice each.
//! let range = StateRange { first: 3, end: 5, replicates: 2 };
//! let keys = range.keys(0..2);
//! assert_eq!(keys.len(), 8);
//! assert_eq!(keys[0].start, Start { task: 0, initial_state: 3 });
//! ```

pub mod data;
pub mod episode;
pub mod field;
pub mod forks;
mod markdown;
pub mod paired;
pub mod plan;
pub mod report;
pub mod run;

pub use episode::arm::{Arm, ArmName, Drive};
pub use episode::context::{EpisodeContext, EpisodeError, EpisodeSettings};
pub use episode::outcome::EpisodeResult;
pub use episode::run_episode;
pub use episode::streams::Streams;
