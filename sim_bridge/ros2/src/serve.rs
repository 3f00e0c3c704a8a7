//! Serving a ROS 2 robot: a node towards the robot, a plant towards a controller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aegis_link::{Callbacks, CameraPublisher, Host, HostLimits, LinkError, PlantInfo, TimePoint};

use crate::file::RosFile;
use crate::images::{Anchor, CameraTopic};
use crate::names::{Kind, Qos};
use crate::node::{Node, locked};
use crate::plant::RosPlant;
use crate::types::RosType;

/// Number of pictures of a camera that may wait.
const PICTURES: usize = 4;

/// Reason why a robot cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The link to a controller, or the session with the robot.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The robot has a topic of another type than the file says.
    #[error("{0}")]
    Type(String),
}

/// Serves the robot of a file until `stop` is set. `robot` is the session with its router, `link` the one at which controllers
/// connect. `ready` is called once controllers can reach the plant, `warn` with warnings.
///
/// # Errors
/// A topic of another type than the file says, another process that serves the plant's name, a robot that has not come to rest at
/// the end, and errors that Zenoh reports.
pub fn serve(
    file: &RosFile,
    (robot, link): (&zenoh::Session, &zenoh::Session),
    limits: HostLimits,
    stop: &AtomicBool,
    ready: impl FnOnce(),
    warn: impl Fn(&str) + Clone + Send + Sync + 'static,
) -> Result<(), ServeError> {
    let clock = Instant::now();
    let name = file.node_name();
    let mut node = Node::new(robot, name.clone())?;
    let mut plant = RosPlant::new(file.clone(), &mut node, clock, warn.clone())?;
    let mut cameras = Vec::new();
    for camera in &file.cameras {
        let topic = name.topic(&camera.topic, RosType::CompressedImage);
        let subscription = node.subscribe(
            &topic,
            Qos::SensorData(PICTURES as u32),
            (PICTURES, aegis_link::wire::MAX_MESSAGE),
        )?;
        let publisher = CameraPublisher::new(link, &file.plant, None)?;
        cameras.push((CameraTopic { camera: camera.clone(), topic, subscription }, publisher));
    }
    let graph = node.graph();
    let missing = plant.discover().map_err(ServeError::Type)?;
    let mismatch = |topic: &CameraTopic| locked(&graph).mismatch(&topic.topic, Kind::Publisher);
    if let Some(mismatch) = cameras.iter().find_map(|(topic, _)| mismatch(topic)) {
        return Err(ServeError::Type(mismatch));
    }
    if let Some(missing) = missing {
        warn(&format!("{missing}; no episode begins before that"));
    }
    let width = file.commands.channels.len();
    let info = PlantInfo {
        action_width: u32::try_from(width).unwrap_or(u32::MAX),
        tasks: u32::try_from(file.tasks.len()).unwrap_or(u32::MAX),
        period: file.period(),
        // The plant stands still by its own means.
        stand_still: vec![0.0; width],
    };
    let wait = Duration::from_millis(file.rest.wait_ms);
    let mut host = Host::new(aegis_link::instance(), info, limits).robot().rest_within(wait);
    if !file.commands.kind.is_position() {
        host = host.perhaps_moving();
    }
    let (anchor, ended) = (Arc::new(Mutex::new(Anchor::None)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (topic, publisher) in cameras {
            let (anchor, graph, ended, warn) = (&anchor, &graph, &ended, warn.clone());
            scope.spawn(move || topic.forward(publisher, (graph, anchor), clock, ended, warn));
        }
        let moved = |moment: &TimePoint, plant: &RosPlant| {
            *locked(&anchor) = plant.taken().map(|taken| (*moment, taken, clock.elapsed()));
        };
        let idle = |plant: &mut RosPlant| plant.idle();
        let callbacks = Callbacks { ready, warn: |text: &str| warn(text), moved, idle };
        let served = aegis_link::serve_with(link, &file.plant, host, &mut plant, stop, callbacks);
        ended.store(true, Ordering::Relaxed);
        Ok(served?)
    })
}
