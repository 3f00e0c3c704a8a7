//! Every integration test of the statistics, in one program.

mod bootstrap;
mod common;
mod computed;
mod exact;
mod reference;
mod twins;
