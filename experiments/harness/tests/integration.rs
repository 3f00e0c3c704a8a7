//! Every integration test of the harness, in one program.

mod collection;
mod error_rates;
mod experiment;
mod forks;
mod integrity;
mod power;
mod registration;
mod report;
mod study;
mod support;
mod toy;
