//! Geometry of the scene for display: the visual geoms of each body as triangle meshes, with primitives tessellated.
//! Shapes come from the model, poses from the last forward pass.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use aegis_core::Pose;
use aegis_core::scene::{Body, Mesh, Scene};
use mujoco_rs::prelude::{MjModel, MjtGeomBase, MjtObjBase};
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use crate::plant::LiberoPlant;

/// Geom group that robosuite draws; the other groups hold collision shapes.
const VISUAL_GROUP: i32 = 1;

/// Number of edges of a tessellated circle.
const SEGMENTS: u32 = 24;

/// Index of the world body, to which floor and walls belong. They would hide the scene from outside.
const WORLD: usize = 0;

impl Scene for LiberoPlant {
    fn bodies(&self) -> Vec<Body> {
        let Some(episode) = self.episode() else { return Vec::new() };
        let model = &*episode.bound.model;
        let name = |body| model.id_to_name(MjtObjBase::mjOBJ_BODY, body).unwrap_or_default().to_owned();
        drawn_bodies(model)
            .into_iter()
            .map(|(body, geoms)| Body {
                name: name(body),
                meshes: geoms.into_iter().filter_map(|geom| geom_mesh(model, geom)).collect(),
                // Bodies without a degree of freedom are welded to the world body.
                fixed: model.body_weldid()[body] == WORLD as i32,
            })
            .collect()
    }

    fn poses(&self, out: &mut Vec<Pose>) {
        if let Some(episode) = self.episode() {
            out.extend(drawn_bodies(&episode.bound.model).into_keys().map(|body| episode.body_pose(body)));
        }
    }
}

/// Returns the bodies with visual geoms and those geoms, in the model's order. The world body and planes are left out.
fn drawn_bodies(model: &MjModel) -> BTreeMap<usize, Vec<usize>> {
    let mut bodies = BTreeMap::<usize, Vec<usize>>::new();
    for (geom, (body, group)) in model.geom_bodyid().iter().zip(model.geom_group()).enumerate() {
        let body = *body as usize;
        if body != WORLD && *group == VISUAL_GROUP && model.geom_type()[geom] != MjtGeomBase::mjGEOM_PLANE {
            bodies.entry(body).or_default().push(geom);
        }
    }
    bodies
}

fn geom_mesh(model: &MjModel, geom: usize) -> Option<Mesh> {
    let [x, y, z] = model.geom_size()[geom];
    let (mut vertices, triangles) = match model.geom_type()[geom] {
        MjtGeomBase::mjGEOM_MESH => asset_mesh(model, usize::try_from(model.geom_dataid()[geom]).ok()?),
        MjtGeomBase::mjGEOM_BOX => box_mesh(x, y, z),
        MjtGeomBase::mjGEOM_CYLINDER => revolve(&[[0.0, -y], [x, -y], [x, y], [0.0, y]]),
        MjtGeomBase::mjGEOM_SPHERE => revolve(&arc_profile(x, x, 0.0)),
        MjtGeomBase::mjGEOM_CAPSULE => revolve(&arc_profile(x, x, y)),
        MjtGeomBase::mjGEOM_ELLIPSOID => {
            let (unit, triangles) = revolve(&arc_profile(1.0, 1.0, 0.0));
            (unit.into_iter().map(|v| [v[0] * x, v[1] * y, v[2] * z]).collect(), triangles)
        }
        _ => return None,
    };
    let [w, i, j, k] = model.geom_quat()[geom];
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, i, j, k));
    let offset = Vector3::from(model.geom_pos()[geom]);
    for vertex in &mut vertices {
        *vertex = (rotation * Vector3::from(*vertex) + offset).into();
    }
    let vertices = vertices.into_iter().map(|vertex| vertex.map(|value| value as f32)).collect();
    Some(Mesh { vertices, triangles, colour: colour(model, geom) })
}

fn colour(model: &MjModel, geom: usize) -> [u8; 4] {
    let rgba = match usize::try_from(model.geom_matid()[geom]) {
        Ok(material) => model.mat_rgba()[material],
        Err(_) => model.geom_rgba()[geom],
    };
    rgba.map(|value| (value * 255.0).round() as u8)
}

type Shape = (Vec<[f64; 3]>, Vec<[u32; 3]>);

/// Returns a mesh asset with coincident vertices merged: MuJoCo keeps one vertex per texture coordinate.
fn asset_mesh(model: &MjModel, mesh: usize) -> Shape {
    let range = |start: &[i32], count: &[i32]| {
        let start = start[mesh] as usize;
        start..start + count[mesh] as usize
    };
    let source = &model.mesh_vert()[range(model.mesh_vertadr(), model.mesh_vertnum())];
    let faces = &model.mesh_face()[range(model.mesh_faceadr(), model.mesh_facenum())];
    let mut vertices = Vec::new();
    let mut known = BTreeMap::new();
    let merged: Vec<u32> = source
        .iter()
        .map(|vertex| {
            *known.entry(vertex.map(f32::to_bits)).or_insert_with(|| {
                vertices.push(vertex.map(f64::from));
                vertices.len() as u32 - 1
            })
        })
        .collect();
    let triangles = faces
        .iter()
        .map(|face| face.map(|corner| merged[corner as usize]))
        .filter(|[a, b, c]| a != b && b != c && a != c)
        .collect();
    (vertices, triangles)
}

/// Returns a box with the given half edge lengths. The bits of a corner's index are its sides along x, y, z.
fn box_mesh(x: f64, y: f64, z: f64) -> Shape {
    let side = |corner: u32, axis: u32, half: f64| if corner >> axis & 1 == 1 { half } else { -half };
    let vertices = (0..8).map(|c| [side(c, 0, x), side(c, 1, y), side(c, 2, z)]).collect();
    let quads = [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];
    (vertices, quads.into_iter().flat_map(|[a, b, c, d]| [[a, b, c], [a, c, d]]).collect())
}

/// Returns the profile of a ball, or of a capsule whose straight part is `2 * half_length` long, from bottom to top.
fn arc_profile(radius: f64, height: f64, half_length: f64) -> Vec<[f64; 2]> {
    let steps = SEGMENTS / 2 + 1;
    let point = |step: u32| {
        let angle = TAU / 2.0 * (f64::from(step) / f64::from(steps) - 0.5);
        let shift = if angle < 0.0 { -half_length } else { half_length };
        [radius * angle.cos(), height * angle.sin() + shift]
    };
    (0..=steps).map(point).collect()
}

/// Revolves a profile of (radius, z) pairs, from bottom to top, about the z axis.
fn revolve(profile: &[[f64; 2]]) -> Shape {
    let mut vertices = Vec::new();
    let mut triangles = Vec::new();
    for [radius, z] in profile {
        vertices.extend((0..SEGMENTS).map(|segment| {
            let (sine, cosine) = (TAU * f64::from(segment) / f64::from(SEGMENTS)).sin_cos();
            [radius * cosine, radius * sine, *z]
        }));
    }
    for ring in 0..profile.len() as u32 - 1 {
        for segment in 0..SEGMENTS {
            let next = (segment + 1) % SEGMENTS;
            let [a, b] = [ring * SEGMENTS + segment, ring * SEGMENTS + next];
            triangles.extend([[a, b, b + SEGMENTS], [a, b + SEGMENTS, a + SEGMENTS]]);
        }
    }
    (vertices, triangles)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the volume by the divergence theorem: positive only where triangles are counter-clockwise from outside.
    fn volume((vertices, triangles): Shape) -> f64 {
        let corner = |index: u32| Vector3::from(vertices[index as usize]);
        triangles.iter().map(|[a, b, c]| corner(*a).dot(&corner(*b).cross(&corner(*c))) / 6.0).sum()
    }

    #[test]
    fn primitives_face_outwards_and_have_their_volume() {
        assert!((volume(box_mesh(0.5, 1.0, 2.0)) - 8.0).abs() < 1e-12);
        let near = |found: f64, exact: f64| assert!((found / exact - 1.0).abs() < 0.03, "{found} {exact}");
        near(volume(revolve(&[[0.0, -1.0], [1.0, -1.0], [1.0, 1.0], [0.0, 1.0]])), TAU);
        near(volume(revolve(&arc_profile(1.0, 1.0, 0.0))), TAU * 2.0 / 3.0);
        near(volume(revolve(&arc_profile(1.0, 1.0, 1.0))), TAU * 2.0 / 3.0 + TAU);
    }
}
