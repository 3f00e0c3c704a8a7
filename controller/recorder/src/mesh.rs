//! Preparation of meshes for a recording: fewer triangles, and vertex normals for shading. Pure geometry, in metres.

use std::collections::{BTreeMap, BTreeSet};

use aegis_core::scene::Mesh;

/// Cosine of 40°: faces whose normals differ by more keep a visible edge.
const CREASE_COSINE: f32 = 0.766;

/// A mesh with one unit normal per vertex.
#[derive(Debug, PartialEq)]
pub struct Shaded {
    pub vertices: Vec<[f32; 3]>,
    pub normals: Vec<[f32; 3]>,
    pub triangles: Vec<[u32; 3]>,
}

/// Simplifies a mesh by vertex clustering (Rossignac and Borrel 1993): the vertices within one cube of edge `cell`, metres,
/// are replaced by their mean, and triangles that collapse or coincide are removed. No vertex moves by more than the cube's
/// diagonal. Only vertices whose normals have the same main axis and sign are merged; otherwise the two sides of a thin
/// wall would become one.
pub fn simplify(mesh: &Mesh, cell: f32) -> (Vec<[f32; 3]>, Vec<[u32; 3]>) {
    let mut normals = vec![[0.0; 3]; mesh.vertices.len()];
    for (triangle, area) in mesh.triangles.iter().zip(area_vectors(&mesh.vertices, &mesh.triangles)) {
        for corner in triangle {
            normals[*corner as usize] = add(normals[*corner as usize], area);
        }
    }
    let mut clusters = BTreeMap::new();
    let mut sums: Vec<([f32; 3], f32)> = Vec::new();
    let merged: Vec<u32> = mesh
        .vertices
        .iter()
        .zip(&normals)
        .map(|(vertex, normal)| {
            let cube = vertex.map(|value| (value / cell).floor() as i32);
            let index = *clusters.entry((cube, side(*normal))).or_insert_with(|| {
                sums.push(([0.0; 3], 0.0));
                sums.len() - 1
            });
            let (sum, count) = &mut sums[index];
            *sum = add(*sum, *vertex);
            *count += 1.0;
            index as u32
        })
        .collect();
    let mut known = BTreeSet::new();
    let triangles = mesh
        .triangles
        .iter()
        .map(|triangle| triangle.map(|corner| merged[corner as usize]))
        .filter(|[a, b, c]| a != b && b != c && a != c)
        .filter(|[a, b, c]| {
            // Triangles coincide where they have the same corners in the same sense of rotation.
            let least = a.min(b).min(c);
            known.insert(if least == a {
                [*a, *b, *c]
            } else if least == b {
                [*b, *c, *a]
            } else {
                [*c, *a, *b]
            })
        })
        .collect();
    (sums.into_iter().map(|(sum, count)| sum.map(|value| value / count)).collect(), triangles)
}

/// Computes one normal per corner: the area-weighted mean over the faces around the corner that are not across a crease.
pub fn shade(vertices: &[[f32; 3]], triangles: &[[u32; 3]]) -> Shaded {
    let areas = area_vectors(vertices, triangles);
    let mut around = vec![Vec::new(); vertices.len()];
    for (face, triangle) in triangles.iter().enumerate() {
        triangle.iter().for_each(|corner| around[*corner as usize].push(face));
    }
    let mut shaded = Shaded { vertices: Vec::new(), normals: Vec::new(), triangles: Vec::new() };
    let mut known = BTreeMap::new();
    for (face, triangle) in triangles.iter().enumerate() {
        let own = unit(areas[face]);
        shaded.triangles.push(triangle.map(|corner| {
            let smooth = around[corner as usize]
                .iter()
                .map(|other| areas[*other])
                .filter(|area| dot(unit(*area), own) > CREASE_COSINE)
                .fold([0.0; 3], add);
            let normal = unit(smooth);
            *known.entry((corner, normal.map(|value| (value * 50.0).round() as i8))).or_insert_with(|| {
                shaded.vertices.push(vertices[corner as usize]);
                shaded.normals.push(normal);
                shaded.vertices.len() as u32 - 1
            })
        }));
    }
    shaded
}

/// Returns each triangle's normal, with a length of twice the triangle's area.
fn area_vectors(vertices: &[[f32; 3]], triangles: &[[u32; 3]]) -> Vec<[f32; 3]> {
    let area = |[a, b, c]: [[f32; 3]; 3]| cross(subtract(b, a), subtract(c, a));
    triangles.iter().map(|triangle| area(triangle.map(|corner| vertices[corner as usize]))).collect()
}

/// Returns the axis along which a vector is longest, and whether the vector points backwards along it.
fn side(vector: [f32; 3]) -> (usize, bool) {
    let steeper = |a: &usize, b: &usize| vector[*a].abs().total_cmp(&vector[*b].abs());
    let axis = (0..3).max_by(steeper).unwrap_or_default();
    (axis, vector[axis] < 0.0)
}

fn add(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn subtract(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Normalises a vector to unit length. The zero vector is returned as it is.
fn unit(vector: [f32; 3]) -> [f32; 3] {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 { vector.map(|value| value / length) } else { vector }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square of `n` by `n` cells with edge 1 in the plane z = 0.
    fn sheet(n: u32) -> Mesh {
        let at = |i: u32| i as f32 / n as f32;
        let vertices = (0..=n).flat_map(|y| (0..=n).map(move |x| [at(x), at(y), 0.0])).collect();
        let corner = |x: u32, y: u32| y * (n + 1) + x;
        let triangles = (0..n)
            .flat_map(|y| (0..n).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let [a, b, c, d] = [corner(x, y), corner(x + 1, y), corner(x + 1, y + 1), corner(x, y + 1)];
                [[a, b, c], [a, c, d]]
            })
            .collect();
        Mesh { vertices, triangles, colour: [255; 4] }
    }

    fn area(vertices: &[[f32; 3]], triangles: &[[u32; 3]]) -> f32 {
        let corner = |index: u32| vertices[index as usize];
        triangles
            .iter()
            .map(|[a, b, c]| {
                cross(subtract(corner(*b), corner(*a)), subtract(corner(*c), corner(*a)))[2] / 2.0
            })
            .sum()
    }

    #[test]
    fn clustering_thins_a_dense_sheet_and_keeps_its_area_and_sense() {
        let (vertices, triangles) = simplify(&sheet(100), 0.05);
        assert!(triangles.len() < 1000, "{} of 20000", triangles.len());
        assert!((area(&vertices, &triangles) - 1.0).abs() < 0.1);
    }

    #[test]
    fn the_sides_of_a_thin_wall_stay_apart() {
        let mut wall = sheet(10);
        let back: Vec<_> = wall.vertices.iter().map(|[x, y, _]| [*x, *y, -0.001]).collect();
        let count = back.len() as u32;
        let turned: Vec<_> =
            wall.triangles.iter().map(|[a, b, c]| [a + count, c + count, b + count]).collect();
        wall.vertices.extend(back);
        wall.triangles.extend(turned);
        wall.vertices.iter_mut().for_each(|vertex| vertex[2] += 0.05);
        let (vertices, triangles) = simplify(&wall, 0.2);
        let front = |triangle: &[u32; 3]| area(&vertices, &[*triangle]) > 0.0;
        assert!(triangles.iter().filter(|triangle| front(triangle)).count() * 2 == triangles.len());
        assert!(triangles.iter().flatten().all(|corner| {
            let z = vertices[*corner as usize][2];
            (z - 0.05).abs() < 1e-5 || (z - 0.049).abs() < 1e-5
        }));
    }

    #[test]
    fn cells_smaller_than_the_edges_change_nothing() {
        let mesh = sheet(4);
        let (vertices, triangles) = simplify(&mesh, 0.01);
        assert_eq!((vertices, triangles), (mesh.vertices, mesh.triangles));
    }

    #[test]
    fn normals_are_smooth_on_a_sheet_and_split_at_a_right_angle() {
        let mesh = sheet(4);
        let flat = shade(&mesh.vertices, &mesh.triangles);
        assert_eq!(flat.vertices.len(), mesh.vertices.len());
        assert!(flat.normals.iter().all(|normal| *normal == [0.0, 0.0, 1.0]));

        let roof = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let corner = shade(&roof, &[[0, 1, 2], [0, 3, 1]]);
        assert_eq!(corner.vertices.len(), 6, "the shared edge has two normals");
    }
}
