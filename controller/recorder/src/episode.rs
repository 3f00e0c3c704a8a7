//! The data of one episode, as plain values that are ready to be drawn; and the colours of the drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::rerun::{Color, RecordingStream};
use aegis_core::scene::Body;
use aegis_core::{ChunkRecord, Driver, Frame, Pose};

use crate::EpisodeInfo;

/// Everything that was recorded of an episode.
#[derive(Debug, Default)]
pub struct Episode {
    pub info: EpisodeInfo,
    pub bodies: Vec<Body>,
    /// Plant time in seconds by control steps taken.
    pub times: BTreeMap<u32, f64>,
    /// World poses of the bodies by control steps taken.
    pub poses: BTreeMap<u32, Vec<Pose>>,
    /// Camera pictures by control steps taken, where pictures were requested.
    pub pictures: BTreeMap<u32, Vec<Frame>>,
    pub chunks: Vec<ChunkRecord>,
    pub steps: Vec<Step>,
    /// Range of control steps over which the viewer loops.
    pub looped: Option<RangeInclusive<u32>>,
}

/// One control step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Control steps taken, including this one.
    pub taken: u32,
    pub driver: Driver,
    /// Position of the end effector, metres, world frame.
    pub end_effector: [f64; 3],
    pub success: bool,
}

impl Episode {
    /// Sets the stream's time to `step` control steps taken, for the data that is logged next.
    pub fn at(&self, stream: &RecordingStream, step: u32) {
        stream.set_time_sequence("control_step", step);
        match self.times.get(&step) {
            Some(seconds) => stream.set_duration_secs("plant_time", *seconds),
            None => stream.disable_timeline("plant_time"),
        }
    }

    /// Returns the names of the cameras that have pictures.
    pub fn cameras(&self) -> BTreeSet<&str> {
        self.pictures.values().flatten().map(|picture| &*picture.camera).collect()
    }

    /// Returns the number of control steps taken.
    pub fn length(&self) -> u32 {
        self.steps.last().map_or(0, |step| step.taken)
    }

    /// Returns the number of control steps after which the goal was first reached.
    pub fn success(&self) -> Option<u32> {
        self.steps.iter().find(|step| step.success).map(|step| step.taken)
    }

    /// Returns the position of the end effector after `step` control steps, metres, world frame. The position at the start
    /// was not recorded; the position after the first step is returned instead, which is a few millimetres off.
    pub fn end_effector(&self, step: u32) -> Option<[f64; 3]> {
        self.steps.iter().find(|seen| seen.taken >= step).map(|seen| seen.end_effector)
    }
}

/// Returns the driver's colour: orange or sky blue of Okabe and Ito's palette, which can be told apart with any colour
/// vision.
pub fn driver_colour(driver: Driver) -> Color {
    match driver {
        Driver::Weak => Color::from_rgb(230, 159, 0),
        Driver::Strong => Color::from_rgb(86, 180, 233),
    }
}

/// Returns the driver's name, for entity paths and texts.
pub fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Weak => "weak",
        Driver::Strong => "strong",
    }
}
