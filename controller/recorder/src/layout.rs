//! Layout of the views, stored in the recording, so that the viewer opens with a finished arrangement. Written with the
//! blueprint's archetypes, because the SDK's own builder sets neither the camera of a 3D view nor a plot's range.

use std::ops::RangeInclusive;

use crate::rerun::BlueprintActivationCommand;
use crate::rerun::blueprint::archetypes::{
    Background, ContainerBlueprint, EyeControls3D, LineGrid3D, PanelBlueprint, PlotLegend, ScalarAxis,
    TextLogColumns, TimePanelBlueprint, ViewBlueprint, ViewContents, ViewportBlueprint,
};
use crate::rerun::blueprint::components::{
    BackgroundKind, ContainerKind, Corner2D, LoopMode, PanelState, RootContainer, TimelineName,
};
use crate::rerun::blueprint::datatypes::{TextLogColumn, TextLogColumnKind, TimelineColumn};
use crate::rerun::components::Range1D;
use crate::rerun::datatypes::AbsoluteTimeRange;
use crate::rerun::{AsComponents, RecordingStream, RecordingStreamBuilder};

use crate::episode::Episode;
use crate::{APPLICATION, RecorderError, run_scene, scene};

/// Camera position (`EYE`) and target (`LOOK_TARGET`) of the 3D view, metres, world frame: the space above the table, seen
/// from the corner opposite the robot, where neither arm nor cabinet hides the objects.
const EYE: [f32; 3] = [0.52, 0.86, 1.6];
const LOOK_TARGET: [f32; 3] = [-0.2, 0.0, 1.08];

/// Adds the layout of an episode to the recording and makes it the active one. `twin` says whether the episode is shown
/// beside its twin.
pub fn send_episode(stream: &RecordingStream, episode: &Episode, twin: bool) -> Result<(), RecorderError> {
    send(stream, "layout", |layout| {
        let robot = layout.scene("Robot", &["/world/**".to_owned()])?;
        let score = layout.score()?;
        let who = layout.view("StateTimeline", "Who drives", &["/who/**".into()], &[])?;
        let events = layout.events("control_step")?;
        let about = layout.view("TextDocument", "About", &["/about".into()], &[])?;
        let scene = if twin {
            let weak = layout.scene("The weak policy alone", &scene::twin_contents(episode))?;
            layout.container(ContainerKind::Horizontal, &[(robot, 1.0), (weak, 1.0)])?
        } else {
            robot
        };
        let mut left = vec![(scene, 4.0), (who, 1.0)];
        let cameras = episode
            .cameras()
            .into_iter()
            .map(|name| Ok((layout.view("2D", name, &[scene::camera(name).to_string()], &[])?, 1.0)));
        let cameras = cameras.collect::<Result<Vec<_>, RecorderError>>()?;
        if !cameras.is_empty() {
            left.insert(1, (layout.container(ContainerKind::Horizontal, &cameras)?, 2.0));
        }
        let left = layout.container(ContainerKind::Vertical, &left)?;
        let right =
            layout.container(ContainerKind::Vertical, &[(about, 3.0), (score, 3.0), (events, 1.5)])?;
        let root = layout.container(ContainerKind::Horizontal, &[(left, 3.0), (right, 2.0)])?;
        layout.finish(&root, "control_step", 20.0, episode.looped.clone())
    })
}

/// Returns the entity of a camera's pictures in the recording of a run.
pub fn camera(name: &str) -> String {
    format!("camera/{name}")
}

/// Adds the layout of a controller's run to the recording and makes it the active one. `scene` says whether the plant is
/// shown in 3D; `cameras` are those whose pictures are shown.
pub fn send_run(
    stream: &RecordingStream,
    rate_hz: f64,
    scene: bool,
    cameras: &[&str],
) -> Result<(), RecorderError> {
    send(stream, "run layout", |layout| {
        let who = layout.view("StateTimeline", "Mode", &["/who/**".into()], &[])?;
        let score = layout.score()?;
        let commands = layout.view("TimeSeries", "Commands", &["/command/**".into()], &[])?;
        let timing = layout.view("TimeSeries", "Timing, µs", &["/timing/**".into()], &[])?;
        let events = layout.events("run_time")?;
        let about = layout.view("TextDocument", "About", &["/about".into()], &[])?;
        let left = [(who, 1.0), (score, 2.0), (commands, 2.0), (timing, 2.0)];
        let left = layout.container(ContainerKind::Vertical, &left)?;
        let mut right = vec![(about, 1.0), (events, 2.0)];
        if scene {
            right.insert(0, (layout.scene("Plant", &[format!("/{}/**", run_scene::WORLD)])?, 3.0));
        }
        let pictures = cameras.iter().map(|name| {
            let contents = [format!("/{}", camera(name))];
            Ok((layout.view("2D", name, &contents, &[])?, 1.0))
        });
        let pictures = pictures.collect::<Result<Vec<_>, RecorderError>>()?;
        if !pictures.is_empty() {
            right.insert(0, (layout.container(ContainerKind::Horizontal, &pictures)?, 2.0));
        }
        let right = layout.container(ContainerKind::Vertical, &right)?;
        let root = layout.container(ContainerKind::Horizontal, &[(left, 3.0), (right, 2.0)])?;
        layout.finish(&root, "run_time", rate_hz as f32, None)
    })
}

fn send(
    stream: &RecordingStream,
    id: &str,
    arrange: impl FnOnce(&mut Layout<'_>) -> Result<(), RecorderError>,
) -> Result<(), RecorderError> {
    let (blueprint, storage) =
        RecordingStreamBuilder::new(APPLICATION).recording_id(id).enabled(true).blueprint().memory()?;
    blueprint.set_log_time_enabled(false);
    blueprint.set_time_sequence("blueprint", 0);
    arrange(&mut Layout { stream: &blueprint, nodes: 0 })?;
    let Some(id) = blueprint.store_info().map(|info| info.store_id) else { return Ok(()) };
    let activation = BlueprintActivationCommand { blueprint_id: id, make_active: true, make_default: true };
    stream.send_blueprint(storage.take(), activation);
    Ok(())
}

/// A view or a container. Identifiers are counted, not random, so that equal episodes have equal layouts.
struct Node {
    id: u128,
    path: String,
}

struct Layout<'a> {
    stream: &'a RecordingStream,
    nodes: u128,
}

impl Layout<'_> {
    /// Adds a 3D view whose camera sees the objects unhidden.
    fn scene(&mut self, name: &str, contents: &[String]) -> Result<Node, RecorderError> {
        let eye = EyeControls3D::new()
            .with_position(EYE)
            .with_look_target(LOOK_TARGET)
            .with_eye_up([0.0, 0.0, 1.0]);
        let grid = LineGrid3D::new().with_visible(false);
        let background = Background::new(BackgroundKind::GradientDark);
        let properties: [(&str, &dyn AsComponents); 3] =
            [("EyeControls3D", &eye), ("LineGrid3D", &grid), ("Background", &background)];
        self.view("3D", name, contents, &properties)
    }

    /// Adds the plot of score and thresholds. Its range extends above 1, because the line of a high score would be hidden
    /// by the frame.
    fn score(&mut self) -> Result<Node, RecorderError> {
        let range = ScalarAxis::new().with_range(Range1D::new(-0.02, 1.05));
        let legend = PlotLegend::new().with_corner(Corner2D::RightBottom);
        let properties: [(&str, &dyn AsComponents); 2] = [("ScalarAxis", &range), ("PlotLegend", &legend)];
        self.view("TimeSeries", "Score", &["/gate/**".into()], &properties)
    }

    fn events(&mut self, timeline: &str) -> Result<Node, RecorderError> {
        let columns = TextLogColumns::new()
            .with_timeline_columns([TimelineColumn { visible: true.into(), timeline: timeline.into() }])
            .with_text_log_columns([TextLogColumn { visible: true.into(), kind: TextLogColumnKind::Body }]);
        self.view("TextLog", "Events", &["/events".into()], &[("TextLogColumns", &columns)])
    }

    /// Makes `root` the whole viewport, and `timeline` the active timeline, played at `fps` steps per second. With
    /// `looped`, the viewer loops over those control steps.
    fn finish(
        &self,
        root: &Node,
        timeline: &str,
        fps: f32,
        looped: Option<RangeInclusive<u32>>,
    ) -> Result<(), RecorderError> {
        let root = RootContainer(crate::rerun::datatypes::Uuid { bytes: root.id.to_be_bytes() });
        self.stream.log("viewport", &ViewportBlueprint::new().with_root_container(root))?;
        for panel in ["blueprint_panel", "selection_panel"] {
            self.stream.log(panel, &PanelBlueprint::new().with_state(PanelState::Hidden))?;
        }
        let time = TimePanelBlueprint::new()
            .with_state(PanelState::Collapsed)
            .with_timeline(TimelineName(timeline.into()))
            .with_fps(fps);
        let time = match looped {
            None => time,
            Some(steps) => {
                let (min, max) = (i64::from(*steps.start()).into(), i64::from(*steps.end()).into());
                time.with_loop_mode(LoopMode::Selection).with_time_selection(AbsoluteTimeRange { min, max })
            }
        };
        self.stream.log("time_panel", &time)?;
        Ok(())
    }

    fn node(&mut self, kind: &str) -> Node {
        self.nodes += 1;
        Node { id: self.nodes, path: format!("{kind}/00000000-0000-0000-0000-{:012x}", self.nodes) }
    }

    fn view(
        &mut self,
        class: &str,
        name: &str,
        contents: &[String],
        properties: &[(&str, &dyn AsComponents)],
    ) -> Result<Node, RecorderError> {
        let node = self.node("view");
        let view = ViewBlueprint::new(class).with_display_name(name).with_space_origin("/");
        self.stream.log(node.path.as_str(), &view)?;
        self.stream.log(
            format!("{}/ViewContents", node.path),
            &ViewContents::new(contents.iter().map(String::as_str)),
        )?;
        for (property, value) in properties {
            self.stream.log(format!("{}/{property}", node.path), *value)?;
        }
        Ok(node)
    }

    fn container(&mut self, kind: ContainerKind, children: &[(Node, f32)]) -> Result<Node, RecorderError> {
        let node = self.node("container");
        let shares = children.iter().map(|(_, share)| *share);
        let container = ContainerBlueprint::new(kind)
            .with_contents(children.iter().map(|(child, _)| child.path.as_str()));
        let container = match kind {
            ContainerKind::Horizontal => container.with_col_shares(shares),
            _ => container.with_row_shares(shares),
        };
        self.stream.log(node.path.as_str(), &container)?;
        Ok(node)
    }
}
