//! Pictures of a plant apart from the plant, for a thread that draws while the plant moves on.

use aegis_core::Frame;
use aegis_core::policy::PlantError;

use crate::camera::{Cameras, DrawnState, Renderer};
use crate::plant::LiberoPlant;
use crate::suite::Suite;

/// What the pictures of a plant at one moment are drawn from.
#[derive(Clone, Debug)]
pub struct PictureState {
    task: usize,
    seen: DrawnState,
}

impl LiberoPlant {
    /// Returns what [`Plant::frames`](aegis_core::Plant::frames) would draw now; `None` before the first reset.
    pub fn picture_state(&self) -> Option<PictureState> {
        self.episode().map(|episode| PictureState { task: episode.task, seen: episode.seen.clone() })
    }
}

/// Drawer of pictures from a plant's states. It may be on another thread than the plant.
#[derive(Debug)]
pub struct Painter {
    suite: Suite,
    renderer: Renderer,
}

impl Painter {
    /// Makes a drawer for a suite's scenes and these cameras. OpenGL is opened when the first picture is asked for.
    pub fn new(suite: Suite, cameras: Cameras) -> Self {
        Self { suite, renderer: Renderer::new(cameras) }
    }

    /// Draws one picture from each camera: the same pixels as [`Plant::frames`](aegis_core::Plant::frames) at that moment.
    ///
    /// # Errors
    /// Those of compiling the scene and of OpenGL.
    pub fn draw(&mut self, state: &PictureState) -> Result<Vec<Frame>, PlantError> {
        self.renderer.draw(self.suite.textured(state.task)?, &state.seen)
    }
}
