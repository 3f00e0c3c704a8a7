//! The 3D view of an episode: bodies, the trail of the end effector, and the paths that the policies proposed. World frame,
//! z up, metres.

use crate::rerun::components::MeshFaceRendering;
use crate::rerun::{
    Color, EntityPath, Image, LineStrips3D, Mesh3D, RecordingStream, Transform3D, ViewCoordinates,
};
use aegis_core::scene::Body;
use aegis_core::{Chunk, Driver, Pose};

use crate::RecorderError;
use crate::episode::{Episode, Step, driver_colour, driver_name};
use crate::mesh;

/// Edge of the cubes in which mesh vertices are merged, metres: invisible at the distance of the camera.
const CELL: f32 = 0.004;
/// The same for a twin, which is shown beside the episode; metres.
const COARSE_CELL: f32 = 0.012;
/// Displacement for a commanded position delta of 1, metres per control step.
const DELTA: f64 = 0.05;
/// Share of a commanded delta that the arm covers within the step. The controller pulls with stiffness k = 150 and critical
/// damping 2√k towards a goal that is set anew every T = 0.05 s, so that in steady motion v = kδ / (2√k + kT/2), and v·T =
/// 0.27 δ. Measured over a pick-and-place, including its starts from rest: 0.25 δ.
const COVERED: f64 = 0.27;
/// Largest movement that is not drawn: metres, and components of a unit quaternion.
const STILL: f64 = 1e-4;

/// Root entity of an episode's scene.
const WORLD: &str = "world";
/// Root entity of the moving bodies of the twin.
pub const TWIN: &str = "twin";

/// Logs every entity under `world`, and the camera pictures.
pub fn log(stream: &RecordingStream, episode: &Episode) -> Result<(), RecorderError> {
    stream.log_static(WORLD, &ViewCoordinates::RIGHT_HAND_Z_UP())?;
    for (index, body) in episode.bodies.iter().enumerate() {
        log_shapes(stream, body, &entity(&WORLD.into(), body, index), CELL, true)?;
    }
    log_poses(stream, episode, WORLD)?;
    log_trail(stream, episode, WORLD)?;
    log_plans(stream, episode)?;
    log_pictures(stream, episode)
}

/// Logs the moving bodies and the trail of a twin under `twin`, in coarser meshes. The twin shares its fixed bodies with
/// the episode.
pub fn log_twin(stream: &RecordingStream, twin: &Episode) -> Result<(), RecorderError> {
    stream.log_static(TWIN, &ViewCoordinates::RIGHT_HAND_Z_UP())?;
    for (index, body) in twin.bodies.iter().enumerate().filter(|(_, body)| !body.fixed) {
        log_shapes(stream, body, &entity(&TWIN.into(), body, index), COARSE_CELL, true)?;
    }
    log_poses(stream, twin, TWIN)?;
    log_trail(stream, twin, TWIN)
}

/// Returns the contents of a view of the twin: the twin's own bodies, and the fixed bodies of the episode.
pub fn twin_contents(episode: &Episode) -> Vec<String> {
    let fixed = episode.bodies.iter().enumerate().filter(|(_, body)| body.fixed);
    let shared = fixed.map(|(index, body)| format!("{}/**", entity(&WORLD.into(), body, index)));
    [format!("/{TWIN}/**")].into_iter().chain(shared).collect()
}

/// Returns the entity of a body under `root`.
pub fn entity(root: &EntityPath, body: &Body, index: usize) -> EntityPath {
    let name = if body.name.is_empty() { format!("body_{index}") } else { body.name.clone() };
    root.join(&EntityPath::new(vec!["bodies".into(), name.into()]))
}

/// Logs a body's meshes, with their vertices merged in cubes of edge `cell`, metres. With `for_good` the meshes are static;
/// otherwise they are logged at the stream's present time.
pub fn log_shapes(
    stream: &RecordingStream,
    body: &Body,
    entity: &EntityPath,
    cell: f32,
    for_good: bool,
) -> Result<(), RecorderError> {
    for (part, mesh) in body.meshes.iter().enumerate() {
        let (vertices, triangles) = mesh::simplify(mesh, cell);
        let shaded = mesh::shade(&vertices, &triangles);
        let [red, green, blue, opacity] = mesh.colour;
        stream.log_with_static(
            entity.join(&EntityPath::from_single_string(part.to_string())),
            for_good,
            &Mesh3D::new(shaded.vertices)
                .with_vertex_normals(shaded.normals)
                .with_triangle_indices(shaded.triangles)
                // The two sides of a thin wall may lie in one place after merging: only the side that faces the camera may
                // be drawn.
                .with_face_rendering(MeshFaceRendering::Front)
                .with_albedo_factor(crate::rerun::Rgba32::from_unmultiplied_rgba(red, green, blue, opacity)),
        )?;
    }
    Ok(())
}

/// Logs the poses of the bodies: of fixed bodies once, and only for the episode itself; of the others when they have moved.
fn log_poses(stream: &RecordingStream, episode: &Episode, root: &str) -> Result<(), RecorderError> {
    let expected = episode.bodies.len();
    let mut drawn: Vec<Option<Pose>> = vec![None; expected];
    for (step, poses) in &episode.poses {
        if poses.len() != expected {
            return Err(RecorderError::Poses { step: *step, expected, found: poses.len() });
        }
        episode.at(stream, *step);
        for (index, (body, pose)) in episode.bodies.iter().zip(poses).enumerate() {
            let shared = body.fixed && root != WORLD;
            if shared || drawn[index].is_some_and(|drawn| body.fixed || is_near(&drawn, pose)) {
                continue;
            }
            stream.log_with_static(entity(&root.into(), body, index), body.fixed, &transform(pose))?;
            drawn[index] = Some(*pose);
        }
    }
    Ok(())
}

/// Returns the transform of a pose.
pub fn transform(pose: &Pose) -> Transform3D {
    let [w, x, y, z] = pose.orientation.map(|value| value as f32);
    let position = pose.position.map(|value| value as f32);
    Transform3D::from_translation_rotation(position, crate::rerun::Quaternion::from_xyzw([x, y, z, w]))
}

/// Returns whether two poses are too close for a picture to show the difference.
pub fn is_near(a: &Pose, b: &Pose) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < STILL;
    a.position.iter().zip(&b.position).all(near) && a.orientation.iter().zip(&b.orientation).all(near)
}

/// Logs the trail of the end effector after each control step.
fn log_trail(stream: &RecordingStream, episode: &Episode, root: &str) -> Result<(), RecorderError> {
    let point = |step: &Step| (driver_colour(step.driver), step.end_effector.map(|value| value as f32));
    let points: Vec<_> = episode.steps.iter().map(point).collect();
    for (step, count) in episode.steps.iter().zip(1..) {
        episode.at(stream, step.taken);
        stream.log(format!("{root}/trail"), &trail(points.iter().take(count).copied()))?;
    }
    Ok(())
}

/// Returns a trail with one line strip for each stretch of one colour. Adjacent strips share a point.
pub fn trail(points: impl IntoIterator<Item = (Color, [f32; 3])>) -> LineStrips3D {
    let mut strips: Vec<(Color, Vec<[f32; 3]>)> = Vec::new();
    for (colour, point) in points {
        match strips.last_mut() {
            Some((of_strip, strip)) if *of_strip == colour => strip.push(point),
            last => {
                let shared = last.and_then(|(_, strip)| strip.last().copied());
                strips.push((colour, shared.into_iter().chain([point]).collect()));
            }
        }
    }
    LineStrips3D::new(strips.iter().map(|(_, strip)| strip.clone()))
        .with_colors(strips.iter().map(|(colour, _)| *colour))
        .with_radii([crate::rerun::Radius::new_ui_points(2.5)])
}

/// Logs the camera pictures under `camera`.
fn log_pictures(stream: &RecordingStream, episode: &Episode) -> Result<(), RecorderError> {
    for (step, pictures) in &episode.pictures {
        episode.at(stream, *step);
        for picture in pictures {
            let image = Image::from_rgb24(picture.rgb.clone(), [picture.width, picture.height]);
            stream.log(camera(&picture.camera), &image)?;
        }
    }
    Ok(())
}

/// Returns the entity of a camera's pictures.
pub fn camera(name: &str) -> EntityPath {
    EntityPath::new(vec!["camera".into(), name.into()])
}

/// Logs both policies' chunks at every boundary, as the predicted paths of the end effector.
fn log_plans(stream: &RecordingStream, episode: &Episode) -> Result<(), RecorderError> {
    for record in &episode.chunks {
        let Some(start) = episode.end_effector(record.step) else { continue };
        episode.at(stream, record.step);
        for (driver, chunk) in [(Driver::Weak, Some(&record.weak)), (Driver::Strong, record.strong.as_ref())]
        {
            // Without a chunk, an empty strip is logged, which clears the previous one.
            let path = chunk.map(|chunk| predicted_path(start, chunk));
            let strips = LineStrips3D::new(path)
                .with_colors([driver_colour(driver)])
                .with_radii([crate::rerun::Radius::new_ui_points(5.0)]);
            stream.log(format!("world/plan/{}", driver_name(driver)), &strips)?;
        }
    }
    Ok(())
}

/// Returns the predicted path of the end effector, metres, world frame: the sum of the chunk's position deltas, each
/// shortened to the share that the arm covers within its step.
fn predicted_path(start: [f64; 3], chunk: &Chunk) -> Vec<[f32; 3]> {
    let mut position = start;
    let steps = (0..chunk.horizon()).map_while(|step| chunk.action(step)).map(|action| {
        for (value, delta) in position.iter_mut().zip(action) {
            *value += f64::from(*delta) * DELTA * COVERED;
        }
        position
    });
    let steps: Vec<_> = steps.collect();
    [start].into_iter().chain(steps).map(|point| point.map(|value| value as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_sums_the_position_deltas_only() {
        let chunk = Chunk::new(7, [1.0, 0.0, -1.0, 9.0, 9.0, 9.0, 1.0].repeat(10)).unwrap();
        let path = predicted_path([1.0, 2.0, 3.0], &chunk);
        assert_eq!(path.len(), 11);
        assert_eq!(path[0], [1.0, 2.0, 3.0]);
        for (found, expected) in path[10].iter().zip([1.135, 2.0, 2.865]) {
            assert!((found - expected).abs() < 1e-5);
        }
    }
}
