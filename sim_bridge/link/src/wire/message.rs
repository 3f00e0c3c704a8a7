//! All message types, field by field, with unit, frame and bound.
//! `docs/reference/protocol.md` states the same for implementations in other languages.

use aegis_core::Disturbance;
use aegis_core::feature::{Dtype, FeatureKind};
use serde::{Deserialize, Serialize};

use super::bounded;

/// Maximum number of values per action.
pub(super) const ACTION: usize = 64;
/// Maximum number of values of a chunk.
const CHUNK: usize = 64 * ACTION;
/// Maximum number of values of a complete physical state.
const STATE: usize = 65_536;
/// Maximum number of values of an observation.
const VALUES: usize = 65_536;
/// Maximum number of features of a plant.
const FEATURES: usize = 1024;
/// Maximum number of axes of a feature.
const AXES: usize = 8;
/// Maximum number of component names of a feature.
const COMPONENTS: usize = 4096;
/// Maximum length of a feature's or channel's name, and of the description of its unit and frame, bytes.
pub(super) const LABEL: usize = 512;
/// Maximum number of cameras.
const CAMERAS: usize = 8;
/// Maximum length of a name, bytes.
pub(super) const NAME: usize = 128;
/// Maximum length of a sentence, bytes.
const SENTENCE: usize = 4096;

/// Mode of a session: which side sets the pace of the control steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The plant moves only when asked, one control step per request; for experiments.
    LockStep,
    /// The plant moves at its own control rate with the newest action; for robots.
    FreeRunning,
}

/// Asks for the plant. One controller at a time holds a plant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Name of the controller, for people.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub controller: String,
    /// Number that distinguishes this claim from any other, so that a claim sent twice is granted once.
    pub nonce: u64,
    /// Mode of the session that is asked for.
    pub mode: Mode,
}

/// Starts an episode and ends the previous one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// From [`Claimed`].
    pub session: u64,
    /// Number of the episode: larger than that of any earlier one of this session.
    pub episode: u64,
    /// Index of the task within the plant's suite.
    pub task: u32,
    /// Index of the task's initial state.
    pub initial_state: u32,
    /// Disturbance that the plant has to apply, its step counted from the reset; left out of the message for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbance: Option<Disturbance>,
}

/// Asks for one control step in lock-step. A step sent again with the same numbers is answered again and not executed
/// again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// Number of the control step within the episode, from 1.
    pub sequence: u32,
    /// Normalised action; for an OSC_POSE arm seven values in −1 to 1.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

/// Asks for the cameras' pictures of the present state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FramesRequest {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// Number of the last control step; 0 after the reset.
    pub sequence: u32,
}

/// Ends the session, so that the plant is free for another controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// From [`Claimed`].
    pub session: u64,
}

/// The controller's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulse {
    /// From [`Claimed`].
    pub session: u64,
    /// Nanoseconds on the controller's monotonic clock.
    pub stamp_ns: u64,
}

/// Command of a free-running controller; valid until the next action or the plant's command timeout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// Number of the command within the episode, from 1; an action whose number is not larger than the last is dropped.
    pub sequence: u32,
    /// Sequence number of the observation that the action answers.
    pub observation: u32,
    /// Nanoseconds on the controller's monotonic clock.
    pub stamp_ns: u64,
    /// As in [`Step`].
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

/// Operator command to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// Emergency stop: commands are at rest within one control period; latched.
    EStop,
    /// Safe stop: commands come to rest within their limits; latched.
    Stop,
    /// Ends a latched mode. Nothing moves before a start.
    Reset,
    /// Starts the next episode, where the controller waits for a start.
    Start,
}

/// Carries an operator command to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operate {
    /// The operator command.
    pub wish: OperatorCommand,
}

/// Asks a policy for a chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Infer {
    /// Number drawn by the process that asks, so that a server can tell the episodes of two of them apart.
    pub client: u64,
    /// Number of the client's episode.
    pub episode: u64,
    /// Number of inferences of the episode before this one.
    pub inference: u32,
    /// Number of the request.
    pub request: u64,
    /// Control step of the observation.
    pub step: u32,
    /// Seed of the episode, for a policy that draws noise.
    pub seed: u64,
    /// What the plant announced for the episode, or what the policy reads of it.
    pub schema: Announcement,
    /// The observation, without pictures.
    pub observation: Observed,
    /// Pictures of the observation; empty for a policy that reads none.
    #[serde(deserialize_with = "bounded::list::<_, _, CAMERAS>")]
    pub pictures: Vec<Picture>,
}

/// Answers [`Infer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inferred {
    /// As in the request.
    pub request: u64,
    /// SHA-256 of the model's weights, lower-case hexadecimal.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub model: String,
    /// Values per action.
    pub width: u32,
    /// Actions, row-major `[horizon, width]`.
    #[serde(deserialize_with = "bounded::list::<_, _, CHUNK>")]
    pub values: Vec<f32>,
    /// Values per token of the activation; 0 for none.
    pub activation_width: u32,
    /// Activation, row-major `[tokens, activation_width]`; empty for none.
    #[serde(deserialize_with = "bounded::list::<_, _, VALUES>")]
    pub activation: Vec<f32>,
}

/// Asks a policy what it reads and what it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Describe {
    /// Number of the request.
    pub request: u64,
}

/// Answers [`Describe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// As in the request.
    pub request: u64,
    /// SHA-256 of the model's weights, lower-case hexadecimal.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub model: String,
    /// Actions of a chunk.
    pub horizon: u32,
    /// Values per action.
    pub width: u32,
    /// Name of each value of an action, as plants name their channels; empty where the policy names none.
    #[serde(deserialize_with = "bounded::texts::<_, ACTION, LABEL>")]
    pub names: Vec<String>,
    /// Tokens of the activation; 0 for none.
    pub activation_tokens: u32,
    /// Values per token of the activation; 0 for none.
    pub activation_width: u32,
    /// Names of the features that the policy reads.
    #[serde(deserialize_with = "bounded::texts::<_, FEATURES, LABEL>")]
    pub features: Vec<String>,
    /// Pictures that the policy reads.
    #[serde(deserialize_with = "bounded::list::<_, _, CAMERAS>")]
    pub cameras: Vec<CameraSize>,
    /// Whether an inference depends on earlier ones of the episode.
    pub remembers: bool,
}

/// A camera whose pictures a policy reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraSize {
    /// The camera's name.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub camera: String,
    /// Number of rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
}

/// Answers [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Number drawn when the serving process started: a different number means that the process was restarted.
    pub instance: u64,
    /// Session number, which identifies this claim in every later message.
    pub session: u64,
    /// Values per action.
    pub action_width: u32,
    /// Number of tasks of the suite.
    pub tasks: u32,
    /// Control period, nanoseconds.
    pub period_ns: u64,
    /// Time without an action after which a free-running plant stops, nanoseconds.
    pub command_timeout_ns: u64,
    /// Time without a message of the session after which the plant is free for other controllers, nanoseconds.
    pub controller_timeout_ns: u64,
}

/// One named part of an observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Name, unique within the plant.
    #[serde(deserialize_with = "bounded::text::<_, LABEL>")]
    pub name: String,
    /// Sizes of its axes.
    #[serde(deserialize_with = "bounded::list::<_, _, AXES>")]
    pub shape: Vec<u32>,
    /// Element type where the plant measures it.
    pub dtype: Dtype,
    /// Kind.
    pub kind: FeatureKind,
    /// Names of the components along the last axis, in order; may be empty.
    #[serde(deserialize_with = "bounded::texts::<_, COMPONENTS, LABEL>")]
    pub names: Vec<String>,
    /// Unit and frame, in words.
    #[serde(deserialize_with = "bounded::text::<_, LABEL>")]
    pub semantics: String,
}

/// One channel of a plant's actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Name, unique among the channels.
    #[serde(deserialize_with = "bounded::text::<_, LABEL>")]
    pub name: String,
    /// Unit and frame, in words.
    #[serde(deserialize_with = "bounded::text::<_, LABEL>")]
    pub semantics: String,
    /// Smallest and largest value that the plant executes; both infinite where the plant states no bound.
    pub bounds: [f64; 2],
    /// Value at which the channel stands still; `None` for a position, which stands still where it is.
    pub still: Option<f64>,
}

/// Everything that a plant announces of its observations and actions; in the same order for a whole episode.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Features of an observation.
    #[serde(deserialize_with = "bounded::list::<_, _, FEATURES>")]
    pub features: Vec<Feature>,
    /// Channels of an action, `action_width` of them; empty where the plant does not name them.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub actions: Vec<Channel>,
}

/// Observation: what a policy may read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Plant time since the reset, seconds.
    pub plant_time: f64,
    /// Index of the task.
    pub task: u32,
    /// Instruction of the task, in words.
    #[serde(deserialize_with = "bounded::text::<_, SENTENCE>")]
    pub instruction: String,
    /// Values of every feature of kind `tensor`, row-major, in the order of the [`Announcement`].
    #[serde(deserialize_with = "bounded::list::<_, _, VALUES>")]
    pub values: Vec<f64>,
}

/// Answers [`Reset`] and [`Step`]; a free-running plant also publishes it in every control period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// As in the request.
    pub session: u64,
    /// As in the request.
    pub episode: u64,
    /// Control steps since the reset.
    pub sequence: u32,
    /// Observation stamp: the time of the observation or earlier, nanoseconds on the plant's monotonic clock. An answer may
    /// carry the time at which its request arrived.
    pub stamp_ns: u64,
    /// Whether the task's goal is met.
    pub success: bool,
    /// The observation.
    pub observation: Observed,
    /// What the plant announces for this episode, in the answer to [`Reset`]; else `None`.
    pub schema: Option<Announcement>,
    /// Complete physical state where the plant knows it, for bitwise comparison of twins; else empty.
    #[serde(deserialize_with = "bounded::list::<_, _, STATE>")]
    pub state: Vec<f64>,
}

/// One camera's picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The camera's name.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub camera: String,
    /// Pixels per row.
    pub width: u32,
    /// Number of rows; row 0 is the top.
    pub height: u32,
    /// Red, green, blue, 8 bits each, `[height, width, 3]`, as MessagePack `bin`.
    #[serde(
        serialize_with = "bounded::as_bytes",
        deserialize_with = "bounded::bytes::<_, { super::MAX_MESSAGE }>"
    )]
    pub rgb: Vec<u8>,
}

/// Answers [`FramesRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pictures {
    /// As in the request.
    pub session: u64,
    /// As in the request.
    pub episode: u64,
    /// As in the request.
    pub sequence: u32,
    /// Pictures in the plant's order of cameras; empty for a plant without cameras.
    #[serde(deserialize_with = "bounded::list::<_, _, CAMERAS>")]
    pub pictures: Vec<Picture>,
}

/// Encoding of a camera frame's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Red, green, blue, 8 bits each, `[height, width, 3]`.
    Rgb,
    /// A JPEG file of three components.
    Jpeg,
}

/// One camera's picture, as a free-running plant publishes it when the camera has taken it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraFrame {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// The camera's name.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub camera: String,
    /// Number of the frame of this camera within the episode, from 1.
    pub sequence: u32,
    /// Time at which the camera took the picture, or earlier, nanoseconds on the plant's monotonic clock.
    pub stamp_ns: u64,
    /// Pixels per row.
    pub width: u32,
    /// Number of rows; row 0 is the top.
    pub height: u32,
    /// Encoding of `data`.
    pub encoding: Encoding,
    /// The pixels, as MessagePack `bin`.
    #[serde(
        serialize_with = "bounded::as_bytes",
        deserialize_with = "bounded::bytes::<_, { super::MAX_MESSAGE }>"
    )]
    pub data: Vec<u8>,
}

/// Reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The bytes are not a request of this version.
    Malformed,
    /// The message has another schema version.
    Version,
    /// Another controller holds the plant.
    Held,
    /// The session does not exist: released, expired, or from before a restart.
    Session,
    /// The episode does not run: never started, or over.
    Episode,
    /// The step's sequence number is not the next one.
    Sequence,
    /// The message does not belong to the session's mode.
    Mode,
    /// The plant stopped by itself and waits for a reset.
    Stopped,
    /// The policy returned no chunk.
    Policy,
    /// The plant cannot do what was asked: unknown task, action of the wrong width, diverged simulation.
    Plant,
}

/// Refuses a request; the plant or the policy did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Reason, for programs.
    pub code: Code,
    /// Reason in words, for people.
    #[serde(deserialize_with = "bounded::text::<_, SENTENCE>")]
    pub reason: String,
}

/// Phase of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No controller holds the plant.
    Idle,
    /// A controller holds the plant, without an episode.
    Held,
    /// An episode runs.
    Running,
    /// The plant has stopped by itself; only a reset starts it again.
    Stopped,
}

/// The plant's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// From [`Claimed`].
    pub instance: u64,
    /// Session that holds the plant; 0 for none.
    pub session: u64,
    /// Phase of the plant.
    pub phase: Phase,
    /// Number of the episode; 0 for none.
    pub episode: u64,
    /// Control steps since the reset.
    pub sequence: u32,
    /// Nanoseconds on the plant's monotonic clock.
    pub stamp_ns: u64,
    /// Number of messages dropped because they were malformed, stale, or of no valid session.
    pub dropped: u64,
    /// Number of refused requests.
    pub refused: u64,
    /// `stamp_ns` of the newest [`Pulse`] of the session that holds the plant; 0 before the first.
    pub pulse_stamp_ns: u64,
    /// Arrival time of that pulse on the plant's monotonic clock, nanoseconds; 0 before the first.
    pub pulse_received_ns: u64,
}
