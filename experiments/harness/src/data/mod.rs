//! Files of a study: plans and locks, the log of a field trial, the store of results, the traces of episodes, and the merging of stores.

pub mod field_log;
pub mod lock_file;
pub mod merge;
mod plan_file;
mod served_suite_file;
pub mod store;
pub mod trace;
