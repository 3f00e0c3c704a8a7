//! The arms: who has authority over an episode, as one pure object behind the loop.
//! `Gated` consults the gate; the others never hand over.

use crate::{Decision, Driver, Gate, Score, Thresholds};

/// Who may drive.
#[derive(Clone, Debug, PartialEq)]
pub enum Authority {
    /// The weak policy drives from start to end.
    WeakOnly,
    /// The strong policy drives from start to end.
    StrongOnly,
    /// The weak policy drives until the gate hands over.
    Gated(Gate),
}

/// Decides who drives each chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Arbiter {
    authority: Authority,
}

impl Arbiter {
    /// An arbiter at the start of an episode.
    pub fn new(authority: Authority) -> Self {
        Self { authority }
    }

    /// Decides who drives the chunk that starts at control step `step`, given the weak policy's score there.
    pub fn boundary(&mut self, step: u32, score: Score) -> Decision {
        let fixed = |driver| Decision {
            driver,
            score,
            thresholds: Thresholds { fire: f64::INFINITY, hand_back: f64::INFINITY },
            guarded: false,
            fired: false,
            handed_over: false,
            budget_left: 0,
        };
        match &mut self.authority {
            Authority::WeakOnly => fixed(Driver::Weak),
            Authority::StrongOnly => fixed(Driver::Strong),
            Authority::Gated(gate) => gate.boundary(step, score),
        }
    }
}
