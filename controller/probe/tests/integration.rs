//! All integration tests of the probe crate, in one program.

mod benefit;
mod benefit_evaluation;
mod conformal;
mod foreign_activations;
mod foreign_file;
mod foreign_rollouts;
mod forked;
mod heads;
mod no_alloc;
mod probe;
