//! Settling of an object: how far it moves from its drawn position to rest, and when that deviates from the usual.
//! Pure; `sampler.rs` measures the values.

/// Maximum excess over the usual displacement in the plane, metres: about the radius of the smallest object.
pub const MAX_SHIFT: f64 = 0.03;
/// Maximum deviation from the usual drop, metres: beyond it the object rests on something else.
pub const MAX_DROP: f64 = 0.03;
/// Maximum excess over the usual tilt, radians: more than a rim or an edge under one side causes.
pub const MAX_TILT: f64 = 0.5;
/// Speed above which an object is not at rest, metres per second.
pub const MAX_SPEED: f64 = 0.05;

/// Displacement of an object from its drawn pose after settling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settling {
    /// Displacement in the horizontal plane, metres.
    pub shift: f64,
    /// Displacement downwards, metres.
    pub drop: f64,
    /// Angle between the object's upward direction as drawn and after settling, radians.
    pub tilt: f64,
    /// Speed after settling, metres per second.
    pub speed: f64,
}

impl Settling {
    /// Returns whether the object settled differently from `usual` beyond the limits, or kept moving.
    pub fn fell(&self, usual: &Self) -> bool {
        self.shift > usual.shift + MAX_SHIFT
            || (self.drop - usual.drop).abs() > MAX_DROP
            || self.tilt > usual.tilt + MAX_TILT
            || self.speed > MAX_SPEED
    }
}
