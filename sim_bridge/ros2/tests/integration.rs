//! Every integration test of this crate.

mod messages;
