//! A ROS 2 robot's file: topics, joints, bounds and what its stops and resets are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_files::toml_file::{self, TomlError};
use aegis_link::KeyExprs;
use serde::Deserialize;

use crate::message::TWIST;
use crate::names::{NodeName, is_name};
use crate::stream::Stamps;
use crate::types::{Distribution, RosType};

/// Name of the feature of positions.
pub const POSITIONS: &str = "joint_positions";
/// Name of the feature of velocities.
pub const VELOCITIES: &str = "joint_velocities";
/// Largest magnitude of a bound.
const LARGEST: f64 = 1e6;
/// Largest number of values of an action.
const CHANNELS: usize = 64;
/// Largest number of joints that are read.
const JOINTS: usize = 256;

/// A ROS 2 robot as a plant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosFile {
    /// Name of the plant.
    pub plant: String,
    /// Control periods per second, 1 to 1000.
    pub rate_hz: f64,
    /// Instruction of each task, in words.
    pub tasks: Vec<String>,
    /// Distribution of the robot.
    pub distribution: Distribution,
    /// Domain, as `ROS_DOMAIN_ID`.
    #[serde(default)]
    pub domain_id: u32,
    /// Namespace of this program's node and of relative topic names.
    #[serde(default = "root")]
    pub namespace: String,
    /// Name of this program's node.
    #[serde(default = "node")]
    pub node: String,
    /// Zenoh endpoint of the robot's router.
    #[serde(default = "router")]
    pub router: String,
    /// Joints that are read.
    pub joint_states: JointStates,
    /// Where commands go.
    pub commands: Commands,
    /// When joints count as at rest.
    #[serde(default)]
    pub rest: RestSettings,
    /// Cameras.
    #[serde(default)]
    pub cameras: Vec<Camera>,
    /// Service that is called at each reset.
    pub reset: Option<Reset>,
    /// Topic that says whether the task's goal is met.
    pub success: Option<Success>,
}

/// The topic of joint states, a `sensor_msgs/msg/JointState`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointStates {
    /// Topic.
    pub topic: String,
    /// Names of the joints, in the order of the features `joint_positions` and `joint_velocities`.
    pub names: Vec<String>,
    /// Joints that are measured in metres; the others are in radians.
    #[serde(default)]
    pub prismatic: Vec<String>,
    /// Whether velocities are read too.
    #[serde(default)]
    pub velocities: bool,
    /// Oldest joint states at which a command is passed on, milliseconds.
    pub max_age_ms: u64,
    /// Which time counts as that of a message.
    #[serde(default)]
    pub stamps: Stamps,
}

/// Kind of the controller that takes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Joint positions, as `trajectory_msgs/msg/JointTrajectory` of one point.
    Trajectory,
    /// Joint velocities in the order of the controller's joints, as `std_msgs/msg/Float64MultiArray`.
    Velocity,
    /// Velocities of a base, as `geometry_msgs/msg/Twist`.
    Twist,
    /// Velocities of a base, as `geometry_msgs/msg/TwistStamped`.
    TwistStamped,
}

impl CommandKind {
    /// Returns whether commands are positions.
    pub fn is_position(self) -> bool {
        self == Self::Trajectory
    }

    /// Returns the type of the messages.
    pub fn message(self) -> RosType {
        match self {
            Self::Trajectory => RosType::JointTrajectory,
            Self::Velocity => RosType::Float64MultiArray,
            Self::Twist => RosType::Twist,
            Self::TwistStamped => RosType::TwistStamped,
        }
    }
}

/// The topic of commands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Kind of the controller.
    pub kind: CommandKind,
    /// Topic.
    pub topic: String,
    /// Time after which the robot stops by itself where velocities cease, milliseconds: its controller's or its hardware's own
    /// timeout.
    pub robot_timeout_ms: Option<u64>,
    /// Time in which a trajectory's point is reached, milliseconds; a control period if it is not given.
    pub reach_ms: Option<u64>,
    /// Channels of an action, in order.
    pub channels: Vec<Channel>,
}

/// One value of a command.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Joint, or component of a twist.
    pub name: String,
    /// Smallest value that is passed on.
    pub low: f64,
    /// Largest value that is passed on.
    pub high: f64,
    /// Largest change from one control period to the next.
    pub step: f64,
}

impl Channel {
    /// Returns the bounds as actions have them.
    pub fn bounds(&self) -> [f32; 2] {
        [self.low as f32, self.high as f32]
    }
}

/// When joints count as at rest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestSettings {
    /// Distance within which each joint stays, radians or metres.
    pub within: f64,
    /// Time for which it does, milliseconds.
    pub lasting_ms: u64,
    /// Longest wait of a reset for rest, milliseconds.
    pub wait_ms: u64,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self { within: 0.005, lasting_ms: 200, wait_ms: 3000 }
    }
}

/// A camera, a `sensor_msgs/msg/CompressedImage` of JPEG files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Name, as policies read it.
    pub name: String,
    /// Topic.
    pub topic: String,
    /// Rows of a picture.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
    /// Which time counts as that of a picture.
    #[serde(default)]
    pub stamps: Stamps,
}

/// A `std_srvs/srv/Trigger` service that prepares an episode.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Service.
    pub service: String,
    /// Longest wait for its answer, milliseconds.
    pub wait_ms: u64,
}

/// A `std_msgs/msg/Bool` topic: `true` once the goal is met.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Topic.
    pub topic: String,
}

/// Reason why a robot's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] TomlError),
    /// The file has a value that is not valid.
    #[error("{}: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Field, what was found and what is valid.
        reason: String,
    },
}

fn root() -> String {
    "/".into()
}

fn node() -> String {
    "aegis".into()
}

fn router() -> String {
    "tcp/127.0.0.1:7447".into()
}

impl RosFile {
    /// Reads a robot's file.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, has an unknown key or a value that is not valid.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = toml_file::text(path)?;
        Self::parse(&text).map_err(|reason| FileError::Invalid { path: path.to_owned(), reason })
    }

    /// Parses the text of a robot's file.
    ///
    /// # Errors
    /// What is wrong with the text: the field, what was found and what is valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        file.check()?;
        Ok(file)
    }

    /// Returns this program's node.
    pub fn node_name(&self) -> NodeName {
        NodeName {
            domain: self.domain_id,
            distribution: self.distribution,
            namespace: self.namespace.clone(),
            name: self.node.clone(),
        }
    }

    /// Returns the control period.
    pub fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate_hz)
    }

    /// Returns the time in which a trajectory's point is reached.
    pub fn reach(&self) -> Duration {
        self.commands.reach_ms.map_or_else(|| self.period(), Duration::from_millis)
    }

    /// Checks that no two of the topics are one.
    fn check_apart(&self) -> Result<(), String> {
        let node = self.node_name();
        let of = |topic: &str| node.topic(topic, RosType::Bool).name;
        let mut topics = vec![
            ("joint_states.topic".to_owned(), of(&self.joint_states.topic)),
            ("commands.topic".to_owned(), of(&self.commands.topic)),
        ];
        topics.extend(self.success.iter().map(|success| ("success.topic".into(), of(&success.topic))));
        let cameras = self.cameras.iter().enumerate();
        topics.extend(cameras.map(|(index, camera)| (format!("cameras[{index}].topic"), of(&camera.topic))));
        for (index, (field, topic)) in topics.iter().enumerate() {
            if let Some((other, _)) = topics[..index].iter().find(|(_, other)| other == topic) {
                return Err(format!(
                    "{field}: found {topic:?}, which is {other} too; valid is a topic of its own"
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if let Err(error) = KeyExprs::of(&self.plant) {
            return Err(error.to_string());
        }
        if !(1.0..=1000.0).contains(&self.rate_hz) {
            return Err(format!("rate_hz: found {}; valid is 1 to 1000", self.rate_hz));
        }
        if self.tasks.is_empty() || self.tasks.iter().any(|task| task.is_empty() || task.len() > 512) {
            return Err("tasks: valid is one instruction or more, each of 1 to 512 bytes".into());
        }
        if self.domain_id > 232 {
            return Err(format!("domain_id: found {}; valid is 0 to 232", self.domain_id));
        }
        if self.namespace != "/" && !(self.namespace.starts_with('/') && is_name(&self.namespace)) {
            return Err(format!("namespace: found {:?}; valid is \"/\", or as \"/robot1\"", self.namespace));
        }
        if self.node.contains('/') || !is_name(&self.node) {
            return Err(format!("node: found {:?}; valid is letters, digits and _", self.node));
        }
        let services = self.reset.iter().map(|reset| ("reset.service", &reset.service));
        let topics = self.success.iter().map(|success| ("success.topic", &success.topic));
        let cameras = self.cameras.iter().map(|camera| ("cameras.topic", &camera.topic));
        let all =
            [("joint_states.topic", &self.joint_states.topic), ("commands.topic", &self.commands.topic)];
        for (field, name) in all.into_iter().chain(services).chain(topics).chain(cameras) {
            if !is_name(name) {
                return Err(format!("{field}: found {name:?}; valid is a name of ROS, as \"/joint_states\""));
            }
        }
        self.check_apart()?;
        self.joint_states.check()?;
        self.commands.check(&self.joint_states.names, self.rate_hz)?;
        for (field, value, valid) in [
            ("joint_states.max_age_ms", self.joint_states.max_age_ms, 1..=60_000),
            ("rest.lasting_ms", self.rest.lasting_ms, 1..=10_000),
            ("rest.wait_ms", self.rest.wait_ms, 1..=60_000),
            ("reset.wait_ms", self.reset.as_ref().map_or(1, |reset| reset.wait_ms), 1..=60_000),
        ] {
            if !valid.contains(&value) {
                return Err(format!("{field}: found {value}; valid is {} to {}", valid.start(), valid.end()));
            }
        }
        if self.rest.lasting_ms >= self.rest.wait_ms {
            let (lasting, wait) = (self.rest.lasting_ms, self.rest.wait_ms);
            return Err(format!("rest.lasting_ms: found {lasting}; valid is less than rest.wait_ms, {wait}"));
        }
        if !(self.rest.within > 0.0 && self.rest.within <= LARGEST) {
            return Err(format!("rest.within: found {}; valid is more than 0", self.rest.within));
        }
        for (index, camera) in self.cameras.iter().enumerate() {
            let Camera { name, .. } = camera;
            let earlier = self.cameras[..index].iter().any(|other| other.name == *name);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
                return Err(format!(
                    "cameras[{index}].name: found {name:?}; valid is 1 to 64 letters, digits, `_` and `-`"
                ));
            }
            if earlier || [POSITIONS, VELOCITIES].contains(&&**name) {
                return Err(format!(
                    "cameras[{index}].name: found {name:?}; valid is a name that no other camera and no feature has"
                ));
            }
            if ![camera.height, camera.width].iter().all(|side| (1..=4096).contains(side)) {
                let (height, width) = (camera.height, camera.width);
                return Err(format!("cameras[{index}]: found {height} rows of {width}; valid is 1 to 4096"));
            }
        }
        Ok(())
    }
}

impl JointStates {
    fn check(&self) -> Result<(), String> {
        let count = self.names.len();
        if count == 0 || count > JOINTS {
            return Err(format!("joint_states.names: found {count}; valid is 1 to {JOINTS}"));
        }
        for (index, name) in self.names.iter().enumerate() {
            if name.is_empty() || name.len() > 256 || self.names[..index].contains(name) {
                return Err(format!("joint_states.names[{index}]: found {name:?}; valid is each joint once"));
            }
        }
        match self.prismatic.iter().find(|name| !self.names.contains(name)) {
            Some(name) => {
                Err(format!("joint_states.prismatic: found {name:?}; valid is of joint_states.names"))
            }
            None => Ok(()),
        }
    }
}

impl Commands {
    fn check(&self, joints: &[String], rate_hz: f64) -> Result<(), String> {
        let count = self.channels.len();
        if count == 0 || count > CHANNELS {
            return Err(format!("commands.channels: found {count}; valid is 1 to {CHANNELS}"));
        }
        for (index, channel) in self.channels.iter().enumerate() {
            let Channel { name, low, high, step } = channel;
            let place = format!("commands.channels[{index}]");
            let is_twist = matches!(self.kind, CommandKind::Twist | CommandKind::TwistStamped);
            if is_twist && !TWIST.contains(&&**name) {
                return Err(format!("{place}.name: found {name:?}; valid is one of {}", TWIST.join(", ")));
            }
            if !is_twist && !joints.contains(name) {
                return Err(format!("{place}.name: found {name:?}; valid is of joint_states.names"));
            }
            if self.channels[..index].iter().any(|other| other.name == *name) {
                return Err(format!("{place}.name: found {name:?} twice; valid is once"));
            }
            if ![low, high].iter().all(|value| (-LARGEST..=LARGEST).contains(*value)) || low >= high {
                return Err(format!(
                    "{place}: found {low} to {high}; valid is the smaller first, within 1e6"
                ));
            }
            if !(*step > 0.0 && *step <= 2.0 * LARGEST) {
                return Err(format!("{place}.step: found {step}; valid is more than 0, per control period"));
            }
            if !self.kind.is_position() && !(low..=high).contains(&&0.0) {
                return Err(format!("{place}: found {low} to {high}; valid has 0, at which it stands still"));
            }
        }
        match (self.kind.is_position(), self.robot_timeout_ms, self.reach_ms) {
            (true, Some(_), _) => Err("commands.robot_timeout_ms: only velocities have one".into()),
            (false, None, _) => Err("commands.robot_timeout_ms: found none; valid is the time after which the robot stops by \
                                     itself where velocities cease, by its controller or its hardware. The forward command \
                                     controllers of ros2_control have no such timeout: without one this program's end leaves the \
                                     robot moving"
                .into()),
            (false, Some(found), _) if !(1..=60_000).contains(&found) => {
                Err(format!("commands.robot_timeout_ms: found {found}; valid is 1 to 60000"))
            }
            (false, Some(found), _) if (found as f64) <= 1000.0 / rate_hz => {
                Err(format!("commands.robot_timeout_ms: found {found}; valid is more than a control period"))
            }
            (false, _, Some(_)) => Err("commands.reach_ms: only a trajectory has one".into()),
            (true, _, Some(found)) if (found as f64) < (1000.0 / rate_hz).floor() || found > 10_000 => {
                let period = 1000.0 / rate_hz;
                Err(format!("commands.reach_ms: found {found}; valid is a control period, {period} ms, to 10000"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
plant = "arm"
rate_hz = 20
tasks = ["pick up the cup"]
distribution = "jazzy"
namespace = "/robot1"

[joint_states]
topic = "/joint_states"
names = ["lift", "elbow"]
prismatic = ["lift"]
max_age_ms = 150

[commands]
kind = "trajectory"
topic = "arm/joint_trajectory"
channels = [
    { name = "elbow", low = -2, high = 2, step = 0.1 },
]

[[cameras]]
name = "front"
topic = "front/compressed"
height = 48
width = 64
"#;

    #[test]
    fn a_whole_file_is_read() {
        let file = RosFile::parse(WHOLE).unwrap();
        assert_eq!((file.domain_id, &*file.node, &*file.router), (0, "aegis", "tcp/127.0.0.1:7447"));
        assert_eq!((file.period(), file.reach()), (Duration::from_millis(50), Duration::from_millis(50)));
        let topic = file.node_name().topic(&file.commands.topic, file.commands.kind.message());
        assert_eq!(topic.name, "/robot1/arm/joint_trajectory");
        assert_eq!(file.rest, RestSettings { within: 0.005, lasting_ms: 200, wait_ms: 3000 });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        for (from, to, expected) in [
            ("rate_hz = 20", "rate_hz = 0", "rate_hz: found 0; valid is 1 to 1000"),
            ("[\"pick up the cup\"]", "[]", "tasks: valid is"),
            ("\"jazzy\"", "\"foxy\"", "unknown variant `foxy`"),
            ("\"/robot1\"", "\"robot1\"", "namespace: found \"robot1\""),
            ("\"/joint_states\"", "\"/joint states\"", "joint_states.topic: found \"/joint states\""),
            ("[\"lift\", \"elbow\"]", "[\"elbow\", \"elbow\"]", "joint_states.names[1]: found \"elbow\""),
            ("prismatic = [\"lift\"]", "prismatic = [\"hand\"]", "joint_states.prismatic: found \"hand\""),
            ("max_age_ms = 150", "max_age_ms = 0", "joint_states.max_age_ms: found 0; valid is 1 to 60000"),
            ("{ name = \"elbow\"", "{ name = \"hand\"", "commands.channels[0].name: found \"hand\""),
            ("low = -2", "low = nan", "commands.channels[0]: found NaN to 2"),
            ("step = 0.1", "step = 0", "commands.channels[0].step: found 0"),
            ("\"trajectory\"", "\"velocity\"", "commands.robot_timeout_ms: found none"),
            (
                "\"trajectory\"",
                "\"twist\"",
                "commands.channels[0].name: found \"elbow\"; valid is one of linear.x",
            ),
            ("\"trajectory\"", "\"trajectory\"\nrobot_timeout_ms = 5", "only velocities have one"),
            ("plant = \"arm\"", "plant = \"a/b\"", "plant name: found \"a/b\"; valid is 1 to 64 letters"),
            (
                "max_age_ms = 150",
                "max_age_ms = 150\n[rest]\nlasting_ms = 3000",
                "rest.lasting_ms: found 3000; valid is less than rest.wait_ms, 3000",
            ),
            ("\"front\"", "\"a/b\"", "cameras[0].name: found \"a/b\"; valid is 1 to 64 letters"),
            ("\"front\"", "\"*\"", "cameras[0].name: found \"*\""),
            (
                "\"front\"",
                "\"joint_velocities\"",
                "cameras[0].name: found \"joint_velocities\"; valid is a name",
            ),
            (
                "[[cameras]]",
                "[[cameras]]\nname = \"side\"\ntopic = \"/robot1/front/compressed\"\nheight = 48\nwidth = 64\n[[cameras]]",
                "cameras[1].topic: found \"/robot1/front/compressed\", which is cameras[0].topic too",
            ),
            (
                "\"arm/joint_trajectory\"",
                "\"/joint_states\"",
                "commands.topic: found \"/joint_states\", which is joint_states.topic too",
            ),
            (
                "\"trajectory\"",
                "\"trajectory\"\nreach_ms = 49",
                "commands.reach_ms: found 49; valid is a control period, 50 ms, to 10000",
            ),
            ("height = 48", "height = 0", "cameras[0]: found 0 rows of 64"),
            ("height = 48", "hight = 48", "unknown field `hight`"),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            let error = RosFile::parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{to:?}: {error}");
        }
    }
}
