//! Rendering of pictures on a separate thread that owns the OpenGL context: a context may not leave its thread.
//! The thread starts when the first picture is asked for and ends with the plant.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use aegis_core::Frame;
use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel, MjvCamera, RendererError};
use mujoco_rs::renderer::MjRenderer;

use crate::camera::{Cameras, DrawnState, TexturedScene};
use crate::error::backend;

/// Capacity for geoms in a picture beyond the model's own; upstream has at least as much.
const SPARE_GEOMS: u32 = 1000;

/// Source of one plant's pictures.
#[derive(Debug)]
pub(crate) struct Renderer {
    cameras: Cameras,
    thread: Option<RenderThread>,
}

/// The rendering thread and the channel to it.
#[derive(Debug)]
struct RenderThread {
    /// Taken to end the thread.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Request for a picture from each camera.
struct Order {
    scene: Arc<TexturedScene>,
    seen: DrawnState,
    reply: Sender<Result<Vec<Frame>, PlantError>>,
}

impl Renderer {
    pub fn new(cameras: Cameras) -> Self {
        Self { cameras, thread: None }
    }

    /// Returns the cameras.
    pub fn cameras(&self) -> &Cameras {
        &self.cameras
    }

    /// Draws one picture from each camera.
    pub fn draw(&mut self, scene: Arc<TexturedScene>, seen: &DrawnState) -> Result<Vec<Frame>, PlantError> {
        let thread = match &mut self.thread {
            Some(thread) => thread,
            None => self.thread.insert(RenderThread::start(self.cameras.clone())?),
        };
        let (reply, pictures) = channel();
        let order = Order { scene, seen: seen.clone(), reply };
        let sent = thread.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        let drawn = if sent { pictures.recv().ok() } else { None };
        drawn.unwrap_or_else(|| {
            // The thread panicked and printed the reason; the next request starts another thread.
            self.thread = None;
            Err(PlantError::Backend("cameras: the drawing thread stopped".into()))
        })
    }
}

impl RenderThread {
    fn start(cameras: Cameras) -> Result<Self, PlantError> {
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new().name("cameras".into());
        let thread = thread.spawn(move || paint(&cameras, &inbox)).map_err(backend)?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }
}

impl Drop for RenderThread {
    /// Ends the thread and waits for it, so that no OpenGL resource outlives the plant.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Lock that admits one thread at a time to OpenGL. Contexts of one display that were created, used and dropped by several
/// threads at once have crashed Mesa's software driver (22.3) after some thousand pictures. That driver draws on all cores
/// by itself.
static OPENGL: Mutex<()> = Mutex::new(());

fn in_opengl<T>(work: impl FnOnce() -> T) -> T {
    // The lock guards no data, so a panic of another thread leaves nothing inconsistent.
    let _alone = OPENGL.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

fn paint(cameras: &Cameras, inbox: &Receiver<Order>) {
    let mut easel: Option<Easel> = None;
    for Order { scene, seen, reply } in inbox {
        let pictures = in_opengl(|| {
            Easel::ready(&mut easel, scene, cameras).and_then(|easel| easel.draw(cameras, &seen))
        });
        // The receiver is gone where the plant has been dropped.
        let _ = reply.send(pictures);
    }
    in_opengl(|| drop(easel));
}

/// A scene set up for drawing, with its textures and meshes loaded into OpenGL.
struct Easel {
    scene: Arc<TexturedScene>,
    data: MjData<Arc<MjModel>>,
    renderer: MjRenderer,
}

impl Easel {
    /// Returns the easel for a scene: the present one where it has this scene, else a new one.
    fn ready<'a>(
        standing: &'a mut Option<Self>,
        scene: Arc<TexturedScene>,
        cameras: &Cameras,
    ) -> Result<&'a mut Self, PlantError> {
        let reusable = standing.take().filter(|easel| Arc::ptr_eq(&easel.scene, &scene));
        let easel = match reusable {
            Some(easel) => easel,
            None => Self::new(scene, cameras)?,
        };
        Ok(standing.insert(easel))
    }

    fn new(scene: Arc<TexturedScene>, cameras: &Cameras) -> Result<Self, PlantError> {
        let data = MjData::try_new(Arc::clone(&scene.model)).map_err(backend)?;
        let renderer = MjRenderer::builder()
            .width(cameras.width)
            .height(cameras.height)
            .num_visual_internal_geom(SPARE_GEOMS)
            .build(&scene.model)
            .map_err(unopened)?;
        Ok(Self { scene, data, renderer })
    }

    fn draw(&mut self, cameras: &Cameras, seen: &DrawnState) -> Result<Vec<Frame>, PlantError> {
        self.data.qpos_mut().copy_from_slice(&seen.poses);
        self.data.kinematics();
        self.data.com_pos();
        self.data.camlight();
        self.scene.set_visible(seen, self.renderer.opts_mut());
        cameras.names.iter().map(|name| self.picture(cameras, name)).collect()
    }

    fn picture(&mut self, cameras: &Cameras, name: &Arc<str>) -> Result<Frame, PlantError> {
        self.renderer.set_camera(MjvCamera::new_fixed(self.scene.camera(name)?));
        self.renderer.sync_data(&mut self.data).map_err(backend)?;
        self.renderer.render().map_err(backend)?;
        // The renderer has already flipped OpenGL's rows, which begin at the bottom.
        let rgb = self.renderer.rgb_flat().ok_or_else(|| backend(RendererError::RgbDisabled))?.to_vec();
        Ok(Frame { camera: Arc::clone(name), width: cameras.width, height: cameras.height, rgb })
    }
}

/// Makes the error for an OpenGL context that could not be created.
fn unopened(error: RendererError) -> PlantError {
    let cause = match error {
        RendererError::GlutinError(cause) => cause.to_string(),
        other => other.to_string(),
    };
    PlantError::Backend(format!(
        "cameras: cannot draw off screen ({cause}); they need libEGL.so.1 with a driver behind it: a GPU's own, or \
         Mesa's software (`apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri`)"
    ))
}
