//! All integration tests of the core, in one program.

mod calibrate;
mod cameras;
mod chunks;
mod control;
mod control_properties;
mod gate;
mod gate_exhaustive;
mod no_alloc;
mod operator;
mod random_faults;
mod support;
mod trigger;
