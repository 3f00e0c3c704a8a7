//! Cameras: which pictures a plant takes, and of which moment.
//! `scene.rs` compiles what is drawn, `studio.rs` draws it.

mod renderer;
mod scene;

use std::sync::Arc;

pub(crate) use renderer::Studio;
pub(crate) use scene::TexturedScene;

/// The widest picture, pixels: MuJoCo's off-screen buffer as LIBERO's scenes leave it.
pub const MAX_WIDTH: u32 = 640;
/// The highest picture, pixels.
pub const MAX_HEIGHT: u32 = 480;

/// Which pictures a plant takes. All have one size.
///
/// They show what the pictures in upstream's observation show, the right way up: visual geoms without collision
/// shapes, no sites but the burner of a stove that is on. Upstream samples its observation two physics steps before
/// a control step ends, and lights a burner by the state before that control step; so do these. After a reset they
/// show the restored state.
///
/// OpenGL is opened off screen through EGL, on the first EGL device that gives a context: a GPU where its driver
/// offers one, Mesa's software otherwise. It is opened by a thread of the plant's own when the first picture is asked
/// for, so a plant may move between threads, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cameras {
    names: Vec<Arc<str>>,
    width: u32,
    height: u32,
}

/// Why cameras are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CameraError {
    /// No picture has this size.
    #[error("camera size: found {width}×{height} pixels; valid is 1×1 to {MAX_WIDTH}×{MAX_HEIGHT}")]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

impl Cameras {
    /// The views that LIBERO's policies get, in upstream's order: from before the table and from the wrist.
    pub const LIBERO: [&str; 2] = ["agentview", "robot0_eye_in_hand"];

    /// Cameras by their names in the scene, with pictures of `width` by `height` pixels.
    ///
    /// A name that a scene lacks is reported when its picture is asked for.
    ///
    /// # Errors
    /// Where the pictures would be empty or larger than MuJoCo's off-screen buffer.
    pub fn new(names: &[&str], width: u32, height: u32) -> Result<Self, CameraError> {
        if !(1..=MAX_WIDTH).contains(&width) || !(1..=MAX_HEIGHT).contains(&height) {
            return Err(CameraError::Size { width, height });
        }
        Ok(Self { names: names.iter().copied().map(Arc::from).collect(), width, height })
    }
}

/// The states that the pictures after a control step show, `[nq]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DrawnState {
    /// Where everything is.
    pub poses: Vec<f64>,
    /// What decides which burners are lit.
    pub switches: Vec<f64>,
}

impl DrawnState {
    /// How many physics steps before the end of a control step upstream looks.
    ///
    /// Its sensors run on a clock of their own (robosuite, `utils/observables.py`) that is ahead by one physics step
    /// after a forced update, of which LIBERO's reset and `set_init_state` do one each. They read poses as the
    /// physics step's forward pass left them, before it moves on.
    pub const BEFORE_LAST: u32 = 2;

    /// An episode starts here.
    pub fn start(&mut self, qpos: &[f64]) {
        self.begin_step(qpos);
        self.sample(qpos);
    }

    /// A control step starts here.
    pub fn begin_step(&mut self, qpos: &[f64]) {
        copy(qpos, &mut self.switches);
    }

    /// Upstream's sensors look now.
    pub fn sample(&mut self, qpos: &[f64]) {
        copy(qpos, &mut self.poses);
    }
}

fn copy(from: &[f64], to: &mut Vec<f64>) {
    to.clear();
    to.extend_from_slice(from);
}
