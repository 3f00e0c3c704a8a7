//! Runs of many episodes: worker threads, rollouts with or without forks, demonstrations, the sets of a registered study, and their repetition.

pub mod collection;
pub mod demonstrations;
pub mod experiment;
pub mod fork_files;
pub mod forks;
pub mod precondition;
pub mod ran_under;
pub mod rerun;
pub mod rollouts;
pub mod runner;
