//! Description of the placements at a reset, as in `task.json`: ranges, anchors, rotations and footprints.
//! Plain data; `placement.rs` draws from it.

use serde::Deserialize;

/// Description of the placements in `task.json`. Lengths are metres, angles radians, quaternions scalar first.
#[derive(Clone, Debug, Deserialize)]
pub struct PlacementsInfo {
    /// The arm's posture, one value per joint.
    pub arm: Vec<f64>,
    /// Standard deviation of the normal noise on each of the arm's joints.
    pub arm_noise_sd: f64,
    /// Finger positions.
    pub gripper: Vec<f64>,
    /// Joints of articulated objects that begin in a stated range.
    pub articulation: Vec<ArticulationInfo>,
    /// Fixtures and objects in the order in which upstream places them.
    pub sequence: Vec<StepInfo>,
}

/// One uniform draw that sets all joints of the list.
#[derive(Clone, Debug, Deserialize)]
pub struct ArticulationInfo {
    /// MuJoCo names.
    pub joints: Vec<String>,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A fixture or an object that occupies space.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepInfo {
    /// A fixture at its pose in the exported scene.
    Fixture {
        /// Name in the task description.
        name: String,
        /// Space that the fixture occupies.
        #[serde(flatten)]
        footprint: Footprint,
        /// Pose of the fixture.
        #[serde(flatten)]
        pose: PlacedPose,
    },
    /// An object whose position is drawn.
    Object(Box<ObjectPlacementInfo>),
}

/// The upright cylinder that represents an object in upstream's overlap check. Heights are from the object's origin.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Footprint {
    /// Radius.
    pub radius: f64,
    /// Height of the lower end.
    pub bottom: f64,
    /// Height of the upper end.
    pub top: f64,
}

/// Pose of a placed object or fixture, world frame.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct PlacedPose {
    /// `[3]`
    pub position: [f64; 3],
    /// `[4]`
    pub orientation: [f64; 4],
}

/// Description of how one object's pose is drawn.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectPlacementInfo {
    /// Name in the task description.
    pub name: String,
    /// Space that the object occupies.
    #[serde(flatten)]
    pub footprint: Footprint,
    /// Free joint of the object.
    pub joint: String,
    /// Rectangles around the anchor; one of them is drawn with equal probabilities.
    pub ranges: Vec<Rectangle>,
    /// Distance by which both ends of a range move inwards. The ends may cross; the range between them is then drawn from.
    pub inset: f64,
    /// Whether a position that overlaps an earlier footprint is refused.
    pub keep_clear: bool,
    /// Height above the anchor.
    pub z_offset: f64,
    /// Rotations in the order in which they are applied.
    pub turns: Vec<Turn>,
    /// Whether upstream passes MuJoCo the rotation's quaternion with the scalar last, where MuJoCo reads a vector component.
    pub scalar_last: bool,
    /// Anchor that the position is relative to.
    pub anchor: AnchorInfo,
}

/// Bounds of a position in the plane.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Rectangle {
    /// Lower and upper bound of x.
    pub x: [f64; 2],
    /// Lower and upper bound of y.
    pub y: [f64; 2],
}

/// A rotation about an axis by an angle that is drawn uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Turn {
    /// Axis of the rotation.
    pub axis: Axis,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A coordinate axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "there are three")]
pub enum Axis {
    X,
    Y,
    Z,
}

/// Anchor that a position is relative to.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnchorInfo {
    /// A point in the world frame, on a table or the floor.
    Point {
        /// `[3]`
        position: [f64; 3],
    },
    /// The top of an object or fixture placed earlier.
    Object {
        /// Name of the object or fixture.
        reference: String,
    },
    /// A site of an object or fixture placed earlier, raised by the height of its top.
    OnSite(SiteInfo),
    /// A site of an object or fixture placed earlier.
    InSite(SiteInfo),
}

/// A site, and the pose in the model, before anything is placed, of the object or fixture that carries it. Upstream takes
/// the site's world position from that pose and rotates it by the orientation of the placed object or fixture.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteInfo {
    /// Name of the object or fixture in the task description.
    pub reference: String,
    /// Body that carries the site.
    pub body: String,
    /// Name of the site.
    pub site: String,
    /// `[3]`
    pub home_position: [f64; 3],
    /// `[4]`
    pub home_orientation: [f64; 4],
}
