//! What a recorder needs to draw a plant: rigid bodies with coloured meshes.
//! Shapes come once per scene, poses once per step.

use crate::Pose;

/// A triangle mesh that is fixed to its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// Vertices in metres, in the body's frame.
    pub vertices: Vec<[f32; 3]>,
    /// Vertex indices, counter-clockwise from outside.
    pub triangles: Vec<[u32; 3]>,
    /// Red, green, blue, opacity.
    pub colour: [u8; 4],
}

/// A rigid body and what it looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Name in the plant's model.
    pub name: String,
    /// Its visible parts.
    pub meshes: Vec<Mesh>,
    /// Whether it never moves.
    pub fixed: bool,
}

/// A plant that can be drawn.
pub trait Scene {
    /// The bodies of the scene that the last reset loaded.
    fn bodies(&self) -> Vec<Body>;

    /// World poses of those bodies now, in the same order.
    fn poses(&self, out: &mut Vec<Pose>);
}
