//! Paired episodes on common random numbers: run them, compare twins, count what was recovered.
//! Plants and policies come in as trait objects; this crate knows no simulator and no inference engine.

pub mod arm;
pub mod collection;
pub mod demonstrations;
pub mod episode;
mod episode_state;
pub mod experiment;
pub mod figures;
pub use aegis_files as files;
pub mod fork;
pub mod key;
pub mod merge;
pub mod origin;
pub mod origin_file;
mod parquet_file;
pub mod plan;
pub mod power;
pub mod precondition;
pub mod probe;
pub mod ran_under;
pub mod registration;
pub mod report;
pub mod rerun;
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
pub use episode::{EpisodeContext, EpisodeError, EpisodeResult, EpisodeSettings, run_episode};
pub use key::EpisodeKey;
pub use streams::Streams;
