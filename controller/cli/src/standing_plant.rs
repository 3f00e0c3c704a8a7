//! A free-running plant of another process that is claimed and reset and never sent a command, with the pictures of its cameras.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::{Frame, Observation, Plant, PlantError, Start, Transition};
use aegis_link::wire::CameraFrame;
use aegis_link::{Claimant, FreeRunningPlant, Heard, LinkError};

/// Longest wait for the first frame of every camera that the plant announces.
const FIRST_FRAMES: Duration = Duration::from_secs(10);

/// Newest frame of each camera, by the camera's name, and a signal for each arrival.
#[derive(Default)]
struct Arrivals {
    newest: Mutex<BTreeMap<String, CameraFrame>>,
    arrived: Condvar,
}

/// A claimed plant that stands still.
pub(crate) struct StandingPlant {
    plant: FreeRunningPlant,
    arrivals: Arc<Arrivals>,
    /// Names of the cameras that the plant announced at the last reset.
    cameras: Vec<String>,
}

impl StandingPlant {
    /// Claims the plant `name` for `controller`, with the frames of its cameras.
    ///
    /// # Errors
    /// As [`FreeRunningPlant::claim`].
    pub fn claim(session: &zenoh::Session, name: &str, controller: &str) -> Result<Self, LinkError> {
        let arrivals = Arc::new(Arrivals::default());
        let hear = {
            let arrivals = Arc::clone(&arrivals);
            move |heard| {
                if let Heard::Frame(frame) = heard {
                    let mut newest = arrivals.newest.lock().unwrap_or_else(PoisonError::into_inner);
                    newest.insert(frame.camera.clone(), *frame);
                    arrivals.arrived.notify_all();
                }
            }
        };
        let claimant = Claimant { pictures: true, ..Claimant::new(controller) };
        let plant = FreeRunningPlant::claim(session, name, claimant, hear)?;
        Ok(Self { plant, arrivals, cameras: Vec::new() })
    }

    /// Waits until every camera has published a frame of this episode, at most [`FIRST_FRAMES`], and returns the newest of each.
    fn published(&self) -> Result<Vec<Frame>, PlantError> {
        let (session, episode) = (self.plant.claimed().session, self.plant.episode());
        let is_ours = |frame: &CameraFrame| frame.session == session && frame.episode == episode;
        let newest = self.arrivals.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |newest: &mut BTreeMap<String, CameraFrame>| {
            !self.cameras.iter().all(|camera| newest.get(camera).is_some_and(is_ours))
        };
        let waited = self.arrivals.arrived.wait_timeout_while(newest, FIRST_FRAMES, lacks);
        let (newest, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let ours = newest.values().filter(|frame| is_ours(frame)).cloned();
        let decoded = |frame: CameraFrame| {
            let camera = frame.camera.clone();
            frame.decoded().map_err(|reason| PlantError::Backend(format!("camera {camera}: {reason}")))
        };
        ours.map(decoded).collect()
    }
}

impl Plant for StandingPlant {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        let (_, observation) = self.plant.reset(start)?;
        let cameras = observation.schema.cameras().map(|camera| camera.name.to_string());
        self.cameras = cameras.collect();
        Ok(observation)
    }

    /// Refuses every action: this plant is only observed.
    fn step(&mut self, _action: &[f32]) -> Result<Transition, PlantError> {
        Err(PlantError::Backend("the plant is observed, and takes no action here".into()))
    }

    fn state(&self, _out: &mut Vec<f64>) {}

    /// Returns the pictures that the plant answers with, as a simulator does, or else the frames that its cameras publish.
    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        let answered = self.plant.frames()?;
        let lacks = |camera: &String| !answered.iter().any(|frame| *frame.camera == **camera);
        if self.cameras.iter().any(lacks) { self.published() } else { Ok(answered) }
    }
}
