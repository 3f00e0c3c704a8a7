//! All integration tests of the core, in one program.

mod calibrate;
mod conformal;
mod control;
mod control_properties;
mod gate;
mod gate_exhaustive;
mod heads;
mod no_alloc;
mod probe;
mod random_faults;
mod support;
mod trigger;
