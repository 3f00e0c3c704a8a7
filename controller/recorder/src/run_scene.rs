//! A run's plant in 3D: bodies where the plant's scene is known, otherwise the objects and the end effector as points, and
//! the trail of the end effector. World frame, z up, metres.

use std::collections::VecDeque;

use crate::rerun::{Clear, Color, EntityPath, Points3D, RecordingStream, ViewCoordinates};
use aegis_core::Pose;
use aegis_core::scene::Body;

use crate::snapshots::PlantSnapshot;
use crate::{RecorderError, scene};

/// Root entity of the 3D scene in the recording.
pub const WORLD: &str = "world";
/// Length of the trail, in snapshots. The trail is bounded because a run has no fixed end and every snapshot draws the
/// trail anew.
const TRAIL: usize = 100;
/// Edge of the cubes in which mesh vertices are merged, metres.
const CELL: f32 = 0.008;

/// Finder of the 3D scene that a snapshot of a plant belongs to.
pub trait SceneResolver: Send {
    /// Returns the bodies of the scene that the snapshot belongs to; empty where the scene is not known.
    fn bodies(&mut self, sight: &PlantSnapshot) -> Vec<Body>;

    /// Returns the world poses of those bodies at the snapshot, in the order of the bodies; empty where they cannot be
    /// computed.
    fn poses(&mut self, sight: &PlantSnapshot) -> Vec<Pose>;
}

/// Drawer of snapshots.
pub struct RunScene {
    stage: Box<dyn SceneResolver>,
    task: Option<u32>,
    episode: Option<u64>,
    root: EntityPath,
    bodies: Vec<Body>,
    drawn: Vec<Option<Pose>>,
    trail: VecDeque<(Color, [f32; 3])>,
}

impl RunScene {
    /// Makes a scene without snapshots and logs the view's coordinates.
    pub fn new(stream: &RecordingStream, stage: Box<dyn SceneResolver>) -> Result<Self, RecorderError> {
        stream.log_static(WORLD, &ViewCoordinates::RIGHT_HAND_Z_UP())?;
        let (root, trail) = (EntityPath::from(WORLD), VecDeque::new());
        Ok(Self { stage, task: None, episode: None, root, bodies: Vec::new(), drawn: Vec::new(), trail })
    }

    /// Draws a snapshot at the stream's present time. `colour` is the colour of the present mode.
    pub fn take(
        &mut self,
        stream: &RecordingStream,
        sight: &PlantSnapshot,
        colour: Color,
    ) -> Result<(), RecorderError> {
        if self.task != Some(sight.task) {
            self.enter(stream, sight)?;
        }
        if self.episode.replace(sight.episode) != Some(sight.episode) {
            self.trail.clear();
        }
        let poses = self.stage.poses(sight);
        if poses.len() == self.bodies.len() {
            for (index, (body, pose)) in self.bodies.iter().zip(&poses).enumerate() {
                if self.drawn[index].is_none_or(|drawn| !scene::is_near(&drawn, pose)) {
                    stream.log(scene::entity(&self.root, body, index), &scene::transform(pose))?;
                    self.drawn[index] = Some(*pose);
                }
            }
        }
        let point = |pose: &Pose| pose.position.map(|value| value as f32);
        if self.bodies.is_empty() {
            let places = sight.objects.iter().map(|(_, pose)| point(pose));
            let objects = Points3D::new(places)
                .with_labels(sight.objects.iter().map(|(name, _)| name.as_str()))
                .with_radii([0.02]);
            stream.log("world/objects", &objects)?;
            let tips = sight.end_effector.iter().map(point);
            let tip = Points3D::new(tips).with_colors([colour]).with_radii([0.015]);
            stream.log("world/end_effector", &tip)?;
        }
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.extend(sight.end_effector.iter().map(|pose| (colour, point(pose))));
        Ok(stream.log("world/trail", &scene::trail(self.trail.iter().copied()))?)
    }

    /// Changes to the scene of the snapshot's task: clears the previous scene and logs the shapes of the new one.
    fn enter(&mut self, stream: &RecordingStream, sight: &PlantSnapshot) -> Result<(), RecorderError> {
        if self.task.replace(sight.task).is_some() {
            stream.log(self.root.clone(), &Clear::recursive())?;
        }
        self.root = EntityPath::from(WORLD).join(&EntityPath::from(format!("task_{}", sight.task)));
        self.bodies = self.stage.bodies(sight);
        self.drawn = vec![None; self.bodies.len()];
        for (index, body) in self.bodies.iter().enumerate() {
            scene::log_shapes(stream, body, &scene::entity(&self.root, body, index), CELL, false)?;
        }
        Ok(())
    }
}
