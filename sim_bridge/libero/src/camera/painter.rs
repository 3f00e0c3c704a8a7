//! Drawing of a plant's pictures without the plant, for a thread that draws while the plant continues.

use aegis_core::Frame;
use aegis_core::policy::PlantError;

use crate::camera::{Cameras, DrawnState, Renderer};
use crate::plant::LiberoPlant;
use crate::suite::Suite;

/// State of a plant from which its pictures are drawn.
#[derive(Clone, Debug)]
pub struct PictureState {
    task: usize,
    seen: DrawnState,
}

impl LiberoPlant {
    /// Returns the state that [`Plant::frames`](aegis_core::Plant::frames) would draw now; `None` before the first reset.
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
    /// Makes a drawer for a suite's scenes and these cameras. OpenGL is opened for the first picture.
    pub fn new(suite: Suite, cameras: Cameras) -> Self {
        Self { suite, renderer: Renderer::new(cameras) }
    }

    /// Draws one picture from each camera, with the same pixels as [`Plant::frames`](aegis_core::Plant::frames) in that state.
    ///
    /// # Errors
    /// Those of compiling the scene and of OpenGL.
    pub fn draw(&mut self, state: &PictureState) -> Result<Vec<Frame>, PlantError> {
        self.renderer.draw(self.suite.textured(state.task)?, &state.seen)
    }
}
