//! Cameras of a run: checks each frame that arrives, and joins frames with the observation of their own time for the policies
//! that read pictures.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::control::{CameraSettings, FrameFault, FrameStamp, Pairing};
use aegis_core::{Frame, Observation, Schema};
use aegis_runtime::CameraSender;

use crate::frame_inbox::ArrivedFrame;

/// An observation with the frames of its time.
#[derive(Clone, Debug)]
pub(crate) struct PairedObservation {
    /// Control steps since the reset.
    pub sequence: u32,
    /// The observation, with one frame of each camera.
    pub observation: Arc<Observation>,
    /// Time at which the oldest part was taken, on the run's clock.
    pub taken: Duration,
}

/// State of a run's cameras.
pub(crate) struct Cameras {
    settings: Vec<CameraSettings>,
    /// What the plant announced for the episode, `[height, width]` of each camera.
    sizes: Vec<Option<[u32; 2]>>,
    /// Newest stamp of each camera in the episode, nanoseconds on the plant's clock.
    stamps: Vec<Option<u64>>,
    /// Why the newest frame of each camera was refused, in words.
    refusals: Vec<Option<String>>,
    pairing: Pairing<(u32, Arc<Observation>), Frame>,
    sender: CameraSender,
}

impl Cameras {
    /// Makes the state of these cameras; stamps go to `sender`.
    pub fn new(settings: Vec<CameraSettings>, sender: CameraSender) -> Self {
        let count = settings.len();
        let pairing = Pairing::new(settings.iter().map(CameraSettings::max_skew));
        let (sizes, stamps, refusals) = (vec![None; count], vec![None; count], vec![None; count]);
        Self { settings, sizes, stamps, refusals, pairing, sender }
    }

    /// Begins an episode for which the plant announced `schema`.
    pub fn begin(&mut self, schema: &Schema) {
        self.pairing.clear();
        self.stamps.fill(None);
        self.refusals.fill(None);
        let size = |camera: &CameraSettings| announced(schema, &camera.name);
        self.sizes = self.settings.iter().map(size).collect();
    }

    /// Adds an observation that a policy may read, taken at `taken` on the run's clock. Returns a set of frames and observation
    /// where one is complete.
    pub fn observe(
        &mut self,
        episode: u64,
        sequence: u32,
        taken: Duration,
        observation: &Arc<Observation>,
    ) -> Option<PairedObservation> {
        if self.settings.is_empty() {
            return None;
        }
        self.pairing.observe(taken, (sequence, Arc::clone(observation)));
        self.complete(episode)
    }

    /// Checks a frame. `decoded` are its pixels; `taken` is when the camera took it, on the run's clock, where that is known;
    /// `episode` is the present one. Returns a set of frames and observation where one is complete.
    pub fn take(
        &mut self,
        arrived: &FrameArrival,
        decoded: Result<DecodedFrame, String>,
        taken: Option<Duration>,
        episode: u64,
    ) -> Option<PairedObservation> {
        let FrameArrival { camera, sequence, stamp_ns, received, count, .. } = *arrived;
        let is_ours = arrived.episode == episode;
        let digest = decoded.as_ref().map_or(0, |decoded| decoded.digest);
        // Of another episode, its size may be another.
        let checked = if is_ours {
            self.check(camera, stamp_ns, decoded)
        } else {
            decoded.map(|decoded| decoded.frame).map_err(|reason| (FrameFault::Unreadable, reason))
        };
        let fault = checked.as_ref().err().map(|(fault, _)| *fault);
        let stamp = FrameStamp {
            camera: u32::try_from(camera).unwrap_or(u32::MAX),
            episode: arrived.episode,
            sequence,
            arrived: count,
            received,
            // A frame of unknown age counts as old as possible.
            taken: taken.unwrap_or_default(),
            digest,
            fault,
        };
        // Where the ring is full, the control thread stands still, and says so itself.
        self.sender.frame(stamp);
        if !is_ours {
            return None;
        }
        match checked {
            Ok(frame) => {
                self.refusals[camera] = None;
                self.stamps[camera] = Some(stamp_ns);
                self.pairing.see(camera, taken?, frame);
                self.complete(episode)
            }
            Err((_, reason)) => {
                let name = &self.settings[camera].name;
                let refusal = format!("camera {name}: frame {sequence} is refused: {reason}");
                if self.refusals[camera].is_none() {
                    tracing::warn!("{refusal}");
                }
                self.refusals[camera] = Some(refusal);
                None
            }
        }
    }

    /// Returns which cameras have delivered no frame that a policy may read in this episode, and why, in words; `None` where all have.
    pub fn missing(&self) -> Option<String> {
        let cameras = self.settings.iter().zip(self.stamps.iter().zip(&self.refusals));
        let missing: Vec<String> = cameras
            .filter(|(_, (stamp, _))| stamp.is_none())
            .map(|(camera, (_, refusal))| {
                refusal.clone().unwrap_or_else(|| format!("camera {}: found no frame", camera.name))
            })
            .collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    fn check(
        &self,
        camera: usize,
        stamp_ns: u64,
        decoded: Result<DecodedFrame, String>,
    ) -> Result<Frame, (FrameFault, String)> {
        let DecodedFrame { frame, colour, .. } =
            decoded.map_err(|reason| (FrameFault::Unreadable, reason))?;
        if let Some([height, width]) = self.sizes[camera]
            && [frame.height, frame.width] != [height, width]
        {
            let found = format!("found {} rows of {} pixels", frame.height, frame.width);
            let valid = format!("valid is what the plant announced, {height} rows of {width}");
            return Err((FrameFault::WrongSize, format!("{found}; {valid}")));
        }
        if self.stamps[camera].is_some_and(|last| stamp_ns <= last) {
            let reason = "its time is not later than that of the frame before: look at the camera's clock";
            return Err((FrameFault::TimeBackward, reason.into()));
        }
        if let Some(colour) = colour {
            let reason = format!("every pixel is {colour:?}: look at the lens, the light and the cable");
            return Err((FrameFault::Blank, reason));
        }
        Ok(frame)
    }

    fn complete(&mut self, episode: u64) -> Option<PairedObservation> {
        let paired = self.pairing.complete()?;
        let (sequence, observation) = paired.observation;
        let observation = Observation { frames: paired.frames.into(), ..(*observation).clone() };
        self.sender.complete(episode, paired.taken);
        Some(PairedObservation { sequence, observation: Arc::new(observation), taken: paired.taken })
    }
}

/// A frame with what its pixels are checked by. All of them are read here, before a lock is taken.
#[derive(Clone, Debug)]
pub(crate) struct DecodedFrame {
    frame: Frame,
    digest: u64,
    /// The colour of every pixel, where all pixels are equal; `None` for a single pixel.
    colour: Option<[u8; 3]>,
}

impl From<Frame> for DecodedFrame {
    fn from(frame: Frame) -> Self {
        let (pixels, _) = frame.rgb.as_chunks::<3>();
        let colour =
            pixels.first().filter(|first| pixels.len() > 1 && pixels.iter().all(|pixel| pixel == *first));
        Self { digest: digest(&frame.rgb), colour: colour.copied(), frame }
    }
}

/// What is known of a frame besides its pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameArrival {
    /// Index of the camera in the settings.
    pub camera: usize,
    /// Episode of the frame.
    pub episode: u64,
    /// Number of the frame within the episode, by the plant.
    pub sequence: u32,
    /// Time at which the camera took the frame, nanoseconds on the plant's clock.
    pub stamp_ns: u64,
    /// Time of arrival, on the run's clock.
    pub received: Duration,
    /// Number of frames of the camera that arrived since the previous one was decoded.
    pub count: u32,
}

impl From<&ArrivedFrame> for FrameArrival {
    fn from(arrived: &ArrivedFrame) -> Self {
        let ArrivedFrame { camera, frame, received, count } = arrived;
        let (episode, sequence, stamp_ns) = (frame.episode, frame.sequence, frame.stamp_ns);
        Self { camera: *camera, episode, sequence, stamp_ns, received: *received, count: *count }
    }
}

/// Returns the height and width that a plant announces for a camera.
fn announced(schema: &Schema, camera: &str) -> Option<[u32; 2]> {
    let feature = schema.cameras().find(|feature| &*feature.name == camera)?;
    let [height, width, ..] = feature.shape[..] else { return None };
    Some([u32::try_from(height).ok()?, u32::try_from(width).ok()?])
}

/// Returns the first camera that the plant does not announce, with those that it does.
pub(crate) fn unannounced(settings: &[CameraSettings], schema: &Schema) -> Option<(String, Vec<String>)> {
    let missing = settings.iter().find(|camera| announced(schema, &camera.name).is_none())?;
    Some((missing.name.clone(), schema.cameras().map(|feature| feature.name.to_string()).collect()))
}

/// Returns a digest of pixels: FNV-1a over words of eight bytes.
fn digest(rgb: &[u8]) -> u64 {
    rgb.chunks(8).fold(0xcbf2_9ce4_8422_2325_u64, |digest, bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        (digest ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
