//! Rendering of pictures on one thread of the process, which owns all OpenGL contexts: a context may not leave its thread, and contexts
//! of one display that were created, used and dropped by several threads at once have crashed Mesa's software driver (22.3) after some
//! thousand pictures. That driver draws on all cores by itself. The thread starts when the first picture is requested.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::Frame;
use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel, MjvCamera, RendererError};
use mujoco_rs::renderer::MjRenderer;

use crate::camera::{Cameras, DrawnState, TexturedScene};
use crate::error::backend;

/// Capacity for geoms in a picture beyond the model's own; upstream has at least as much.
const SPARE_GEOMS: u32 = 1000;

/// Number of scenes, some hundred megabytes each, that stay loaded in OpenGL where fewer plants draw, so that a plant need not load the
/// scene of a recent task again.
const KEPT: usize = 4;

/// Source of one plant's pictures.
#[derive(Debug)]
pub(crate) struct Renderer {
    cameras: Cameras,
    thread: Option<Drawing>,
}

/// Channel to the drawing thread, and the process of that thread.
#[derive(Clone, Debug)]
struct Drawing {
    process: u32,
    orders: Sender<Order>,
}

impl Drawing {
    /// Sends a request; returns whether the thread runs.
    ///
    /// # Errors
    /// A process that was forked from the thread's process, because its copy of OpenGL lacks the threads that OpenGL waits for.
    fn send(&self, order: Order) -> Result<bool, PlantError> {
        if self.process != std::process::id() {
            return Err(PlantError::Backend(
                "cameras: found a process that was forked from one that drew pictures; valid is a new process, \
                 such as Python's start methods spawn and forkserver"
                    .into(),
            ));
        }
        Ok(self.orders.send(order).is_ok())
    }
}

/// Request to the drawing thread.
enum Order {
    /// A plant begins to draw.
    Open,
    /// A picture from each camera.
    Draw { cameras: Cameras, scene: Arc<TexturedScene>, seen: DrawnState, reply: Reply },
    /// A plant that drew was dropped. The reply follows once its resources are freed.
    Close(Sender<()>),
}

type Reply = Sender<Result<Vec<Frame>, PlantError>>;

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
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(opened()?),
        };
        let (reply, pictures) = channel();
        let order = Order::Draw { cameras: self.cameras.clone(), scene, seen: seen.clone(), reply };
        let drawn = if thread.send(order)? { pictures.recv().ok() } else { None };
        drawn.unwrap_or_else(|| {
            // The thread panicked and printed the reason; the next request starts another thread.
            self.thread = None;
            Err(PlantError::Backend("cameras: the drawing thread panicked".into()))
        })
    }
}

impl Drop for Renderer {
    /// Waits until OpenGL has freed its resources, because a process that ends before crashes.
    fn drop(&mut self) {
        let Some(thread) = &self.thread else { return };
        let (freed, done) = channel();
        // A thread that panicked has freed its resources, and a forked process has no thread.
        if thread.send(Order::Close(freed)).is_ok_and(|is_sent| is_sent) {
            let _ = done.recv();
        }
    }
}

/// Announces a plant to the drawing thread, which starts where none runs.
fn opened() -> Result<Drawing, PlantError> {
    static THREAD: Mutex<Option<Drawing>> = Mutex::new(None);
    // No write under this lock can panic before it is complete.
    let mut running = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(thread) = &*running
        && thread.send(Order::Open)?
    {
        return Ok(thread.clone());
    }
    let (orders, inbox) = channel();
    let thread = std::thread::Builder::new().name("cameras".into());
    thread.spawn(move || paint(&inbox)).map_err(backend)?;
    let started = Drawing { process: std::process::id(), orders };
    started.send(Order::Open)?;
    Ok(running.insert(started).clone())
}

/// Serves requests until the process ends.
fn paint(inbox: &Receiver<Order>) {
    let mut loaded = LoadedScenes::default();
    for order in inbox {
        match order {
            Order::Open => loaded.plants += 1,
            Order::Close(freed) => {
                loaded.close();
                let _ = freed.send(());
            }
            Order::Draw { cameras, scene, seen, reply } => {
                let pictures = loaded.ready(scene, &cameras).and_then(|drawn| drawn.draw(&cameras, &seen));
                // The receiver is gone where the plant has been dropped.
                let _ = reply.send(pictures);
            }
        }
    }
}

/// The scenes that are loaded in OpenGL, the one used last at the end.
#[derive(Default)]
struct LoadedScenes {
    scenes: Vec<LoadedScene>,
    /// Number of plants that draw.
    plants: usize,
    empty: Option<EmptyContext>,
}

impl LoadedScenes {
    /// Returns a scene loaded for a size of pictures: the present one, else a new one.
    fn ready(
        &mut self,
        scene: Arc<TexturedScene>,
        cameras: &Cameras,
    ) -> Result<&mut LoadedScene, PlantError> {
        let size = (cameras.width, cameras.height);
        let present =
            self.scenes.iter().position(|drawn| Arc::ptr_eq(&drawn.scene, &scene) && drawn.size == size);
        let drawn = match present {
            Some(place) => self.scenes.remove(place),
            None => {
                while self.scenes.len() >= self.plants.max(KEPT) {
                    self.scenes.remove(0);
                }
                LoadedScene::new(scene, cameras)?
            }
        };
        self.scenes.push(drawn);
        self.scenes.last_mut().ok_or_else(|| PlantError::Backend("cameras: no scene is loaded".into()))
    }

    /// Counts a plant that was dropped. After the last one, all resources of OpenGL are freed.
    fn close(&mut self) {
        self.plants = self.plants.saturating_sub(1);
        if self.plants == 0 && !self.scenes.is_empty() {
            self.scenes.clear();
            if self.empty.is_none() {
                self.empty = EmptyContext::new();
            }
            if let Some(empty) = &mut self.empty {
                empty.take_over();
            }
        }
    }
}

/// A context with an empty scene. A context that is current when it is dropped lives on with all its textures, until another becomes
/// current.
struct EmptyContext {
    renderer: MjRenderer,
}

impl EmptyContext {
    /// Creates the context; `None` where OpenGL refuses, and the textures then stay in memory.
    fn new() -> Option<Self> {
        let model = MjModel::from_xml_string("<mujoco/>").ok()?;
        let renderer = MjRenderer::builder().width(1).height(1).build(&model).ok()?;
        Some(Self { renderer })
    }

    /// Makes this context the current one.
    fn take_over(&mut self) {
        let _ = self.renderer.render();
    }
}

/// A scene set up for drawing, with its textures and meshes loaded into OpenGL.
struct LoadedScene {
    scene: Arc<TexturedScene>,
    data: MjData<Arc<MjModel>>,
    renderer: MjRenderer,
    /// Width and height of its pictures, pixels.
    size: (u32, u32),
}

impl LoadedScene {
    fn new(scene: Arc<TexturedScene>, cameras: &Cameras) -> Result<Self, PlantError> {
        let data = MjData::try_new(Arc::clone(&scene.model)).map_err(backend)?;
        let renderer = MjRenderer::builder()
            .width(cameras.width)
            .height(cameras.height)
            .num_visual_internal_geom(SPARE_GEOMS)
            .build(&scene.model)
            .map_err(unopened)?;
        Ok(Self { scene, data, renderer, size: (cameras.width, cameras.height) })
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
        "cameras: cannot draw off screen ({cause}); valid is libEGL.so.1 with a driver: that of a GPU, or Mesa's \
         software driver (`apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri`)"
    ))
}
