//! Where pictures are drawn: a thread that owns the OpenGL context, which may not leave it.
//! Started when the first picture is asked for, ended with the plant.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use aegis_core::Frame;
use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel, MjvCamera, RendererError};
use mujoco_rs::renderer::MjRenderer;

use crate::camera::{Cameras, DrawnState, TexturedScene};
use crate::error::backend;

/// Room for geoms in a picture beyond the model's, as upstream has at least.
const SPARE_GEOMS: u32 = 1000;

/// The pictures of one plant.
#[derive(Debug)]
pub(crate) struct Studio {
    cameras: Cameras,
    painter: Option<Painter>,
}

/// The thread and the way to it.
#[derive(Debug)]
struct Painter {
    /// Taken to end the thread.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// A picture from each camera, please.
struct Order {
    scene: Arc<TexturedScene>,
    seen: DrawnState,
    reply: Sender<Result<Vec<Frame>, PlantError>>,
}

impl Studio {
    pub fn new(cameras: Cameras) -> Self {
        Self { cameras, painter: None }
    }

    /// One picture from each camera.
    pub fn draw(&mut self, scene: Arc<TexturedScene>, seen: &DrawnState) -> Result<Vec<Frame>, PlantError> {
        let painter = match &mut self.painter {
            Some(painter) => painter,
            None => self.painter.insert(Painter::start(self.cameras.clone())?),
        };
        let (reply, pictures) = channel();
        let order = Order { scene, seen: seen.clone(), reply };
        let sent = painter.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        let drawn = if sent { pictures.recv().ok() } else { None };
        drawn.unwrap_or_else(|| {
            // The thread panicked and said why; the next order starts another.
            self.painter = None;
            Err(PlantError::Backend("cameras: the drawing thread stopped".into()))
        })
    }
}

impl Painter {
    fn start(cameras: Cameras) -> Result<Self, PlantError> {
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new().name("cameras".into());
        let thread = thread.spawn(move || paint(&cameras, &inbox)).map_err(backend)?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }
}

impl Drop for Painter {
    /// Waits, so that nothing of OpenGL outlives the plant.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

/// One thread at a time is in OpenGL: contexts of one display, made, used and dropped by several threads at once, have
/// crashed Mesa's software driver (22.3) after some thousand pictures. That driver draws on all cores by itself.
static OPENGL: Mutex<()> = Mutex::new(());

fn in_opengl<T>(work: impl FnOnce() -> T) -> T {
    // What a panic left behind is the panicking thread's own.
    let _alone = OPENGL.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

fn paint(cameras: &Cameras, inbox: &Receiver<Order>) {
    let mut easel: Option<Easel> = None;
    for Order { scene, seen, reply } in inbox {
        let pictures = in_opengl(|| {
            Easel::ready(&mut easel, scene, cameras).and_then(|easel| easel.draw(cameras, &seen))
        });
        // Nobody waits any more when the plant is gone.
        let _ = reply.send(pictures);
    }
    in_opengl(|| drop(easel));
}

/// A scene set up for drawing: its textures and meshes are with OpenGL.
struct Easel {
    scene: Arc<TexturedScene>,
    data: MjData<Arc<MjModel>>,
    renderer: MjRenderer,
}

impl Easel {
    /// The easel for a scene, the one that stands there or a new one.
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
        // The renderer has turned OpenGL's rows, which begin at the bottom.
        let rgb = self.renderer.rgb_flat().ok_or_else(|| backend(RendererError::RgbDisabled))?.to_vec();
        Ok(Frame { camera: Arc::clone(name), width: cameras.width, height: cameras.height, rgb })
    }
}

/// OpenGL did not open.
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
