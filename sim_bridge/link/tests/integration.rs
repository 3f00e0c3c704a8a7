//! All integration tests of the link, in one program.

mod host;
mod loopback;
mod support;
mod vectors;
mod wire;
