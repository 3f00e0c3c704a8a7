//! Unit tests of the misbehaving plant's parts, in a test program of their own: an example with `test = true` is compiled
//! as its tests alone, and `cargo test` would leave the program out that integration tests start.
#![allow(dead_code, reason = "main.rs, which is left out here, uses the rest")]

mod arguments;
mod body;
mod clock;
mod delay;
mod faults;
mod journal;
mod robot;
mod scene;
