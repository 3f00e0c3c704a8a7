//! All integration tests of the simulator, in one program.

mod cameras;
mod disturbance;
mod goal;
mod osc;
mod parity;
mod plant;
mod snapshot;
mod starts;
mod support;
