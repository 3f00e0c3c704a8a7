//! Scene of a plant, as a recorder draws it: rigid bodies with coloured meshes.
//! Shapes are read once per scene, poses once per control step.

use crate::Pose;

/// Triangle mesh, fixed to its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// Vertices in metres, in the body's frame.
    pub vertices: Vec<[f32; 3]>,
    /// Vertex indices, counter-clockwise from outside.
    pub triangles: Vec<[u32; 3]>,
    /// Red, green, blue, opacity.
    pub colour: [u8; 4],
}

/// Rigid body with its visible meshes.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Name in the plant's model.
    pub name: String,
    /// Visible parts.
    pub meshes: Vec<Mesh>,
    /// Whether the body never moves.
    pub fixed: bool,
}

/// Plant that can be drawn.
pub trait Scene {
    /// Returns the bodies of the scene that the last reset loaded.
    fn bodies(&self) -> Vec<Body>;

    /// Writes the current poses of those bodies to `out`, in the world frame and in the same order.
    fn poses(&self, out: &mut Vec<Pose>);
}
