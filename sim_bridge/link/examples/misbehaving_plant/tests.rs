//! Unit tests of the misbehaving plant's modules, as a separate test program. An example with `test = true` is compiled
//! only as its tests, so `cargo test` would not build the program that integration tests start.
#![allow(dead_code, reason = "main.rs, which is left out here, uses the rest")]

mod arguments;
mod body;
mod cameras;
mod clock;
mod delay;
mod faults;
mod journal;
mod robot;
mod scene;
