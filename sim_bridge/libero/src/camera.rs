//! Cameras: the pictures that a plant takes, and the states that they are drawn from.
//! `scene.rs` compiles the textured scene, `renderer.rs` draws it.

mod painter;
mod renderer;
mod scene;

use std::sync::Arc;

use aegis_core::Feature;

pub use painter::{Painter, PictureState};
pub(crate) use renderer::Renderer;
pub(crate) use scene::TexturedScene;

/// Maximum width of a picture, pixels: that of MuJoCo's off-screen buffer in LIBERO's scenes.
pub const MAX_WIDTH: u32 = 640;
/// Maximum height of a picture, pixels.
pub const MAX_HEIGHT: u32 = 480;

/// The cameras whose pictures a plant takes. All pictures have the same size.
///
/// The pictures show what the pictures in upstream's observation show, the right way up: visual geoms without collision
/// shapes, and no sites except the burner of a stove that is on. Upstream samples its observation two physics steps
/// before a control step ends, and lights a burner by the state before that control step; this code does the same. After
/// a reset the pictures show the restored state.
///
/// OpenGL is opened off screen through EGL, on the first EGL device that provides a context: a GPU where its driver
/// supports EGL, else Mesa's software renderer. One thread of the process draws for all plants, so a plant may move between
/// threads at any time; plants of one task share what OpenGL holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cameras {
    names: Vec<Arc<str>>,
    width: u32,
    height: u32,
}

/// Reason why cameras are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CameraError {
    /// The size is zero or larger than MuJoCo's off-screen buffer.
    #[error("camera size: found {width}×{height} pixels; valid is 1×1 to {MAX_WIDTH}×{MAX_HEIGHT}")]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

impl Cameras {
    /// Cameras of LIBERO's policies, in upstream's order: in front of the table, and on the wrist.
    pub const LIBERO: [&str; 2] = ["agentview", "robot0_eye_in_hand"];

    /// Selects cameras by their names in the scene, with pictures of `width` by `height` pixels.
    ///
    /// A name that a scene lacks is reported when its picture is requested.
    ///
    /// # Errors
    /// [`CameraError::Size`] where the pictures would be empty or larger than MuJoCo's off-screen buffer.
    pub fn new(names: &[&str], width: u32, height: u32) -> Result<Self, CameraError> {
        if !(1..=MAX_WIDTH).contains(&width) || !(1..=MAX_HEIGHT).contains(&height) {
            return Err(CameraError::Size { width, height });
        }
        Ok(Self { names: names.iter().copied().map(Arc::from).collect(), width, height })
    }

    /// Returns the cameras as features.
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> {
        let (height, width) = (self.height as usize, self.width as usize);
        self.names.iter().map(move |name| Feature::camera(Arc::clone(name), height, width))
    }
}

/// Cameras that public policies for LIBERO read: one across the table, and one at the hand.
pub const USUAL_CAMERAS: [&str; 2] = ["agentview", "robot0_eye_in_hand"];

/// Joint positions (`qpos`) that the pictures after a control step are drawn from, `[nq]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DrawnState {
    /// State that determines all poses.
    pub poses: Vec<f64>,
    /// State that determines which burners are lit.
    pub switches: Vec<f64>,
}

impl DrawnState {
    /// Number of physics steps before the end of a control step at which upstream samples its observation.
    ///
    /// Upstream's sensors run on a separate clock (robosuite, `utils/observables.py`) that is ahead by one physics step
    /// after a forced update; LIBERO's reset and `set_init_state` each force one. The sensors read poses as the physics
    /// step's forward pass computed them, before integration.
    pub const BEFORE_LAST: u32 = 2;

    /// Records the state at the start of an episode.
    pub fn start(&mut self, qpos: &[f64]) {
        self.begin_step(qpos);
        self.sample(qpos);
    }

    /// Records the state at the start of a control step, for the burners.
    pub fn begin_step(&mut self, qpos: &[f64]) {
        copy(qpos, &mut self.switches);
    }

    /// Records the state at which upstream's sensors sample, for the poses.
    pub fn sample(&mut self, qpos: &[f64]) {
        copy(qpos, &mut self.poses);
    }
}

fn copy(from: &[f64], to: &mut Vec<f64>) {
    to.clear();
    to.extend_from_slice(from);
}
