//! Files of a study: plans and locks, the store of results, the traces of episodes, and the merging of stores.

pub mod lock_file;
pub mod merge;
mod plan_file;
mod served_suite_file;
pub mod store;
pub mod trace;
