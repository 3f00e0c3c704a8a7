//! Harness for paired experiments: runs the arms of one start on common random numbers, compares the twins, and
//! measures how often the gate recovers an episode that the weak policy fails. Plants and policies are trait objects;
//! this crate depends on no simulator and on no inference engine.
//!
//! ```
//! use aegis_core::Start;
//! use aegis_experiments::plan::StateRange;
//!
//! // The sets of twins of two tasks on initial states 3 and 4, twice each.
//! let range = StateRange { first: 3, end: 5, replicates: 2 };
//! let keys = range.keys(0..2);
//! assert_eq!(keys.len(), 8);
//! assert_eq!(keys[0].start, Start { task: 0, initial_state: 3 });
//! ```

pub mod arm;
pub mod collection;
pub mod demonstrations;
pub mod episode;
pub mod episode_context;
mod episode_state;
pub mod experiment;
pub mod figures;
pub use aegis_files as files;
pub mod fork;
pub mod key;
pub mod merge;
pub mod origin;
pub mod origin_file;
pub mod outcome;
mod parquet_file;
pub mod plan;
pub mod power;
pub mod precondition;
pub mod probe;
pub mod ran_under;
pub mod registration;
pub mod report;
pub mod rerun;
pub mod rollout;
pub mod rollout_file;
pub mod rollouts;
pub mod runner;
pub mod sensor;
pub mod store;
pub mod streams;
pub mod study;
pub mod summary;
pub mod text;
pub mod trace;
pub mod twins;

pub use arm::{Arm, ArmName, Drive};
pub use episode::run_episode;
pub use episode_context::{EpisodeContext, EpisodeError, EpisodeSettings};
pub use key::EpisodeKey;
pub use outcome::EpisodeResult;
pub use streams::Streams;
