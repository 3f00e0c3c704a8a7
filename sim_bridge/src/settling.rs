//! How an object comes to rest from where it was placed, and when that is not how it usually does.
//! Pure; `sampler.rs` measures it.

/// Metres in the plane that an object may settle farther than usual: about the radius of the smallest one.
pub const MAX_SHIFT: f64 = 0.03;
/// Metres that it may come to rest above or below the usual height over its place: it is then on something else.
pub const MAX_DROP: f64 = 0.03;
/// Radians that it may tip over more than usual: past what a rim or an edge under one side does.
pub const MAX_TILT: f64 = 0.5;
/// Metres per second at which an object is not at rest.
pub const MAX_SPEED: f64 = 0.05;

/// How far an object is from its place after it settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settling {
    /// Metres in the plane.
    pub shift: f64,
    /// Metres downwards.
    pub drop: f64,
    /// Radians between what was up in the object's frame and what is now.
    pub tilt: f64,
    /// Metres per second.
    pub speed: f64,
}

impl Settling {
    /// Whether it settled otherwise than it usually does, or kept moving.
    pub fn fell(&self, usual: &Self) -> bool {
        self.shift > usual.shift + MAX_SHIFT
            || (self.drop - usual.drop).abs() > MAX_DROP
            || self.tilt > usual.tilt + MAX_TILT
            || self.speed > MAX_SPEED
    }
}
