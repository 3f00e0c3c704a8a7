//! Snapshots: the complete state of an episode, from which it can continue later, in another plant of the same suite or
//! on another thread. Continuing from a snapshot is bitwise equal to an uninterrupted episode.

use aegis_core::Disturbance;

use crate::binding::Memory;
use crate::camera::DrawnState;
use crate::integration::Integration;

/// State of an episode between two control steps: MuJoCo's integration state, the controller's state, and the
/// episode's disturbance.
///
/// A snapshot has a few kilobytes, so one can be kept for every chunk boundary. It can be shared or sent between threads,
/// and any number of plants can continue from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub(crate) task: usize,
    /// State from which the last forward pass was computed. Poses and contacts follow from it, one physics step before
    /// `state`.
    pub(crate) last_pass: Integration,
    pub(crate) state: Integration,
    pub(crate) memory: Memory,
    pub(crate) start_time: f64,
    pub(crate) step: u32,
    pub(crate) disturbance: Option<Disturbance>,
    pub(crate) seen: DrawnState,
}

impl Snapshot {
    /// Returns the number of control steps that the episode had made.
    pub fn step(&self) -> u32 {
        self.step
    }
}
