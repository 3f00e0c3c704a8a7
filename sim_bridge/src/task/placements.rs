//! How `task.json` describes where a reset puts things: ranges, anchors, turns and the room that things take.
//! Plain data; `placement.rs` draws from it.

use serde::Deserialize;

/// The description in `task.json`. Lengths are metres, angles radians, quaternions scalar first.
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

/// One uniform draw that sets all its joints.
#[derive(Clone, Debug, Deserialize)]
pub struct ArticulationInfo {
    /// MuJoCo names.
    pub joints: Vec<String>,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Something that takes room.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepInfo {
    /// A fixture where the exported scene has it.
    Fixture {
        /// Name in the task description.
        name: String,
        /// The room it takes.
        #[serde(flatten)]
        footprint: Footprint,
        /// Where it is.
        #[serde(flatten)]
        pose: PlacedPose,
    },
    /// An object to draw a place for.
    Object(Box<ObjectPlacementInfo>),
}

/// The upright cylinder that upstream's overlap check takes an object for. Heights are from the object's origin.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Footprint {
    /// Radius.
    pub radius: f64,
    /// Height of its lower end.
    pub bottom: f64,
    /// Height of its upper end.
    pub top: f64,
}

/// Where something was put, in the world frame.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct PlacedPose {
    /// `[3]`
    pub position: [f64; 3],
    /// `[4]`
    pub orientation: [f64; 4],
}

/// How one object's place is drawn.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectPlacementInfo {
    /// Name in the task description.
    pub name: String,
    /// The room it takes.
    #[serde(flatten)]
    pub footprint: Footprint,
    /// Its free joint.
    pub joint: String,
    /// Rectangles about the anchor, one of them drawn with equal chances.
    pub ranges: Vec<Rectangle>,
    /// How far both ends of a range move inwards. They may cross: the range between them is then drawn from.
    pub inset: f64,
    /// Whether a place on the room of something placed earlier is refused.
    pub keep_clear: bool,
    /// Height above the anchor.
    pub z_offset: f64,
    /// Turns in the order in which they are made.
    pub turns: Vec<Turn>,
    /// Upstream hands MuJoCo the turns' quaternion with its scalar last, where MuJoCo reads a vector component.
    pub scalar_last: bool,
    /// What its place is relative to.
    pub anchor: AnchorInfo,
}

/// Bounds of a place.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Rectangle {
    /// From, to.
    pub x: [f64; 2],
    /// From, to.
    pub y: [f64; 2],
}

/// A turn about an axis by an angle drawn uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Turn {
    /// About which axis.
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

/// What a place is relative to.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnchorInfo {
    /// A point of the world, on a table or the floor.
    Point {
        /// `[3]`
        position: [f64; 3],
    },
    /// The top of something placed earlier.
    Object {
        /// Its name.
        reference: String,
    },
    /// A site of something placed earlier, counted from that thing's top.
    OnSite(SiteInfo),
    /// A site of something placed earlier, counted from that thing's origin.
    InSite(SiteInfo),
}

/// A site, and the thing that carries it where the model has it before anything is placed: upstream takes the site's
/// world position from there and turns it by the thing's orientation.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteInfo {
    /// The thing's name in the task description.
    pub reference: String,
    /// Its body.
    pub body: String,
    /// The site.
    pub site: String,
    /// `[3]`
    pub home_position: [f64; 3],
    /// `[4]`
    pub home_orientation: [f64; 4],
}
