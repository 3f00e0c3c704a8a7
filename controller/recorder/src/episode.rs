//! One episode as it was seen: plain values, ready to be drawn.
//! Also who has which colour.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::rerun::{Color, RecordingStream};
use aegis_core::scene::Body;
use aegis_core::{ChunkRecord, Driver, Frame, Pose};

use crate::EpisodeInfo;

/// Everything that was recorded.
#[derive(Debug, Default)]
pub struct Episode {
    pub info: EpisodeInfo,
    pub bodies: Vec<Body>,
    /// Plant time in seconds by control steps taken.
    pub times: BTreeMap<u32, f64>,
    /// World poses of the bodies by control steps taken.
    pub poses: BTreeMap<u32, Vec<Pose>>,
    /// What the cameras saw by control steps taken, where somebody asked.
    pub pictures: BTreeMap<u32, Vec<Frame>>,
    pub chunks: Vec<ChunkRecord>,
    pub steps: Vec<Step>,
    /// The control steps that the viewer goes round over.
    pub looped: Option<RangeInclusive<u32>>,
}

/// One control step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Control steps taken, this one included.
    pub taken: u32,
    pub driver: Driver,
    /// Metres, world frame.
    pub end_effector: [f64; 3],
    pub success: bool,
}

impl Episode {
    /// Sets the time of what is logged next.
    pub fn at(&self, stream: &RecordingStream, step: u32) {
        stream.set_time_sequence("control_step", step);
        match self.times.get(&step) {
            Some(seconds) => stream.set_duration_secs("plant_time", *seconds),
            None => stream.disable_timeline("plant_time"),
        }
    }

    /// Names of the cameras that saw something.
    pub fn cameras(&self) -> BTreeSet<&str> {
        self.pictures.values().flatten().map(|picture| &*picture.camera).collect()
    }

    /// Control steps taken in all.
    pub fn length(&self) -> u32 {
        self.steps.last().map_or(0, |step| step.taken)
    }

    /// The step that reached the goal.
    pub fn success(&self) -> Option<u32> {
        self.steps.iter().find(|step| step.success).map(|step| step.taken)
    }

    /// Where the end effector was after `step` control steps. The start was not observed: the first step stands in,
    /// a few millimetres off.
    pub fn end_effector(&self, step: u32) -> Option<[f64; 3]> {
        self.steps.iter().find(|seen| seen.taken >= step).map(|seen| seen.end_effector)
    }
}

/// Orange and sky blue of Okabe and Ito's palette: told apart with any colour vision.
pub fn driver_colour(driver: Driver) -> Color {
    match driver {
        Driver::Weak => Color::from_rgb(230, 159, 0),
        Driver::Strong => Color::from_rgb(86, 180, 233),
    }
}

/// The driver's name in paths and words.
pub fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Weak => "weak",
        Driver::Strong => "strong",
    }
}
