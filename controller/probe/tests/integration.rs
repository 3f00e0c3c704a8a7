//! All integration tests of the probe crate, in one program.

mod conformal;
mod foreign_activations;
mod foreign_file;
mod foreign_rollouts;
mod heads;
mod no_alloc;
mod probe;
